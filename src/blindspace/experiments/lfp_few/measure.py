"""A few clean labels beside perturbed samples: the sets and the students."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ...learning.controls import SHUFFLED, controlled
from ...learning.perturbed import mislabel
from ...learning.targets import next_targets, random_targets
from ...learning.training import Labelled, learn
from ...progress import Progress
from ..common.classifier_cases import Case
from ..common.classifiers import classifier
from ..common.learning import CLASSES, kept_set, kept_student, labelled_images, student_recipe
from ..parts import Kept, Part, about
from .settings import (
    ALONE,
    BESIDE,
    NEXT,
    NEXT_NONE,
    RANDOM,
    RANDOM_NONE,
    RANDOM_SHUFFLED,
    FewSettings,
    groups,
    name,
)


def parts(s: FewSettings) -> list[Part]:
    """One part per network that is attacked."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: FewSettings, case: Case, progress: Progress) -> Kept:
    """Both sets, their controls, and the students of each with every number of clean images."""
    maker = classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    test = labelled_images(case.dataset, s, s.tests)
    x, y = labelled_images(case.dataset, s, split="train")
    rest = x[s.images :], y[s.images :]
    x, y = x[: s.images], y[: s.images]
    random, fixed = random_targets(y, CLASSES, s.generator(case.part, RANDOM)), next_targets(y, CLASSES)
    made = {
        each: mislabel(maker, x, targets, "l2", steps=s.steps) for each, targets in ((RANDOM, random), (NEXT, fixed))
    }
    shuffled = x + controlled(SHUFFLED, made[RANDOM].perturbation, random, s.generator(case.part, SHUFFLED))
    beside: dict[str, Labelled] = {
        RANDOM: (made[RANDOM].images, random),
        NEXT: (made[NEXT].images, fixed),
        RANDOM_NONE: (x, random),
        RANDOM_SHUFFLED: (shuffled, random),
        NEXT_NONE: (x, fixed),
        ALONE: (x[:0], y[:0]),
    }
    order = torch.randperm(len(rest[1]), generator=s.generator(case.part, "clean"))
    rest = rest[0][order], rest[1][order]
    recipe = student_recipe(s, case.kind, case.dataset, s.epochs, s.batch, case.part)
    students = {}
    for done, count in enumerate(s.counts):
        clean = of_each_class(*rest, count)
        for cell in (*BESIDE, ALONE) if count else BESIDE:
            progress(done, len(s.counts), f"{case.part}, {name(cell, count)}")
            images, labels = joined(beside[cell], clean, 2 * s.images)
            learnt = learn(f"{case.kind}@{case.dataset}", images, labels, recipe, test)
            students[name(cell, count)] = kept_student(learnt, test)
    sets = {each: kept_set(found) for each, found in made.items()}
    accuracy = float((torch.cat([maker.labels(some) for some in test[0].split(500)]) == test[1]).double().mean())
    return Kept({"network": about(maker), "accuracy": accuracy, "students": students, "sets": sets})


def of_each_class(x: Tensor, y: Tensor, count: int) -> Labelled:
    """The first images of each class."""
    chosen = torch.cat([(y == each).nonzero()[:count, 0] for each in range(CLASSES)])
    return x[chosen], y[chosen]


def joined(beside: Labelled, clean: Labelled, total: int) -> Labelled:
    """Samples and clean images, each repeated until both have an equal share of the total, or one alone all of it."""
    both = [each for each in (beside, clean) if len(each[1])]
    size = total // len(both)
    indices = [torch.arange(size) % len(labels) for _, labels in both]
    images = torch.cat([given[index] for (given, _), index in zip(both, indices, strict=True)])
    return images, torch.cat([labels[index] for (_, labels), index in zip(both, indices, strict=True)])
