"""lfp-wallace: which images have which labels, and verdicts from accuracies made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blindspace.experiments.common.learning import labelled_images
from blindspace.experiments.experiment import Verdict
from blindspace.experiments.lfp_wallace.measure import _errors, _first, _foreign, _labelled, labels_of, like
from blindspace.experiments.lfp_wallace.report import claims, draw, found, rows, verdicts
from blindspace.experiments.lfp_wallace.settings import (
    AMONG,
    GIVEN,
    NOISE,
    NORMALISED,
    OVER,
    TRUE,
    UNTRAINED,
    for_preset,
    groups,
)
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked

S, SMOKE = for_preset("cpu", 0), for_preset("smoke", 0)


def made(accuracies: dict[str, float], of_errors: float | None = None) -> Parts:
    """Finished parts with given accuracies, 0.1 where none is given; another one of students of errors."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        students = {}
        for cell in case.cells:
            last = of_errors if case.errors and cell == GIVEN and of_errors else accuracies.get(cell, 0.1)
            last += 0.001 * case.seed if cell == GIVEN else -0.001 * case.seed
            curve = {key: [0.5, last] for key in ("loss", "training", "test")}
            students[cell] = {**curve, "by class": [last] * 10, "agreement": 0.5, "most frequent label": 0.3}
        done[case.part] = Kept({"network": {}, "accuracy": 0.9, "images": 100, "students": students})
    return done


def test_errors_are_wrong_and_shuffling_keeps_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    case = groups(SMOKE)[0][0]
    first = _first(SMOKE, case, lambda *_: None)
    x, y = _errors(SMOKE, case, first)
    assert 20 < len(x) <= 100
    assert not bool((labels_of(first, x) == y).any())
    given = _labelled(SMOKE, case, first, GIVEN, x, y)[1]
    among = _labelled(SMOKE, case, first, AMONG, x, y)[1]
    over = _labelled(SMOKE, case, first, OVER, x, y)[1]
    assert torch.equal(_labelled(SMOKE, case, first, TRUE, x, y)[1], y)
    for true in y.unique():
        assert given[y == true].sort().values.tolist() == among[y == true].sort().values.tolist()
    assert given.sort().values.tolist() == over.sort().values.tolist()
    assert not torch.equal(given, over)
    untrained = _labelled(SMOKE, case, first, UNTRAINED, x, y)[1]
    assert not torch.equal(untrained, given)


def test_images_of_another_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    case = groups(SMOKE)[1][0]
    x = _foreign(SMOKE, case)
    colour = labelled_images("cifar10", Settings("smoke"), 100)[0]
    assert x.shape == (100, 1, 28, 28)
    torch.testing.assert_close(x[3, 0, 0, 5], colour[3, :, 2, 7].mean())
    first = _first(SMOKE, case, lambda *_: None)
    images, labels = _labelled(SMOKE, case, first, NORMALISED, x, None)
    digits = labelled_images("mnist", Settings("smoke"))[0]
    assert float(images.mean()) == pytest.approx(float(digits.mean()), abs=1e-4)
    assert float(images.std()) == pytest.approx(float(digits.std()), abs=1e-4)
    torch.testing.assert_close(like(images, x), x, atol=1e-4, rtol=0)
    assert torch.equal(labels, labels_of(first, images))
    noise, labels = _labelled(SMOKE, case, first, NOISE, x, None)
    assert noise.shape == x.shape
    assert torch.equal(labels, labels_of(first, noise))


def test_verdicts_and_claims(tmp_path: Path) -> None:
    def answer(done: Parts) -> Verdict:
        return checked("lfp-wallace", verdicts(S, done))[0]

    learnt = made({GIVEN: 0.9, NORMALISED: 0.95, TRUE: 0.8, OVER: 0.08, NOISE: 0.8})
    assert answer(learnt).answer == "holds"
    assert answer(made({GIVEN: 0.9}, of_errors=0.09)).on == "the images"
    assert answer(made({GIVEN: 0.9, AMONG: 0.9, OVER: 0.95})).answer == "depends"
    assert answer(made({GIVEN: 0.09})).answer == "does not hold"
    assert [claim.holds for claim in claims(S, learnt)] == [True] * 7
    shuffled = made({GIVEN: 0.9, TRUE: 0.95, AMONG: 0.95, OVER: 0.3})
    assert [claim.holds for claim in claims(S, shuffled)][:5] == [False, False, True, False, False]
    assert claims(S, made({GIVEN: 0.9}))[6].holds is False
    references = [row.reference for row in rows(S, learnt) if row.reference]
    assert references == [0.497, 0.91, 0.945]
    assert found(S, learnt)[1].controls == ()
    draw(S, learnt, tmp_path)
    assert 5_000 < (tmp_path / "wallace.png").stat().st_size < 500_000
