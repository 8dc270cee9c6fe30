"""lfp-leak: robust linear features against perturbations made by hand, and verdicts from accuracies made by hand."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from blindspace.experiments.common.learning import labelled_images
from blindspace.experiments.lfp_leak.measure import _Learner
from blindspace.experiments.lfp_leak.report import claims, draw, rows, verdicts
from blindspace.experiments.lfp_leak.robust import RobustFeatures, fit
from blindspace.experiments.lfp_leak.settings import (
    BLIND,
    CELLS,
    DEEP,
    LINEAR,
    NEXT,
    RANDOM,
    ROBUST,
    WHOLE,
    for_preset,
    groups,
    name,
)
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked
from blindspace.learning.controls import CONTROLS, FLIPPED, SAME_TARGET

S, SMOKE = for_preset("cpu", 0), for_preset("smoke", 0)


def worst(features: RobustFeatures, length: float, x: torch.Tensor, y: torch.Tensor, feature: int, eps: float) -> float:
    """The robust loss of one feature, with the worst perturbation of each image added to it."""
    w, b = length * features.weight[:, feature], length * features.bias[feature]
    total = 0.0
    for side in (y == feature, y != feature):
        sign = 1.0 if bool(side[y == feature].all()) else -1.0
        moved = x[side].flatten(1) - sign * eps * w / w.norm()
        total += 0.5 * float(F.softplus(-sign * (moved @ w + b)).mean())
    return total


def test_features_withstand_their_radius() -> None:
    x, y = labelled_images("mnist", Settings("smoke"))
    features = fit(x, y, 1.0)
    torch.testing.assert_close(features.weight.norm(dim=0), torch.ones(10))
    margins = features.margins(x, y)
    assert float(margins.min()) > 1.0
    for each in (0, 7):
        w = features.weight[:, each].view(1, 28, 28)
        of, others = x[y == each] - w, x[y != each] + w  # the worst perturbations of norm 1
        left = 0.5 * (features(of)[:, each].mean() - features(others)[:, each].mean())
        torch.testing.assert_close(left, margins[each] - 1)
    for each in range(10):
        sides = features(x)[:, each] > 0
        assert float(sides[y == each].double().mean()) > 0.8
        assert float(sides[y != each].double().mean()) < 0.2


def test_features_minimise_the_worst_case() -> None:
    x, y = labelled_images("mnist", Settings("smoke"))
    features, other = fit(x, y, 1.0, 200), fit(x, y, 0.25, 200)
    scales = torch.linspace(0.05, 20, 200).tolist()
    for each in (1, 4):
        ours = min(worst(features, scale, x, y, each, 1.0) for scale in scales)
        draw = torch.randn(784, generator=torch.Generator().manual_seed(each))
        moved = features.weight + 0.02 * draw[:, None] / draw.norm()
        near = RobustFeatures(moved / moved.norm(dim=0), features.bias)
        for theirs in (other, near):
            assert ours < min(worst(theirs, scale, x, y, each, 1.0) for scale in scales)


def test_a_linear_model_learns_robust_features() -> None:
    case = groups(SMOKE)[0][0]
    x, y = labelled_images("mnist", Settings("smoke"))
    learner = _Learner(SMOKE, case, fit(x, y, 1.0), (x, y))
    learnt = learner(ROBUST, x, y)
    assert learnt["test"][-1] > 0.6
    assert learnt["next"] < 0.2
    following = learner(ROBUST, x, (y + 1) % 10)
    assert following["next"] > 0.6
    assert learner(LINEAR, x, y)["test"][-1] > 0.4


def made(accuracies: dict[tuple[str, str, str], float]) -> Parts:
    """Finished parts with given accuracies by learner, targets and cell; 0.05 where none is given."""
    done = {}
    for case in (case for group in groups(S) for case in group):
        students = {}
        for targets, cells in CELLS.items():
            for cell in cells:
                for by in (ROBUST, LINEAR, DEEP):
                    last = accuracies.get((by, targets, cell), 0.05) + 0.001 * case.seed * (1 if cell == WHOLE else -1)
                    curve = {key: [0.2, last] for key in ("loss", "training", "test")}
                    students[name(by, targets, cell)] = {**curve, "by class": [last] * 10, "next": 0.3}
        sets = {f"{targets}, {cell}": {"success": 0.5} for targets in CELLS for cell in (WHOLE, BLIND)}
        margins = {"margins": [2.0] * 10, "accuracy of the features": 0.5}
        done[case.part] = Kept({"network": {}, "students": students, "sets": sets, **margins})
    return done


LEAKS = {
    (ROBUST, RANDOM, WHOLE): 0.25,
    (ROBUST, RANDOM, SAME_TARGET): 0.2,
    (LINEAR, RANDOM, WHOLE): 0.3,
    (DEEP, NEXT, WHOLE): 0.3,
}


def test_verdicts_and_claims(tmp_path: Path) -> None:
    def answers(accuracies: dict[tuple[str, str, str], float]) -> dict[str, str | None]:
        return {each.question: each.answer for each in checked("lfp-leak", verdicts(S, made(accuracies)))}

    assert answers(LEAKS) == {"flipped": "holds", "robust-leak": "holds"}
    assert answers(LEAKS | {(ROBUST, RANDOM, "noise"): 0.25})["robust-leak"] == "does not hold"
    assert answers(LEAKS | {(ROBUST, NEXT, WHOLE): 0.2})["flipped"] == "does not hold"
    assert answers(LEAKS | {(DEEP, NEXT, WHOLE): 0.08})["flipped"] == "does not hold"
    done = made(LEAKS)
    assert [claim.holds for claim in claims(S, done)] == [True] * 6
    assert claims(S, made(LEAKS | {(ROBUST, RANDOM, FLIPPED): 0.3}))[4].holds is False
    found = {row.case: row for row in rows(S, done)}
    assert found["CIFAR-10 MLP, " + name(ROBUST, RANDOM, WHOLE)].reference == 0.235
    assert {f"MNIST ConvNet, {name(ROBUST, RANDOM, cell)}" for cell in CONTROLS} <= set(found)
    draw(S, done, tmp_path)
    assert 5_000 < (tmp_path / "leak.png").stat().st_size < 500_000
