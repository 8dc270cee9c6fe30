"""Random targets against those that the true class determines: the sets, how they transfer, and the students."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ...learning.perturbed import Mislabelled, mislabel
from ...learning.targets import next_targets, random_targets
from ...learning.training import learn
from ...networks import Network
from ...progress import Progress
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.learning import CLASSES, kept_set, kept_student, labelled_images, student_recipe
from ..parts import Kept, Part, about
from .settings import (
    GIVEN,
    NEXT,
    NONE,
    OTHER,
    RANDOM,
    SAME,
    TARGETS,
    IlyasSetsSettings,
    groups,
    name,
)


def parts(s: IlyasSetsSettings) -> list[Part]:
    """One part per network N1 and set."""
    return [
        Part(f"{case.part}.{which}", partial(_measure, s, case, which))
        for group in groups(s)
        for case in group
        for which in (RANDOM, NEXT)
    ]


def _measure(s: IlyasSetsSettings, case: Case, which: str, progress: Progress) -> Kept:
    """One set, how it transfers, and its students."""
    other, count = s.of(case)
    maker = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    test = labelled_images(case.dataset, s, s.tests)
    x, y = labelled_images(case.dataset, s, count, "train")
    draw = s.generator(case.part, which)
    targets = random_targets(y, CLASSES, draw) if which == RANDOM else next_targets(y, CLASSES)
    made = mislabel(maker, x, targets, "l2", steps=s.steps, progress=progress)
    learnt_from = (
        (TARGETS, SAME, made.images, targets),
        (TARGETS, OTHER, made.images, targets),
        (GIVEN, SAME, made.images, _labels(maker, made.images)),
        (NONE, OTHER, x, targets),
    )
    students = {}
    for done, (what, by, images, labels) in enumerate(learnt_from):
        progress(done, len(learnt_from), f"{case.part}, {name(which, what, by)}")
        kind = case.kind if by == SAME else other
        recipe = student_recipe(s, kind, case.dataset, s.epochs, s.batch, case.part, kind)
        learnt = learn(f"{kind}@{case.dataset}", images, labels, recipe, test)
        found = _labels(learnt.network, test[0])
        after = float((found == next_targets(test[1], CLASSES)).double().mean())
        students[name(which, what, by)] = {**kept_student(learnt, test), "next": after}
    accuracy = float((_labels(maker, test[0]) == test[1]).double().mean())
    values = {
        "network": about(maker),
        "accuracy": accuracy,
        "students": students,
        "sets": {which: kept_set(made) | {"transfer": _transfer(s, case, made, y)}},
    }
    return Kept(values)


def _transfer(s: IlyasSetsSettings, case: Case, made: Mislabelled, y: Tensor) -> dict[str, list[float]]:
    """Shares of the perturbed images in which networks trained on clean images see the target, and the true class.

    They are a network of the same architecture and another seed, and one of the other architecture.
    """
    found = {}
    for by, kind in ((SAME, case.kind), (OTHER, s.of(case)[0])):
        answers = _labels(classifier(kind, case.dataset, case.seed + 1, s), made.images)
        found[by] = [float((answers == labels).double().mean()) for labels in (made.targets, y)]
    return found


def _labels(network: Network, x: Tensor) -> Tensor:
    """What a network answers, int64 ``(N,)``."""
    return torch.cat([network.labels(some) for some in x.split(500)])
