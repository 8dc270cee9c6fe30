"""lfp-ilyas: the parts of both sets together, and verdicts from accuracies made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindspace.experiments.lfp_ilyas.measure import parts
from blindspace.experiments.lfp_ilyas.report import claims, draw, found, rows, verdicts
from blindspace.experiments.lfp_ilyas.settings import (
    GIVEN,
    NEXT,
    OTHER,
    RANDOM,
    SAME,
    STUDENTS,
    TARGETS,
    for_preset,
    groups,
    name,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked

S = for_preset("cpu", 0)


def made(random: float, fixed: float, others: float | None = None, transfer: float = 0.2) -> Parts:
    """Finished parts with given accuracies from both sets, of the same and of the other architecture."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        for which, value in ((RANDOM, random), (NEXT, fixed)):
            students = {}
            for student in (student for student in STUDENTS if student.startswith(which)):
                last = others if others is not None and student.endswith(f"{TARGETS}, {OTHER}") else value
                last += (0.1 if GIVEN in student else 0.0) + 0.001 * case.seed * (1 if which == RANDOM else -1)
                curve = {key: [0.2, last] for key in ("loss", "training", "test")}
                students[student] = {**curve, "by class": [last] * 10, "next": 0.3}
            sets = {which: {"success": 0.5, "transfer": {by: [transfer, 0.7] for by in (SAME, OTHER)}}}
            values = {"network": {}, "accuracy": 0.98, "students": students, "sets": sets}
            done[f"{case.part}.{which}"] = Kept(values)
    return done


def test_parts_are_one_per_network_and_set() -> None:
    done = made(0.6, 0.2)
    assert [part.name for part in parts(S)] == list(done)
    g = found(S, done)[0]
    assert g.accuracy(name(RANDOM, TARGETS, SAME)).value == pytest.approx(0.601)
    assert g.accuracy(name(NEXT, TARGETS, SAME)).value == pytest.approx(0.199)
    assert g.success(NEXT).value == 0.5


def test_verdicts_and_claims(tmp_path: Path) -> None:
    def answer(done: Parts) -> str | None:
        return checked("lfp-ilyas", verdicts(S, done))[0].answer

    assert answer(made(0.6, 0.2)) == "holds"
    assert answer(made(0.6, 0.4)) == "does not hold"
    assert answer(made(0.09, 0.02)) == "does not hold"
    assert answer(made(0.6, 0.2, others=0.5)) == "depends"
    done = made(0.6, 0.2)
    assert [claim.holds for claim in claims(S, done)] == [True] * 4
    assert claims(S, made(0.6, 0.2, transfer=0.7))[3].holds is False
    references = [row.reference for row in rows(S, done) if row.reference]
    assert references == [0.945, 0.45, 0.63, 0.44]
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "ilyas.png").stat().st_size < 500_000
