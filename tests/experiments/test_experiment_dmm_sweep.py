"""dmm-sweep: parts made by hand in which both camps are right; crossings by interpolation."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt
from pathlib import Path

import pytest
import torch

from blindspace.experiments.dmm_sweep.report import Curves, claims, curves, draw, rows, verdicts
from blindspace.experiments.dmm_sweep.settings import FAMILIES, FIRST, LAST, RANDOM, VARYING, Sweep, part_name
from blindspace.experiments.parts import Kept, Parts
from figures import drawn

S = Sweep("cpu", 0, grey=(8, 16, 128, 392), colour=(128, 1536), draws=2)
FACTOR = {FIRST: 6.0, RANDOM: 1.0, VARYING: 0.4, LAST: 0.2}
"""Share of the gradient over chance in each family, at small k."""


def part(n: int, dims: tuple[int, ...], factor: dict[str, float]) -> Kept:
    spread = torch.linspace(0.9, 1.1, 7, dtype=torch.float64)[None]
    arrays = {"plain": spread}
    for k in dims:
        for family in FAMILIES:
            share = min(factor[family] * k / n, 0.98)
            draws = 2 if family == RANDOM else 1
            arrays[f"{k}/{family}/share"] = torch.full((draws, 7), share, dtype=torch.float64)
            arrays[f"{k}/{family}/on"] = spread.expand(draws, -1) / sqrt(share)
            arrays[f"{k}/{family}/off"] = spread.expand(draws, -1) / sqrt(1 - share)
    return Kept({"network": {}, "n": n, "varying": n, "images": 7}, arrays)


def parts(factor: dict[str, float] = FACTOR) -> Parts:
    return {part_name(k, d): part(3072 if d == "cifar10" else 784, S.dims(d), factor) for k, d in S.networks}


def test_claims_and_verdicts() -> None:
    assert [claim.holds for claim in claims(S, parts())] == [True] * 5
    answers = {v.question: v.answer for v in verdicts(S, parts())}
    assert answers == {"any-subspace": "does not hold", "equal-dimension": "holds", "one-number": "holds"}


def test_another_order_is_another_answer() -> None:
    flat = parts({FIRST: 1.0, RANDOM: 1.0, VARYING: 1.0, LAST: 1.0})
    answers = {v.question: v.answer for v in verdicts(S, flat)}
    assert answers["any-subspace"] == "holds"
    assert answers["equal-dimension"] == "does not hold"
    bent = parts()
    bent[part_name("mlp", "mnist")].arrays[f"16/{FIRST}/off"] *= 1.5
    assert claims(S, bent)[-1].holds is False
    assert claims(S, bent)[0].holds
    bent[part_name("mlp", "mnist")].arrays[f"16/{RANDOM}/on"] *= 1.2
    assert claims(S, bent)[0].holds is False


def test_crossing_by_interpolation() -> None:
    """on(k) = off(n − k) where the share is one half."""
    dims = tuple(range(8, 393, 8))
    curve = Curves("mnist", "mlp", dims, part(784, dims, FACTOR))
    assert curve.crossing(FIRST) == pytest.approx(784 / 12, rel=0.02)
    assert curve.crossing(RANDOM) == pytest.approx(392, rel=0.02)
    assert curve.crossing(LAST) is None
    low = Curves("mnist", "mlp", (392,), part(784, (392,), FACTOR))
    assert low.crossing(FIRST) is None
    curve.kept.arrays[f"8/{FIRST}/on"].fill_(inf)
    assert curve.crossing(FIRST) == pytest.approx(784 / 12, rel=0.02)


def test_rows_and_picture(tmp_path: Path) -> None:
    done = parts()
    made = {(row.case, row.quantity): row for row in rows(S, done)}
    assert made["MNIST MLP, random, k = 16", "on / plain"].ours == pytest.approx(7.0)
    assert made["MNIST MLP, first principal components", "k at which on(k) = off(n − k)"].ours is not None
    done[part_name("mlp", "mnist")].arrays[f"8/{LAST}/on"].fill_(inf)
    row = next(r for r in rows(S, done) if r.case == "MNIST MLP, last principal components, k = 8")
    assert row.ours == inf
    assert "7 of 7 attacks fail" in row.reason
    with drawn() as pictures:
        draw(S, done, tmp_path)
    pictures.check("sweep.png")
    assert len(curves(S, done)) == 2


def test_smoke_decides_nothing() -> None:
    small = replace(S, preset="smoke")
    assert {claim.holds for claim in claims(small, parts())} == {None}
    assert {verdict.answer for verdict in verdicts(small, parts())} == {None}
