"""Figure 2: the sweep, seeded training without side effects, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import blindspace.experiments.fig2.settings as fig2
from blindspace.data import ImageSet, samples
from blindspace.experiments.common.dimensions import at_most, singular_values
from blindspace.experiments.common.models import NAMED
from blindspace.experiments.fig2 import EXPERIMENT
from blindspace.experiments.fig2.measure import _controls, train_steps
from blindspace.experiments.parts import Kept
from figures import drawn

CHECKED = "mlp5-mnist-700"
SETTINGS = fig2.Fig2(
    "cpu",
    0,
    (("resnet18", 3, 2, (11, 12)),),
    (("mnist", (700,)), ("svhn", (384, 3072))),
    checked=(CHECKED,),
    missing={"svhn": "no files"},
)


def layer(n: int, m: int, dim: int, kind: str = "exact") -> dict[str, Any]:
    certificate = {
        "rank": n - dim,
        "kind": kind,
        "method": "SVD",
        "tolerance": 1e-12,
        "sigma_max": 1.0,
        "sigma_above": 1e-3,
        "sigma_below": None if kind == "exact" else 1e-13,
        "exact_rank": None if kind == "exact" else min(n, m),
    }
    return {"in_dim": n, "out_dim": m, "dim": dim, "formula_dim": max(n - m, 0), "certificate": certificate}


def kept(before: dict[str, Any], after: dict[str, Any], **arrays: torch.Tensor) -> Kept:
    return Kept({"before": before, "after": after, "moved": 0.25, "loss": 2.0}, arrays)


def done(**changed: Kept) -> dict[str, Kept]:
    sigma = torch.linspace(1, 0.1, 700, dtype=torch.float64)
    controls = [{"name": "twice", "dim": 1280, "formula_dim": 1024, "expected": 1280}]
    return {
        "resnet18-3-2-11": kept(layer(3072, 2816, 256), layer(3072, 2816, 256)),
        "resnet18-3-2-12": kept(layer(3072, 3072, 30, "undecided"), layer(3072, 3072, 20, "undecided")),
        CHECKED: kept(layer(784, 700, 84), layer(784, 700, 84), sigma=sigma),
        "controls": Kept({"cases": controls}),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }


def test_the_paper_s_crossings() -> None:
    """Appendix F.1: n − m reaches 0 at C_out = 12, 48 and 3, and at N_out = 784 and 3072; both sides are swept."""
    s = replace(fig2.for_preset("cpu", 0), missing={})
    crossing = {(3, 2): 12, (5, 4): 48, (3, 1): 3}
    for _, size, stride, widths in s.convolutions:
        out = (32 + 2 - size) // stride + 1
        assert crossing[size, stride] * out**2 == 3072
        assert min(widths) < crossing[size, stride] < max(widths)
        assert crossing[size, stride] in widths
    assert {name for name, *_ in s.convolutions} == set(NAMED)
    for dataset, some in s.widths:
        assert min(some) < (784 if dataset == "mnist" else 3072) < max(some)
        assert (784 if dataset == "mnist" else 3072) in some
    names = [point.part for point in fig2.points(s)]
    assert len(names) == len(set(names))
    assert set(s.checked) <= set(names)


@pytest.mark.parametrize("index", [0, -1])
def test_the_measured_layer_is_the_one_swept(index: int) -> None:
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    point = fig2.points(fig2.for_preset("smoke", 0))[index]
    first = next(module for module in point.build().modules() if isinstance(module, nn.Conv2d | nn.Linear))
    assert len(first.weight) == point.width


def test_missing_data_sets_are_reported_and_not_run() -> None:
    assert [point.part for point in fig2.points(SETTINGS)] == ["resnet18-3-2-11", "resnet18-3-2-12", CHECKED]
    row = next(row for row in EXPERIMENT.rows(SETTINGS, done()) if "SVHN" in row.case)
    assert (row.ours, row.reason) == (None, "not run: no files")


def test_rows() -> None:
    rows = {(row.case, row.quantity): row for row in EXPERIMENT.rows(SETTINGS, done())}
    first = rows["ResNet-18, K 3, S 2, C_out 11", "dimension"]
    assert (first.ours, first.reference, first.difference) == (256, 256, 0)
    assert first.reason.startswith("exact, σ ≥ 1.0e-03")
    assert first.reason.endswith("random weights: the same")
    crossing = rows["ResNet-18, K 3, S 2, C_out 12", "dimension"]
    assert (crossing.ours, crossing.reference) == (20, 0)
    assert crossing.reason.startswith("**undecided**")
    assert "rank 3072 over the rationals" in crossing.reason
    assert "random weights: 30" in crossing.reason
    assert rows["MLP-5, MNIST, N_out 700", "dimension by SVD"].ours == 84
    assert rows["twice", "dimension"].control


def test_claims_can_fail() -> None:
    assert [claim.holds for claim in EXPERIMENT.claims(SETTINGS, done())] == [True] * 5
    assert "K 3, S 2, 12" in EXPERIMENT.claims(SETTINGS, done())[0].text
    large = {**layer(3072, 2816, 256), "certificate": None, "name": "", "reason": "too large"}
    assert EXPERIMENT.claims(SETTINGS, done(resnet18_3_2_11=kept(large, large)))[0].holds is False
    wrong = layer(3072, 2816, 300)
    assert EXPERIMENT.claims(SETTINGS, done(resnet18_3_2_11=kept(wrong, wrong)))[1].holds is False
    trained = kept(layer(3072, 2816, 300), layer(3072, 2816, 256))
    assert EXPERIMENT.claims(SETTINGS, done(resnet18_3_2_11=trained))[2].holds is False
    short = kept(layer(784, 700, 84), layer(784, 700, 84), sigma=torch.ones(600, dtype=torch.float64))
    assert EXPERIMENT.claims(SETTINGS, {**done(), CHECKED: short})[3].holds is False
    plain = Kept({"cases": [{"name": "", "dim": 1024, "formula_dim": 1024, "expected": 1280}]})
    assert EXPERIMENT.claims(SETTINGS, done(controls=plain))[4].holds is False


def test_singular_values_are_numpy_s_of_the_matrix() -> None:
    linear = nn.Linear(7, 4)
    expected = np.linalg.svd(linear.weight.detach().double().numpy(), compute_uv=False)
    found = singular_values(linear, (7,))
    assert found.tolist() == pytest.approx(expected.tolist())
    assert at_most(found, 7, 1e-9) == 3
    assert at_most(found, 7, 1.0) == 7


def digits() -> ImageSet:
    return samples("mnist").take(slice(60))


def test_training_learns_and_is_seeded() -> None:
    def trained(seed: int) -> tuple[nn.Linear, float]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            first = nn.Linear(784, 30)
            network = nn.Sequential(nn.Flatten(), first, nn.Dropout(), nn.ReLU(), nn.Linear(30, 10))
            loss = train_steps(network, digits(), 40, 20, lambda *_: None)
        return first, loss

    (a, loss), (b, again), (c, _) = trained(0), trained(0), trained(1)
    assert loss == again < 2.0
    assert torch.equal(a.weight, b.weight)
    assert not torch.equal(a.weight, c.weight)


def test_training_reports_every_step_and_goes_round_again() -> None:
    seen: list[tuple[int, int]] = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    train_steps(network, digits(), 7, 20, lambda step, steps, _: seen.append((step, steps)))
    assert seen == [(step, 7) for step in range(1, 8)]


def test_controls_are_as_constructed() -> None:
    cases = _controls(SETTINGS).values["cases"]
    assert [case["dim"] for case in cases] == [case["expected"] for case in cases] == [1280, 1536, 404]


def test_drawn(tmp_path: Path) -> None:
    with drawn() as pictures:
        EXPERIMENT.draw(SETTINGS, done(), tmp_path)
    pictures.check("fig2.png")
    assert {"n − m (paper)", "ResNet-18, certified", "rounding in float32"} <= pictures.texts("fig2.png")
    assert len(pictures.panels("fig2.png")) == 3
