"""What the experiments on learning from perturbations share: images, recipes, and what is kept of sets and students."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from ...learning.perturbed import Mislabelled
from ...learning.training import Labelled, Learnt
from ...networks import Recipe
from ...networks.small_networks import small_recipe
from ..parts import Settings, seed_of
from .models import images, tensors

CLASSES = 10
"""Number of classes of every data set here."""


def labelled_images(
    dataset: str, s: Settings, count: int | None = None, split: Literal["train", "test"] = "test"
) -> Labelled:
    """The first images of a data set (see ``models.images``), float32 ``(N, C, H, W)``, and labels, on the device."""
    return tensors(images(dataset, s.preset, count, split), s)


def student_recipe(s: Settings, kind: str, dataset: str, epochs: int, batch: int, *what: object) -> Recipe:
    """How a second network is trained: as first networks are, but without mirroring, which would move perturbations.

    Args:
        s: Settings of the experiment, whose seed counts.
        kind: One of ``classifiers.KINDS``.
        dataset: Name of the data set.
        epochs: Passes over the samples.
        batch: Images per step.
        what: What the seed is drawn for, such as the name of the part; it is none of those of the first networks, which
            are small numbers, so that the two share no initial weights.
    """
    seed = seed_of(s.seed, *what, "student") % 2**31
    return replace(small_recipe(kind, dataset), epochs=epochs, batch_size=batch, flip=False, images=None, seed=seed)


def kept_student(learnt: Learnt, test: Labelled) -> dict[str, Any]:
    """What a part keeps of a student, as its value ``students/NAME``.

    Args:
        learnt: The student, trained with test images.
        test: The test images.

    Returns:
        One figure per epoch: ``loss``, ``training`` (share of training images answered as their target), ``test``
        (accuracy); and ``by class``, the accuracy on the test images of each class after the last epoch.
    """
    x, y = test
    right = torch.cat([learnt.network.labels(part) for part in x.split(500)]) == y
    return {
        "loss": [epoch.loss for epoch in learnt.curve],
        "training": [epoch.training for epoch in learnt.curve],
        "test": [epoch.test for epoch in learnt.curve],
        "by class": shares(right, y),
    }


def kept_set(made: Mislabelled) -> dict[str, Any]:
    """What a part keeps of perturbed samples, as its value ``sets/NAME``: success, also by target, and median norms."""
    return {
        "attack": made.attack,
        "success": float(made.success.double().mean()),
        "by target": shares(made.success, made.targets),
        **{norm: float(getattr(made, norm).double().median()) for norm in ("l0", "l2", "linf")},
    }


def shares(of: Tensor, classes: Tensor) -> list[float | None]:
    """The share of True in ``of``, bool ``(N,)``, for each class of ``classes`` ``(N,)``; None where there is none."""
    chosen = (of[classes == each].double() for each in range(CLASSES))
    return [float(each.mean()) if len(each) else None for each in chosen]
