"""lfp-success: samples split by success, regressions over attacks, and the verdict from figures made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from blindspace.experiments.lfp_success.measure import split
from blindspace.experiments.lfp_success.report import claims, draw, regression, rows, verdicts
from blindspace.experiments.lfp_success.settings import (
    EITHER,
    FAILED,
    SPLIT,
    SUCCEEDED,
    Attack,
    for_preset,
    groups,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked
from blindspace.learning.rules import ATTACKS

S = for_preset("cpu", 0)


def made(slope: float, failed: float, quiet: float = 0.6) -> Parts:
    """Parts whose accuracies lie on a line over the success; ``quiet`` is that of the attack that hardly succeeds."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        sets, students = {}, {}
        for place, attack in enumerate(S.grid):
            success = 0.2 + 0.05 * place
            accuracy = 0.3 + slope * success
            if attack == Attack("authors-linf", 0.1):
                success, accuracy = 0.02, quiet
            of = {"success": success, "l2": float(attack.eps), "by target": [success] * 10}
            sets[attack.label] = of
            students[attack.label] = {"test": [accuracy + case.seed / 500]}
        for cell, accuracy in ((SUCCEEDED, 0.6), (FAILED, failed), (EITHER, 0.6)):
            sets[cell] = {"success": 0.5, "count": 1000}
            students[cell] = {"test": [accuracy + case.seed / 1000 * (cell == SUCCEEDED)]}
        done[case.part] = Kept({"network": {}, "sets": sets, "students": students})
    return done


def test_grid() -> None:
    assert {attack.name for attack in S.grid} < set(ATTACKS)
    assert SPLIT in S.grid
    assert len(groups(S)) == len(S.makers)


def test_split() -> None:
    success = torch.rand(50, generator=torch.Generator().manual_seed(0)) < 0.3
    of = split(success, torch.Generator().manual_seed(1))
    assert success[of[SUCCEEDED]].all()
    assert not success[of[FAILED]].any()
    assert {len(chosen) for chosen in of.values()} == {int(success.sum())}
    assert all(len(chosen.unique()) == len(chosen) for chosen in of.values())


def test_regression_is_that_of_numpy() -> None:
    x, y = torch.rand(2, 3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope, explained = regression(x, y)
    each = [np.polyfit(a, b, 1)[0] for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    squares = [np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    assert slope.value == pytest.approx(np.mean(each))
    assert explained.value == pytest.approx(np.mean(squares))


def test_claims_and_verdict(tmp_path: Path) -> None:
    def answer(*of: float) -> str | None:
        (verdict,) = checked("lfp-success", verdicts(S, made(*of)))
        return verdict.answer

    assert answer(0.5, 0.2, 0.3) == "holds"
    assert answer(-0.2, 0.61) == "does not hold"
    assert answer(0.5, 0.61, 0.3) == "depends"
    assert [claim.holds for claim in claims(S, made(-0.2, 0.61))] == [True, True, True]
    assert [claim.holds for claim in claims(S, made(0.5, 0.2, 0.1))] == [False, False, False]
    by_name = {(row.case, row.quantity): row for row in rows(S, made(0.5, 0.2, 0.31))}
    assert by_name["MNIST MLP, all sets", "slope of accuracy on success"].ours == pytest.approx(0.5, abs=0.01)
    assert by_name["MNIST MLP", "accuracy from successes − from failures"].ours == pytest.approx(0.401)
    draw(S, made(0.5, 0.2), tmp_path)
    assert (tmp_path / "success.png").stat().st_size < 500_000
