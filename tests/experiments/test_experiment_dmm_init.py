"""Init surgery: subspaces, theory against a computation by hand, claims that can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from blindspace.experiments.common.ensembles import ensemble
from blindspace.experiments.dmm_init.measure import Surgery, margin_of, parts, subspace
from blindspace.experiments.dmm_init.report import claims, draw, rows, verdicts
from blindspace.experiments.dmm_init.settings import CASES, Where, case_name, for_preset
from blindspace.experiments.parts import Kept
from figures import drawn

S = replace(for_preset("cpu", 0), seeds=3, mnist_seeds=3)
SMALL = replace(for_preset("smoke", 0), dim=40, manifold=4, points=10, width=300, steps=30)


@pytest.mark.parametrize("where", ["pixels", "rotated"])
def test_the_parts_of_a_vector_on_and_off_the_subspace(where: Where) -> None:
    basis, off = subspace(where, 30, 5, torch.Generator().manual_seed(0))
    v = torch.randn(2, 7, 30, dtype=torch.float64)
    torch.testing.assert_close(basis.mT @ basis, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(off(v), v - v @ basis @ basis.mT)
    if where == "pixels":
        assert float(off(torch.randn(9, 5, dtype=torch.float64) @ basis.mT).abs().max()) == 0


def test_surgery_scales_what_is_off_the_data_alone() -> None:
    basis, off = subspace("rotated", 12, 3, torch.Generator().manual_seed(0))
    drawn_ = ensemble([1, 2], [12, 5, 1])
    surgery = Surgery.of(drawn_, (0.0, 3.0), off)
    first = surgery.networks.weights[0].unflatten(0, (2, 2))
    torch.testing.assert_close(first @ basis, (drawn_.weights[0] @ basis).expand(2, -1, -1, -1))
    torch.testing.assert_close(off(first[1]), 3 * off(drawn_.weights[0]))
    assert float(off(first[0]).abs().max()) < 1e-15
    assert float(surgery.moved()["moved"].max()) == 0


@pytest.mark.parametrize("readout", [False, True])
def test_descent_freezes_weights_off_the_data_and_theory_gives_the_gradient(readout: bool) -> None:
    """Theory is an expectation over the frozen weights; ten seeds of 300 neurons and 10 points come within 10 %."""
    s = replace(SMALL, seeds=10)
    index = CASES.index(("pixels", "descent", readout))
    kept = parts(s)[index].run(lambda *_: None).arrays
    assert float(kept["moved off"].max()) == 0
    assert float(kept["moved"].min()) > 1e-3
    one = s.scales.index(1.0)
    ratio = kept["off"][one].square().mean().sqrt() / kept["theory"][one].square().mean().sqrt()
    assert float(ratio) == pytest.approx(1, abs=0.1)
    if not readout:
        by_hand = (kept["active"][one] * (40 - 4) / (300 * 40)).sqrt()
        torch.testing.assert_close(kept["theory"][one], by_hand)
    for place, scale in enumerate(s.scales):
        torch.testing.assert_close(kept["off"][place], scale * kept["off"][one], rtol=1e-9, atol=0)
        both = (kept["off"][place].square() + kept["on"][place].square()).sqrt()
        torch.testing.assert_close(kept["plain"][place], both)


def test_adam_leaves_the_span_of_rotated_data() -> None:
    index = CASES.index(("rotated", "adam", False))
    kept = parts(SMALL)[index].run(lambda *_: None).arrays
    assert float(kept["moved off"].min()) > 1e-3
    assert float(kept["off"][0].median()) > 0.01


def test_the_margin_is_to_the_largest_other_logit() -> None:
    out = torch.tensor([[[3.0, 1.0, 2.5], [0.0, 4.0, 1.0]]])
    assert margin_of(out, torch.tensor([0, 2])).tolist() == [[0.5, -3.0]]


def faked(off: float = 0.0, ratio: float = 1.0, plain: float = 5.0, spread: float = 0.0) -> Kept:
    """Three networks per scale at four points each: what training moved, and the gradient over theory."""
    scales = torch.tensor(S.scales, dtype=torch.float64)[:, None, None]
    ones = torch.ones(4, 3, 4, dtype=torch.float64)
    seeds = 1 + 0.01 * torch.arange(3, dtype=torch.float64)[:, None]
    gradient = ratio * (scales + spread) * ones * seeds
    arrays: dict[str, Tensor] = {
        "moved": ones[..., 0],
        "moved off": off * ones[..., 0],
        "on": ones,
        "off": gradient,
        "plain": (gradient.square() + 1).sqrt(),
        "theory": ones * seeds,
        "accuracy": ones[..., 0],
        "distance plain": plain * ones * seeds / (1 + scales),
        "distance on": plain * ones,
        "distance off": plain * ones / scales,
    }
    return Kept({"constant": 67}, arrays)


def everything(**changes: Kept) -> dict[str, Kept]:
    made = {case_name(*case): faked() for case in CASES} | {"mnist": faked(), "mnist-centred": faked(0.016)}
    made |= {"rotated-descent": faked(1e-16), "rotated-adam": faked(0.9, spread=0.5)}
    return made | {name.replace("_", "-"): kept for name, kept in changes.items()}


def test_claims_hold_and_each_can_fail() -> None:
    assert [claim.holds for claim in claims(S, everything())] == [True] * 6
    broken = {
        0: everything(mnist=faked(1e-30)),
        1: everything(rotated_descent=faked(1e-9)),
        2: everything(pixels_adam=faked(ratio=1.2)),
        3: everything(pixels_descent=faked(spread=0.01)),
        4: everything(rotated_adam=faked(1e-16)),
        5: everything(mnist_centred=faked(0.0)),
    }
    for index, done in broken.items():
        assert claims(S, done)[index].holds is False, index
    assert claims(replace(S, preset="smoke"), broken[2])[2].holds is None


def test_verdicts_follow_the_figures() -> None:
    initialisation, norms = verdicts(S, everything())
    assert (initialisation.answer, initialisation.on) == ("depends", "the optimiser")
    assert (norms.answer, norms.on) == ("depends", "the size of the initial weights off the data")
    assert norms.rows[1].ours == pytest.approx(4.0)
    assert verdicts(S, everything(rotated_adam=faked(0.9)))[0].answer == "holds"
    assert [each.answer for each in verdicts(replace(S, preset="smoke"), everything())] == [None, None]


def test_rows_and_picture(tmp_path: Path) -> None:
    done = everything()
    found = {(row.case, row.quantity): row for row in rows(S, done)}
    assert len(found) == len(rows(S, done))
    row = found["random pixels, gradient descent, off-data init × 3", "angle of the gradient to the data, degrees"]
    assert row.ours == pytest.approx(71.7, abs=0.1)
    far = found["random pixels, gradient descent, off-data init × 0", "distance to the boundary, off"]
    assert far.ours is not None
    assert far.ours > 1e300
    assert far.interval is None
    pytest.importorskip("matplotlib")
    with drawn() as pictures:
        draw(S, done, tmp_path)
    pictures.check("dmm-init.png")
    assert {"gradient descent", "Adam", "theory", "MNIST, [0, 1]", "plain", "on", "off"} <= pictures.texts(
        "dmm-init.png"
    )
