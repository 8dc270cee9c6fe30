"""lfp-compensation: parts by class, codes, sets whose images say nothing, and the verdict from made accuracies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.experiments.lfp_compensation.classes import class_parts
from blindspace.experiments.lfp_compensation.measure import coded, of_these_targets, parts
from blindspace.experiments.lfp_compensation.report import claims, draw, found, rows, verdicts
from blindspace.experiments.lfp_compensation.settings import (
    ALONE,
    BLIND,
    CELLS,
    CODES,
    FLIPPED,
    INDEPENDENT,
    NO_SOURCE,
    OF_NOISE,
    OWN,
    SAME_TARGET,
    TARGET_CODES,
    for_preset,
    groups,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked

S = replace(for_preset("cpu", 0), makers=(("mnist", BLIND), ("mnist", "mlp")), seeds=3)
VIEWS = {OWN: (0.05, 0.4), FLIPPED: (0.4, 0.05)}
"""Accuracies on the seen and the unseen part of test images."""


def made(accuracies: dict[str, float], of: tuple[str, ...] = (BLIND, "mlp")) -> Parts:
    """Parts with given accuracies for some kinds of first networks, 0.1 where none is given."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        students = {}
        for cell in CELLS:
            seen, unseen = VIEWS.get(cell, (0.1, 0.1))
            accuracy = accuracies.get(cell, 0.1) if case.kind in of else 0.1
            students[cell] = {"test": [0.5, accuracy + case.seed / 1000], "seen": seen, "unseen": unseen}
        values = {
            "network": {},
            "sets": {OWN: {"success": 0.9}},
            "explained": 0.4,
            "cosine": -0.6 + case.seed / 100,
            "students": students,
        }
        done[case.part] = Kept(values)
    return done


def test_parts_by_class_are_those_that_perturbations_were_made_of() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 2, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    a, b = a - a.mean(0), b - b.mean(0)
    sources = torch.arange(240) % 4
    targets = (sources + 1 + torch.arange(240) // 4 % 3) % 4
    of = class_parts(1.5 + a[targets] + b[sources], targets, sources, 4)
    torch.testing.assert_close(of.of_target, a)
    torch.testing.assert_close(of.of_source, b)
    assert of.explained == pytest.approx(1)
    rest = torch.randn(240, 2, 3, generator=draw, dtype=torch.float64)
    noisy = class_parts(a[targets] - a[sources] + rest, targets, sources, 4)
    assert noisy.cosine < -0.9
    assert 0.3 < noisy.explained < 0.9
    assert class_parts(rest, targets, sources, 4).explained < 0.1


def test_perturbations_of_given_targets_do_not_depend_on_the_image() -> None:
    targets, wanted = torch.arange(60) % 5, torch.arange(90) % 5
    chosen = of_these_targets(wanted, targets, torch.Generator().manual_seed(0))
    assert torch.equal(targets[chosen], wanted)
    assert len(chosen.unique()) > 30


def test_codes_have_the_norms_and_the_share_of_what_they_stand_for() -> None:
    draw = torch.Generator().manual_seed(0)
    d = torch.randn(400, 1, 20, 20, generator=draw, dtype=torch.float64)
    d *= torch.rand(400, 1, 1, 1, generator=draw).double() + 0.5
    targets, sources = torch.arange(400) % 10, (torch.arange(400) // 10 + 1 + torch.arange(400)) % 10
    make = coded(d, 0.6, lambda v: v, draw)
    codes = make(lambda patterns: patterns[targets] - patterns[sources])
    size = d.flatten(1).norm(dim=1)
    torch.testing.assert_close(codes.flatten(1).norm(dim=1), size)
    of = class_parts(codes / size[:, None, None, None], targets, sources, 10)
    assert of.explained == pytest.approx(0.6, abs=0.05)
    assert of.cosine < -0.9


def test_verdict() -> None:
    def answer(accuracies: dict[str, float], of: tuple[str, ...] = (BLIND, "mlp")) -> str | None:
        (verdict,) = checked("lfp-compensation", verdicts(S, made(accuracies, of)))
        return verdict.answer

    assert answer({OWN: 0.6, INDEPENDENT: 0.15}) == "holds"
    assert answer({OWN: 0.6, INDEPENDENT: 0.5}) == "does not hold"
    assert answer({OWN: 0.6, INDEPENDENT: 0.15}, ("mlp",)) == "depends"


def test_rows_claims_and_picture(tmp_path: Path) -> None:
    accuracies = {OWN: 0.6, INDEPENDENT: 0.2, SAME_TARGET: 0.3, NO_SOURCE: 0.4, CODES: 0.3, TARGET_CODES: 0.05}
    done = made({**accuracies, ALONE: 0.3, OF_NOISE: 0.3})
    assert [claim.holds for claim in claims(S, done)] == [True] * 8
    assert [claim.holds for claim in claims(S, made({OWN: 0.6, NO_SOURCE: 0.6}))] == [True] * 2 + [False] * 5 + [True]
    group = found(S, done)[0]
    assert group.lost.value == pytest.approx(0.4)
    assert group.left.value == pytest.approx(0.101)
    by_name = {(row.case, row.quantity): row for row in rows(S, done)}
    key = "MNIST, harmless parts, x + d", "accuracy on the part that it does not see"
    assert by_name[key].ours == pytest.approx(0.4)
    assert f"MNIST MLP, {OWN}" in {row.case for row in rows(S, done)}
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "compensation.png").stat().st_size < 500_000


def test_smoke_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    (part, _) = parts(replace(for_preset("smoke", 0), epochs=1))
    kept = part.run(lambda *_: None)
    assert list(kept.values["students"]) == list(CELLS)
    assert all(0 <= student["unseen"] <= 1 for student in kept.values["students"].values())
    assert 0 < kept.values["explained"] < 1
