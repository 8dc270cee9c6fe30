"""The benchmark of directions: the figures of every method belong to it, and are those of the Jacobian itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from blindspace.bench import directions as measured
from blindspace.bench.directions import DirectionRow, Outputs, directions
from blindspace.cli.main import run
from blindspace.networks import load


@pytest.fixture(scope="module")
def row() -> DirectionRow:
    return directions("mnist-mlp", turns=1, iterations=3)


def test_what_is_measured(row: DirectionRow) -> None:
    assert (row.network, row.inputs, row.outputs) == ("mnist-mlp", 784, 10)
    assert min(row.both, row.first, row.local, row.power, row.exact) > 0
    assert row.faster_power == pytest.approx(row.power / row.local)
    assert row.faster_exact == pytest.approx(row.exact / row.local)


def test_exact_methods_have_null_directions_and_three_power_iterations_do_not(row: DirectionRow) -> None:
    assert max(row.residual, row.residual_exact) < 1e-13
    assert max(row.sigma, row.sigma_exact) < 1e-12
    assert row.residual_power > 1e-6
    assert row.sigma_power > 1e-4


def test_residuals_are_those_of_the_whole_matrix() -> None:
    jacobian = torch.tensor([[2.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    axes = torch.eye(3, dtype=torch.float64)
    assert measured._checked(jacobian, axes[[0, 2]]) == (0.0, 0.0)
    assert measured._checked(jacobian, axes[[0, 1]]) == (0.0, 0.5)
    mixed = (axes[0] + axes[2])[None] / 2**0.5  # JᵀJ v = 4 / √2 e₀ and ‖J v‖² = 2
    residual, sigma = measured._checked(jacobian, torch.cat([axes[:1], mixed]))
    assert residual == pytest.approx(0.5)
    assert sigma == pytest.approx(0.5**0.5)


def test_the_network_is_left_as_it_is() -> None:
    network = load("mnist-mlp")
    wrapped = Outputs(network)
    x = torch.rand(1, *network.input_shape)
    assert wrapped(x.double()).shape == (1, 1, 1, 10)
    torch.testing.assert_close(wrapped(x.double()).flatten(), network.outputs(x).double().flatten(), rtol=0, atol=1e-4)
    assert next(network.module.parameters()).dtype == torch.float32


def test_command(
    row: DirectionRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("blindspace.cli.bench.measure_directions", lambda name, seed: row)
    assert run(["bench", "--directions", "--json", str(tmp_path / "found.json")]) == 0
    shown = capsys.readouterr().out
    assert "plenoptic, power" in shown
    assert "plenoptic, exact" in shown
    assert json.loads((tmp_path / "found.json").read_text())["directions"] == [asdict(row)] * 2
    assert run(["bench", "--directions", "--tangents"]) == 2
