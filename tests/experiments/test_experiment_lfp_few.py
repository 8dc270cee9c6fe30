"""lfp-few: how clean images join perturbed ones, what these are worth, and verdicts from accuracies made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blindspace.experiments.lfp_few.measure import joined, of_each_class
from blindspace.experiments.lfp_few.report import claims, draw, found, rows, verdicts
from blindspace.experiments.lfp_few.settings import (
    ALONE,
    BESIDE,
    NEXT,
    NEXT_NONE,
    RANDOM,
    RANDOM_NONE,
    for_preset,
    groups,
    name,
)
from blindspace.experiments.parts import Kept, Parts
from blindspace.experiments.verdicts import checked

S = for_preset("cpu", 0)
CURVE = {1: 0.2, 3: 0.4, 10: 0.6, 30: 0.7, 100: 0.8}


def made(gains: dict[str, float], without: float = 0.4) -> Parts:
    """Finished parts: clean images alone as ``CURVE``, with given gains beside samples; ``without`` any clean image."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        students = {}
        for cell in (*BESIDE, ALONE):
            for count in S.counts if cell != ALONE else S.counts[1:]:
                last = without if not count else CURVE[count] + gains.get(cell, 0.0)
                last += 0.001 * case.seed * (1 if cell in (RANDOM, NEXT) else 0)
                curve = {key: [0.2, last] for key in ("loss", "training", "test")}
                students[name(cell, count)] = {**curve, "by class": [last] * 10}
        sets = {each: {"success": 0.5} for each in (RANDOM, NEXT)}
        done[case.part] = Kept({"network": {}, "accuracy": 0.97, "students": students, "sets": sets})
    return done


def test_clean_images_are_repeated_to_an_equal_share() -> None:
    y = torch.arange(40) % 10
    x = torch.arange(40).float()[:, None, None, None]
    clean = of_each_class(x, y, 2)
    assert clean[1].tolist() == [each for each in range(10) for _ in range(2)]
    assert set(clean[0].flatten().tolist()) == set(range(20))
    beside = 100 + torch.arange(30).float()[:, None, None, None], torch.zeros(30, dtype=torch.int64)
    images, labels = joined(beside, clean, 60)
    assert int((images >= 100).sum()) == 30
    assert sorted(images[images < 100].unique(return_counts=True)[1].tolist()) == [1] * 10 + [2] * 10
    assert torch.equal(labels[images.flatten() < 100], y[images[images < 100].long()])
    alone = joined((x[:0], y[:0]), clean, 60)
    assert alone[0].unique(return_counts=True)[1].tolist() == [3] * 20
    without = joined(beside, of_each_class(x, y, 0), 60)
    assert without[0].unique(return_counts=True)[1].tolist() == [2] * 30


def test_what_samples_are_worth() -> None:
    assert found(S, made({}, without=0.39))[0].worth(RANDOM).value == pytest.approx(3.0, abs=0.2)  # type: ignore[union-attr]
    assert found(S, made({}, without=0.6))[0].worth(RANDOM_NONE).value == pytest.approx(10.0)  # type: ignore[union-attr]
    assert found(S, made({}, without=0.1))[0].worth(RANDOM) is None
    assert found(S, made({}, without=0.9))[0].worth(RANDOM) is None


def test_verdicts_and_claims(tmp_path: Path) -> None:
    def answer(done: Parts) -> tuple[str | None, str]:
        (verdict,) = checked("lfp-few", verdicts(S, done))
        return verdict.answer, verdict.on

    assert answer(made({RANDOM: 0.1, NEXT: 0.05})) == ("holds", "")
    assert answer(made({RANDOM: 0.1, NEXT: -0.05})) == ("depends", "the targets")
    assert answer(made({RANDOM: 0.1, NEXT: 0.05, RANDOM_NONE: 0.15, NEXT_NONE: 0.1})) == ("does not hold", "")
    done = made({RANDOM: 0.1, NEXT: 0.05})
    assert [claim.holds for claim in claims(S, done)] == [True] * 5
    assert claims(S, made({RANDOM: 0.1, RANDOM_NONE: 0.05}))[3].holds is False
    assert sum(row.quantity == "accuracy on clean test images" for row in rows(S, done)) == 2 * (1 + 5 * 6 + 5)
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "few.png").stat().st_size < 500_000
