"""Learning from mislabelled images: the sets, the students and the controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from ....learning.controls import controlled
from ....learning.perturbed import Mislabelled, mislabel
from ....learning.targets import any_targets, next_targets, noise, random_targets
from ....learning.training import learn
from ....networks import Network, Recipe
from ....progress import Progress
from ...parts import Kept, Part, about
from ..classifier_cases import Case
from ..classifiers import classifier
from ..learning import CLASSES, kept_set, kept_student, labelled_images, student_recipe
from .settings import (
    CONTROL_CELLS,
    D_NONE,
    FULL,
    OF_SHUFFLED,
    R_L2,
    STANDARD,
    Perturbed,
    RelearningSettings,
    at_scale,
)


def parts(s: RelearningSettings) -> list[Part]:
    """For each first network: one part per set, with the controls beside R-L2, and the sets of many images."""
    return [part for case in s.cases for part in _of_case(s, case)]


def _of_case(s: RelearningSettings, case: Case) -> Iterator[Part]:
    yield Part(f"{case.part}.clean", partial(_clean, s, case))
    for made in s.sets:
        yield Part(f"{case.part}.{made.part}", partial(_set, s, case, made))
    yield Part(f"{case.part}.of-shuffled", partial(_of_shuffled, s, case))
    for made in FULL:
        yield Part(f"{case.part}.{made.part}.{s.full}", partial(_full, s, case, made))


def recipe(s: RelearningSettings, case: Case, cell: str, epochs: int) -> Recipe:
    """How a student is trained: by Adam with a falling learning rate, and with smoothed labels.

    Few epochs of plain cross-entropy learn the targets by heart from the first cues that suffice, and then stop.
    """
    usual = student_recipe(s, s.kind, s.dataset, epochs, s.batch, case.part, cell)
    return replace(usual, schedule="one-cycle", learning_rate=s.rate, label_smoothing=s.smoothing)


def perturbed(
    s: RelearningSettings, case: Case, made: Perturbed, network: Network, count: int, progress: Progress
) -> tuple[Tensor, Mislabelled]:
    """The images before, and the set: of the first training images, or of uniform noise."""
    draw = s.generator(case.part, made.targets, count)
    x, y = labelled_images(s.dataset, s, count, "train")
    if made.targets == "noise":
        x = noise("uniform", len(y), x.shape[1:], draw).to(s.device)
        targets = any_targets(len(y), CLASSES, draw).to(s.device)
    elif made.targets == "R":
        targets = random_targets(y, CLASSES, draw)
    else:
        targets = next_targets(y, CLASSES)
    steps = s.sparse_steps if made.norm == "L0" else s.steps
    return x, mislabel(network, x, targets, made.attack, None, steps, progress)


def _student(
    s: RelearningSettings, case: Case, cell: str, images: Tensor, targets: Tensor, epochs: int, progress: Progress
) -> dict[str, Any]:
    test = labelled_images(s.dataset, s, s.tests)
    learnt = learn(f"{s.kind}@{s.dataset}", images, targets, recipe(s, case, cell, epochs), test, progress)
    return kept_student(learnt, test)


def _clean(s: RelearningSettings, case: Case, progress: Progress) -> Kept:
    """Students of clean images: with their true labels, and with the next class as label."""
    x, y = labelled_images(s.dataset, s, s.images, "train")
    students = {
        STANDARD: _student(s, case, STANDARD, x, y, s.epochs, progress),
        D_NONE: _student(s, case, D_NONE, x, next_targets(y, CLASSES), s.epochs, progress),
    }
    return Kept({"students": students})


def _set(s: RelearningSettings, case: Case, made: Perturbed, progress: Progress) -> Kept:
    """One set and its student; beside R-L2 those of the controls, whose initial weights and order are the same."""
    maker = classifier(s.kind, s.dataset, case.seed, s, progress=progress)
    x, found = perturbed(s, case, made, maker, s.images, progress)
    students = {made.name: _student(s, case, made.name, found.images, found.targets, s.epochs, progress)}
    for cell, control in (CONTROL_CELLS if made == R_L2 else {}).items():
        other = x + controlled(control, found.perturbation, found.targets, s.generator(case.part, control))
        students[cell] = _student(s, case, made.name, other, found.targets, s.epochs, progress)
    return Kept({"network": about(maker), "students": students, "sets": {made.name: kept_set(found)}})


def _of_shuffled(s: RelearningSettings, case: Case, progress: Progress) -> Kept:
    """The seventh control: perturbations of a network that was trained on shuffled labels."""
    maker = classifier(s.kind, s.dataset, case.seed, s, shuffled=True, progress=progress)
    _, found = perturbed(s, case, R_L2, maker, s.images, progress)
    student = _student(s, case, R_L2.name, found.images, found.targets, s.epochs, progress)
    return Kept({"students": {OF_SHUFFLED: student}, "sets": {OF_SHUFFLED: kept_set(found)}})


def _full(s: RelearningSettings, case: Case, made: Perturbed, progress: Progress) -> Kept:
    """A set of many images."""
    maker = classifier(s.kind, s.dataset, case.seed, s, progress=progress)
    _, found = perturbed(s, case, made, maker, s.full, progress)
    cell = at_scale(made, s)
    student = _student(s, case, cell, found.images, found.targets, s.full_epochs, progress)
    return Kept({"network": about(maker), "students": {cell: student}, "sets": {cell: kept_set(found)}})
