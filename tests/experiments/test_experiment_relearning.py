"""lfp-mnist, lfp-fashion and lfp-cifar10: the sets, and what follows from accuracies made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindspace.experiments import lfp_cifar10, lfp_fashion, lfp_mnist
from blindspace.experiments.common.classifiers import classifier
from blindspace.experiments.common.relearning.measure import parts, perturbed
from blindspace.experiments.common.relearning.report import CONTROL, claims, found, rows
from blindspace.experiments.common.relearning.settings import (
    ALL_SETS,
    CONTROL_CELLS,
    D_NONE,
    FULL,
    OF_SHUFFLED,
    PAPER,
    R_L2,
    STANDARD,
    Perturbed,
    RelearningSettings,
    at_scale,
    for_preset,
)
from blindspace.experiments.parts import Kept, Parts, Settings
from blindspace.experiments.verdicts import checked
from blindspace.learning.controls import FLIPPED, NONE, PERMUTED, SAME_TARGET
from blindspace.learning.rules import ATTACKS

S = for_preset("mnist", "cpu", 0)
FULL_L2, FULL_LINF = (at_scale(each, S) for each in FULL)
GOOD = {
    **{STANDARD: 0.98, FULL_L2: 0.87, FULL_LINF: 0.9, R_L2.name: 0.7, "D-L2": 0.2, "R-L0": 0.5, "D-L0": 0.1},
    **{CONTROL[NONE]: 0.02, CONTROL[SAME_TARGET]: 0.6, CONTROL[FLIPPED]: 0.1},
}


def made(s: RelearningSettings, accuracies: dict[str, float], success: float = 0.05, loss: float = 0.0) -> Parts:
    """Parts whose students end at given accuracies, 0.1 where none is given, ``loss`` below their best epoch."""
    cells = [
        STANDARD,
        D_NONE,
        OF_SHUFFLED,
        *CONTROL_CELLS,
        *(each.name for each in s.sets),
        *(at_scale(e, s) for e in FULL),
    ]
    students: dict[str, dict[str, list[float]]] = {}
    sets: dict[str, dict[str, object]] = {}
    for cell in cells:
        last = accuracies.get(cell, 0.1)
        curve = [0.01, last + loss, last]
        students[cell] = {"loss": [1.0] * 3, "training": [0.5] * 3, "test": curve, "by class": [last] * 10}
        sets[cell] = {"success": success, "by target": [success] * 10, "l0": 500.0, "l2": 2.0, "linf": 0.4}
    done = {}
    for case in s.cases:
        shifted = {
            cell: {**of, "test": [each + case.seed / 1000 for each in of["test"]]} for cell, of in students.items()
        }
        network = {"test_accuracy": 0.98}
        done[f"{case.part}.clean"] = Kept({"students": {STANDARD: shifted.pop(STANDARD)}})
        done[f"{case.part}.rest"] = Kept({"network": network, "students": shifted, "sets": sets})
    return done


def test_every_set_has_an_attack_and_a_published_accuracy() -> None:
    assert len(ALL_SETS) == 15
    assert {each.attack for each in ALL_SETS} == set(ATTACKS)
    for sets in (ALL_SETS, S.sets):
        assert {f"{each.targets}-{each.norm}" for each in sets} | {STANDARD} == set(PAPER["mnist"])
    names = [part.name for part in parts(S)]
    assert len(set(names)) == len(names) == 3 * (len(S.sets) + 4)


@pytest.mark.parametrize("made_of", [Perturbed("R", "L0"), Perturbed("D", "L2", True), Perturbed("noise", "L∞")])
def test_sets(made_of: Perturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    s = for_preset("mnist", "smoke", 0)
    maker = classifier(s.kind, s.dataset, 0, Settings("smoke"), untrained=True)
    x, of = perturbed(s, s.cases[0], made_of, maker, 30, lambda *_: None)
    torch.testing.assert_close(of.images, x + of.perturbation)
    assert of.attack == made_of.attack
    again = perturbed(s, s.cases[0], made_of, maker, 30, lambda *_: None)[1]
    assert torch.equal(of.targets, again.targets)


def test_claims(tmp_path: Path) -> None:
    done = made(S, GOOD)
    assert [claim.holds for claim in claims(S, done)] == [True] * 8
    assert [claim.holds for claim in claims(S, made(S, {}, success=0.5))] == [
        False,
        False,
        False,
        True,
        False,
        False,
        True,
        False,
    ]
    by_name = {(row.case, row.quantity): row for row in rows(S, done)}
    of = by_name[f"MNIST ConvNet, {FULL_L2}", "accuracy on clean test images"]
    assert of.reference == 0.945
    assert of.ours == pytest.approx(0.871)
    assert by_name[f"MNIST ConvNet, {R_L2.name}", "accuracy on clean test images"].reference is None
    same = by_name[f"MNIST ConvNet, {CONTROL[SAME_TARGET]}", "share of the effect"]
    assert same.ours == pytest.approx(0.58 / 0.68)
    lfp_mnist.EXPERIMENT.draw(S, done, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["accuracies.png", "epochs.png", "success.png"]


def test_verdicts_of_mnist() -> None:
    def answers(accuracies: dict[str, float], loss: float = 0.0) -> dict[str, str | None]:
        of = checked("lfp-mnist", lfp_mnist.verdicts(S, made(S, {**GOOD, **accuracies}, loss=loss)))
        return {verdict.question: verdict.answer for verdict in of}

    assert answers({}) == {"features": "holds", "best-epoch": "does not hold"}
    assert answers({CONTROL[PERMUTED]: 0.5}) == {"features": "depends", "best-epoch": "does not hold"}
    assert answers({CONTROL[SAME_TARGET]: 0.1, CONTROL[PERMUTED]: 0.6}, 0.2) == {
        "features": "does not hold",
        "best-epoch": "holds",
    }


def test_verdicts_of_the_others() -> None:
    s = replace(S, dataset="fashion-mnist")
    good = {**GOOD, "D-L0": 0.4}
    of = checked("lfp-fashion", lfp_fashion.verdicts(s, made(s, good)))
    assert [verdict.answer for verdict in of] == ["holds", "holds"]
    of = checked("lfp-fashion", lfp_fashion.verdicts(s, made(s, {**GOOD, CONTROL[NONE]: 0.4})))
    assert [verdict.answer for verdict in of] == ["depends", "depends"]
    s = replace(S, dataset="cifar10")
    (deep,) = checked("lfp-cifar10", lfp_cifar10.verdicts(s, made(s, {**GOOD, "D-L2": 0.1})))
    assert deep.answer == "depends"
    assert found(s, made(s, GOOD)).name == "CIFAR-10 ConvNet"


@pytest.mark.parametrize("module", [lfp_mnist, lfp_fashion, lfp_cifar10])
def test_smoke_decides_nothing(module: object) -> None:
    experiment = module.EXPERIMENT  # type: ignore[attr-defined]
    s = experiment.settings("smoke", 0)
    assert all(verdict.answer is None for verdict in checked(experiment.name, experiment.verdicts(s, {})))
