"""Figure 5b: how the perturbations are scaled, the most harmful direction; claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blindspace.experiments.common.magnitudes import Reading
from blindspace.experiments.common.models import images
from blindspace.experiments.fig5b.measure import measure, most_harmful
from blindspace.experiments.fig5b.report import claims, draw, rows
from blindspace.experiments.fig5b.settings import (
    COMPARED,
    CONTROLS,
    EPSILON,
    EQUAL,
    GAUSSIAN,
    KINDS,
    LEAST,
    MOST,
    RANDOM,
    SHUFFLED,
    SIGMA,
    UNIT,
    for_preset,
)
from blindspace.experiments.parts import Kept
from blindspace.maps import from_module
from blindspace.networks import Network
from figures import drawn

N = 200
SMALL = replace(for_preset("cpu", 0), architectures=("resnet50",), magnitudes=(1, 16, 256))


def test_the_most_harmful_direction_is_the_first_singular_vector() -> None:
    torch.manual_seed(0)
    operator = from_module(nn.Conv2d(3, 16, 3, 2, 1), (3, 8, 8))
    direction, sigma = most_harmful(operator)
    _, values, vt = torch.linalg.svd(operator.to_dense(), full_matrices=False)
    assert sigma == pytest.approx(float(values[0]), rel=1e-10)
    assert abs(float(direction.flatten() @ vt[0])) == pytest.approx(1, abs=1e-10)


def test_every_kind_has_the_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 20, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(5120, 10))
    network = Network("small", nn.Sequential(*layers).eval(), (3, 32, 32))
    seen: list[Tensor] = []

    def spy(network: Network, perturbed: Any, clean: Tensor) -> Reading:
        batches = [batch.double() for batch in perturbed]
        seen.append(torch.stack(batches))
        zeros = torch.zeros(len(batches), len(clean))
        return Reading(zeros.to(torch.int16), zeros.double(), zeros.double())

    monkeypatch.setattr("blindspace.experiments.fig5b.measure.read", spy)
    s = for_preset("smoke", 0)
    kept = measure(s, network, lambda *_: None)
    x = images("cifar10", "smoke", s.count).tensor(torch.float64)
    delta = {kind: batches - x for kind, batches in zip(KINDS, seen, strict=False)}
    alpha = torch.tensor(s.magnitudes, dtype=torch.float64)[:, None]

    def size(kind: str, p: float) -> Tensor:
        norms: Tensor = delta[kind].flatten(2).norm(p, dim=2)
        return norms / (alpha * EPSILON)

    one = torch.ones(len(s.magnitudes), s.count, dtype=torch.float64)
    for kind in (LEAST, GAUSSIAN):
        torch.testing.assert_close(size(kind, torch.inf), one)
    for kind in (EQUAL, SHUFFLED, RANDOM, MOST):
        torch.testing.assert_close(size(kind, 2), size(LEAST, 2))
    torch.testing.assert_close(size(UNIT, 2), one)
    torch.testing.assert_close(size(SIGMA, 2) / 3072**0.5, one, rtol=0.1, atol=0)
    torch.testing.assert_close(delta[SHUFFLED].flatten(2).sort(2)[0], delta[LEAST].flatten(2).sort(2)[0])
    a = from_module(layers[0], (3, 32, 32))
    for kind, name in ((LEAST, "sigma_min"), (UNIT, "sigma_min"), (MOST, "sigma_max")):
        moved = a.forward(delta[kind][0]).flatten(1).norm(dim=1) / delta[kind][0].flatten(1).norm(dim=1)
        torch.testing.assert_close(moved, torch.full_like(moved, kept.values[name]), rtol=1e-6, atol=0)
    assert kept.values["sigma_max"] == pytest.approx(a.norm(), rel=1e-5)
    assert 0 < kept.values["sigma_min"] < 0.1 * kept.values["sigma_max"]


def faked(**changes: tuple[list[int], float]) -> Kept:
    """A network correct on 150 of 200 images: correct ones per kind and magnitude, and the RMSE at the first."""
    found = {LEAST: ([150, 150, 148], 0.0003), GAUSSIAN: ([149, 90, 20], 0.13), EQUAL: ([150, 120, 30], 0.02)}
    found |= {UNIT: ([150, 150, 150], 0.0001), SIGMA: ([140, 20, 20], 0.9), MOST: ([140, 30, 20], 0.2)}
    found |= {SHUFFLED: ([150, 110, 30], 0.02), RANDOM: ([150, 115, 30], 0.02)}
    found |= {name.replace("_", " "): change for name, change in changes.items()}
    targets = torch.zeros(N, dtype=torch.int64)
    arrays: dict[str, Tensor] = {"targets": targets, "clean": (torch.arange(N) >= 150).to(torch.int16)}
    for kind, (right, rmse) in found.items():
        labels = torch.stack([(torch.arange(N) >= count).to(torch.int16) for count in right])
        size = rmse * torch.tensor([1.0, 16.0, 256.0], dtype=torch.float64)[:, None].expand(3, N)
        arrays |= {f"{kind}/labels": labels, f"{kind}/largest": size, f"{kind}/rmse": size}
    for precision in ("float64", "float32"):
        for field in ("labels", "largest", "rmse"):
            arrays[f"one ulp, {precision}/{field}"] = torch.full((1, N), 1e-7)
    arrays |= {"least": torch.randn(3, 32, 32), "most": torch.randn(3, 32, 32)}
    values = {"sigma_min": 0.3, "sigma_max": 6.0, "residual": 1e-14, "bound": 1e-12, "peak": 0.5, "rim": 0.9}
    return Kept(values, arrays)


def test_claims_hold_where_the_least_harmful_is_weakest() -> None:
    found = claims(SMALL, {"resnet50": faked()})
    assert [claim.holds for claim in found] == [True, True, True]
    assert "up to α = 256, Gaussian noise up to 1;" in found[0].text
    assert "at 2 of 3 magnitudes, less at 0; outputs move 4.3e+02 to 4.3e+02 times less" in found[0].text
    assert [claim.holds for claim in claims(replace(SMALL, preset="smoke"), {"resnet50": faked()})] == [None] * 3


def test_claims_fail_where_it_is_not() -> None:
    def holds(**changes: tuple[list[int], float]) -> list[bool | None]:
        return [claim.holds for claim in claims(SMALL, {"resnet50": faked(**changes)})]

    assert holds(least_harmful=([150, 90, 20], 0.0003)) == [False, False, True]  # no more accurate than L∞ noise
    assert holds(least_harmful=([100, 150, 148], 0.0003)) == [False, False, True]  # less accurate at one magnitude
    assert holds(least_harmful=([150, 150, 148], 0.05)) == [True, False, False]  # outputs move as far as with noise
    assert holds(most_harmful=([140, 30, 20], 0.01)) == [True, True, False]


def test_rows_and_picture(tmp_path: Path) -> None:
    done = {"resnet50": faked()}
    made = rows(SMALL, done)
    found = {(row.case, row.quantity): row for row in made}
    assert len(found) == len(made)
    assert found["ResNet-50, least harmful, α = 16", "accuracy"].ours == 150 / N
    assert ("ResNet-50, shuffled, α = 16", "accuracy") not in found
    assert found["ResNet-50, shuffled, α = 256", "accuracy"].reason == "α = 1 … 256: 75.0%, 55.0%, 15.0%"
    assert {row.case.split(", ")[1] for row in made if row.control} >= set(CONTROLS)
    least, gauss = (found[f"ResNet-50, {kind}, α = 1", "RMSE of outputs"] for kind in (LEAST, GAUSSIAN))
    assert (least.reference, gauss.reference) == (0.0003, 0.1226)
    # 0.0003 and 0.13 are nearer to the paper's than 0.0001 and 0.9.
    assert "and least harmful comes nearer" in least.reason
    assert "and Gaussian comes nearer" in gauss.reason
    assert found["ResNet-50", "σ_min / σ_max"].ours == pytest.approx(0.05)
    pytest.importorskip("matplotlib")
    with drawn() as pictures:
        draw(SMALL, done, tmp_path)
    pictures.check("fig5b.png")
    assert set(COMPARED) | set(CONTROLS) <= pictures.texts("fig5b.png")
    assert pictures.images("fig5b.png") == 2 * len(SMALL.architectures)
