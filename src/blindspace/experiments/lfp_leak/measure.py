"""Robust features in perturbed images: the sets, the features and the students."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...learning.controls import controlled
from ...learning.perturbed import Mislabelled, mislabel
from ...learning.targets import next_targets, random_targets
from ...learning.training import Labelled, learn
from ...networks import Network, Recipe
from ...networks.preprocessing_modules import Normalise
from ...progress import Progress
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.learners import LINEAR as LINEAR_KIND
from ..common.learners import learner
from ..common.learning import CLASSES, kept_set, kept_student, labelled_images, student_recipe
from ..parts import Kept, Part, about
from .robust import RobustFeatures, fit
from .settings import (
    BLIND,
    CELLS,
    DEEP,
    EPS,
    LINEAR,
    NEXT,
    OF_RADIUS,
    RANDOM,
    ROBUST,
    WHOLE,
    LeakSettings,
    groups,
    learners,
    name,
)


def parts(s: LeakSettings) -> list[Part]:
    """One part per network that is attacked."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: LeakSettings, case: Case, progress: Progress) -> Kept:
    """The features, both sets with their controls, and the students."""
    maker = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    makers = {WHOLE: maker, BLIND: classifier(case.kind, case.dataset, case.seed, s, shuffled=True)}
    test = labelled_images(case.dataset, s, s.tests)
    x, y = labelled_images(case.dataset, s, s.images(case), "train")
    clean = labelled_images(case.dataset, s, s.features, "train")
    features = fit(*clean, OF_RADIUS * EPS[case.dataset])
    learn_by = _Learner(s, case, features, test)
    students: dict[str, Any] = {}
    sets: dict[str, Any] = {}
    for targets in (RANDOM, NEXT):
        draw = s.generator(case.part, targets)
        labels = random_targets(y, CLASSES, draw) if targets == RANDOM else next_targets(y, CLASSES)
        made = {cell: _set(s, case, makers[cell], x, labels) for cell in makers if cell in CELLS[targets]}
        sets |= {f"{targets}, {cell}": kept_set(each) for cell, each in made.items()}
        for done, cell in enumerate(CELLS[targets]):
            progress(done, len(CELLS[targets]), f"{case.part}, {targets}, {cell}")
            if cell in made:
                images = made[cell].images
            else:
                images = x + controlled(cell, made[WHOLE].perturbation, labels, s.generator(case.part, targets, cell))
            for by in learners(targets, cell):
                students[name(by, targets, cell)] = learn_by(by, images, labels)
    values = {
        "network": about(maker),
        "margins": features.margins(*test).tolist(),
        "accuracy of the features": float((features(test[0]).argmax(1) == test[1]).double().mean()),
        "students": students,
        "sets": sets,
    }
    return Kept(values)


def _set(s: LeakSettings, case: Case, network: Network, x: Tensor, labels: Tensor) -> Mislabelled:
    return mislabel(network, x, labels, "l2", EPS[case.dataset], s.steps)


class _Learner:
    """Trains a linear model of the robust features, one of all pixels, or a network of the same kind.

    The linear models start at zero: their problem is convex, and nothing but the order of the images is random.
    """

    def __init__(self, s: LeakSettings, case: Case, features: RobustFeatures, test: Labelled) -> None:
        self.case, self.features, self.test = case, features, test
        linear, deep = (student_recipe(s, case.kind, case.dataset, n, s.batch, case.part) for n in s.epochs)
        self.recipes: dict[str, Recipe] = {ROBUST: replace(linear, learning_rate=1e-2), LINEAR: linear, DEEP: deep}

    def __call__(self, by: str, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """What the part keeps of a student: also how often it answers the class after the true one."""
        x, y = self.test
        if by == ROBUST:
            z = self.features(images)
            images, x = (_as_pixels((each - z.mean(0)) / z.std(0)) for each in (z, self.features(x)))
        learnt = learn(self._network(by), images, labels, self.recipes[by], (x, y))
        answers = torch.cat([learnt.network.labels(some) for some in x.split(500)])
        return {**kept_student(learnt, (x, y)), "next": float((answers == next_targets(y, CLASSES)).double().mean())}

    def _network(self, by: str) -> str | nn.Module:
        if by != ROBUST:
            return learner(LINEAR_KIND if by == LINEAR else self.case.kind, self.case.dataset)
        layer = nn.Linear(CLASSES, CLASSES)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return nn.Sequential(Normalise([0.5], [0.5]), nn.Flatten(), layer)


def _as_pixels(z: Tensor) -> Tensor:
    """Standardised features ``(N, 10)`` as images of ten pixels around 1/2."""
    return 0.5 + 0.5 * z[:, None, None]
