"""Figure 1: the choice of images, what is measured, and claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from blindspace.experiments.common.models import examples
from blindspace.experiments.fig1 import EXPERIMENT
from blindspace.experiments.fig1.measure import measure
from blindspace.experiments.fig1.settings import BEYOND, INSIDE, NOISE, Fig1
from blindspace.experiments.parts import Kept
from blindspace.networks import Network, harmless
from figures import drawn


def patches() -> Network:
    """A small network with 24 filters on 8×8 patches."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = nn.Conv2d(3, 24, 8, 8)
        module = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(24 * 16, 10))
    return Network("patches", module.eval(), (3, 32, 32))


@pytest.fixture(scope="module")
def made() -> tuple[Fig1, dict[str, Kept]]:
    s = Fig1("smoke", 3, "patches", count=8, shown=2, iterations=30, magnitude=4.0)
    return s, {"gallery": measure(s, patches(), lambda done, total, what: None)}


def test_images_chosen() -> None:
    truth = torch.tensor([3, 3, 1, 3, 1, 0])
    labels = torch.tensor([0, 3, 1, 3, 0, 0])
    # Images 1, 2, 3 and 5 are classified correctly; 3 is not the first of its class.
    assert examples(truth, labels == truth, 2) == [1, 2]
    assert examples(truth, labels == truth, 3) == [1, 2, 5]
    assert examples(truth, labels == truth, 4) == [1, 2, 3, 5]
    assert examples(truth, labels == truth, 6) == [0, 1, 2, 3, 4, 5]
    assert examples(truth, truth == truth, 3) == [0, 2, 5]


def test_what_is_kept(made: tuple[Fig1, dict[str, Kept]]) -> None:
    s, done = made
    a, network = done["gallery"].arrays, patches()
    x, space = a["original"], harmless(network)
    assert float(a[INSIDE].min()) >= 0
    assert float(a[INSIDE].max()) <= 1
    assert float((a[BEYOND] - x).abs().amax((1, 2, 3)).min()) == pytest.approx(s.magnitude, rel=1e-12)
    for kind in (INSIDE, BEYOND):
        delta = a[kind] - x
        assert float((delta - space.project(delta)).norm() / delta.norm()) < 1e-13
        assert torch.equal(a[f"labels {kind}"], a["labels original"])
    small, noise = (a[kind] - x for kind in (INSIDE, NOISE))
    assert bool((noise.flatten(1).norm(dim=1) <= small.flatten(1).norm(dim=1) * (1 + 1e-12)).all())  # it is clipped
    moved = (network.outputs(a[NOISE], torch.float64) - network.outputs(x, torch.float64)).abs().amax(1)
    assert torch.equal(a[f"float64 {NOISE}"], moved)
    assert float(a[f"float64 {INSIDE}"].max()) < 1e-12 < 1e-3 < float(moved.min())


def test_rows_and_claims(made: tuple[Fig1, dict[str, Kept]], tmp_path: Path) -> None:
    s, done = made
    rows = EXPERIMENT.rows(s, done)
    assert {row.case for row in rows if row.control} == {NOISE}
    (bound,) = (row for row in rows if "bound" in row.quantity)
    (reached,) = (row for row in rows if row.quantity == "mean squared change" and row.case == f"harmless, {INSIDE}")
    assert reached.ours is not None
    assert bound.ours is not None
    assert 0.01 < reached.ours <= bound.ours
    assert [claim.holds for claim in EXPERIMENT.claims(s, done)] == [True, True, True]
    with drawn() as pictures:
        EXPERIMENT.draw(s, done, tmp_path)
    pictures.check("fig1.png")
    assert pictures.images("fig1.png") == 6 * s.shown
    assert {"original x", "harmless δ", "x + δ inside [0, 1]"} <= pictures.texts("fig1.png")


@pytest.mark.parametrize("wrong", ["outside", "label", "moved"])
def test_claims_can_fail(made: tuple[Fig1, dict[str, Kept]], wrong: str) -> None:
    s, done = made
    part = done["gallery"]
    values, arrays = dict(part.values), dict(part.arrays)
    if wrong == "outside":
        values["outside"] = 1
    elif wrong == "label":
        arrays[f"labels {INSIDE}"] = arrays["labels original"] + 1
    else:
        arrays[f"float32 {BEYOND}"] = arrays[f"float32 {BEYOND}"] + 1e-3
    faked = {"gallery": replace(part, values=values, arrays=arrays)}
    failed = [claim.holds for claim in EXPERIMENT.claims(s, faked)]
    assert (
        failed
        == {
            "outside": [False, True, True],
            "label": [True, False, True],
            "moved": [True, True, False],
        }[wrong]
    )
