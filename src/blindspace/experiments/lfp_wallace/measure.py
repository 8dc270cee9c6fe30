"""Learning from a network's labels without perturbations: the labelled images and the students."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ...data import SHAPES
from ...learning.controls import among_equal_targets
from ...learning.targets import noise
from ...learning.training import Labelled, learn
from ...networks import Network
from ...progress import Progress
from ..common.classifiers import classifier, recipe_of
from ..common.learning import CLASSES, kept_student, labelled_images, student_recipe
from ..common.models import trained
from ..parts import Kept, Part, about
from .settings import AMONG, BLIND, NOISE, NORMALISED, OVER, TRUE, UNTRAINED, Labelling, WallaceSettings, groups


def parts(s: WallaceSettings) -> list[Part]:
    """One part per network N1."""
    return [Part(case.part, partial(_measure, s, case)) for group in groups(s) for case in group]


def _measure(s: WallaceSettings, case: Labelling, progress: Progress) -> Kept:
    """N1, the images with its labels, and every student."""
    first = _first(s, case, progress)
    test = labelled_images(case.dataset, s, s.tests)
    x, y = _errors(s, case, first) if case.errors else (_foreign(s, case), None)
    epochs, batch = s.epochs[0 if case.errors else 1], min(s.batch, len(x))
    recipe = student_recipe(s, case.kind, case.dataset, epochs, batch, case.part)
    recipe = replace(recipe, schedule="one-cycle")  # The last epoch counts, so the learning rate falls until then.
    students, answers = {}, labels_of(first, test[0])
    for done, cell in enumerate(case.cells):
        progress(done, len(case.cells), f"{case.part}, {cell}")
        images, labels = _labelled(s, case, first, cell, x, y)
        learnt = learn(f"{case.kind}@{case.dataset}", images, labels, recipe, test)
        counts = labels.bincount(minlength=CLASSES).double() / len(labels)
        students[cell] = {
            **kept_student(learnt, test),
            "agreement": float((labels_of(learnt.network, test[0]) == answers).double().mean()),
            "most frequent label": float(counts.max()),
        }
    accuracy = float((answers == test[1]).double().mean())
    return Kept({"network": about(first), "accuracy": accuracy, "images": len(x), "students": students})


def _first(s: WallaceSettings, case: Labelling, progress: Progress) -> Network:
    """N1: trained as usual, or briefly where its errors are to be learnt."""
    if not case.errors:
        return classifier(case.kind, case.dataset, case.seed, s, progress=progress)
    recipe = replace(recipe_of(case.kind, case.dataset, case.seed, s.preset), epochs=s.short)
    return trained(f"{case.kind}@{case.dataset}", s, progress, recipe)


def _errors(s: WallaceSettings, case: Labelling, first: Network) -> Labelled:
    """The first training images that N1 gets wrong, and their true labels."""
    x, y = labelled_images(case.dataset, s, split="train")
    wrong = (labels_of(first, x) != y).nonzero()[: case.count, 0]
    return x[wrong], y[wrong]


def _foreign(s: WallaceSettings, case: Labelling) -> Tensor:
    """Images of another data set in the shape of N1's, which are grey: colour is averaged, the centre cut out."""
    x, _ = labelled_images(case.source, s, case.count, split="train")
    _, height, width = SHAPES[case.dataset]
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width].mean(1, keepdim=True)


def _labelled(s: WallaceSettings, case: Labelling, first: Network, cell: str, x: Tensor, y: Tensor | None) -> Labelled:
    """What the students of a cell learn from; ``y`` are true labels, which the images of another data set have not."""
    draw = s.generator(case.part, cell)
    if cell == TRUE and y is not None:
        return x, y
    if cell == NORMALISED:
        x = like(x, labelled_images(case.dataset, s, split="train")[0])
    if cell == NOISE:
        x = noise("uniform", len(x), x.shape[1:], draw).to(x)
    if cell in (UNTRAINED, BLIND):
        first = classifier(case.kind, case.dataset, case.seed, s, untrained=cell == UNTRAINED, shuffled=cell == BLIND)
    labels = labels_of(first, x)
    if cell == AMONG and y is not None:
        return x, labels[among_equal_targets(y, draw)]
    return x, labels[among_equal_targets(torch.zeros_like(labels), draw)] if cell == OVER else labels


def like(x: Tensor, others: Tensor) -> Tensor:
    """Images ``(N, *shape)`` with the mean and the standard deviation of others; they may leave [0, 1]."""
    return (x - x.mean()) / x.std() * others.std() + others.mean()


def labels_of(network: Network, x: Tensor) -> Tensor:
    """What a network answers, int64 ``(N,)``."""
    return torch.cat([network.labels(some) for some in x.split(500)])
