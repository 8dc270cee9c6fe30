"""How well the score of ``inspect`` detects images that hide something, and how often it flags clean ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..errors import MissingExtraError
from ..perturbations._keyed import Key
from ..perturbations.registry import Recipe, kinds
from ..progress import Progress
from ..subspaces import Subspace
from ._conditional_mean import canonical
from ._inspect import Reference, score
from .processing import blurred, jpeg, noisy
from .roc import Roc, roc

SMALL = (2, 8, 32)
"""Sizes of the small harmless noise that is tried, in units of 1/255."""


@dataclass(frozen=True)
class Detection(Shown):
    """One kind of image compared with clean ones.

    Attributes:
        name: name of the kind.
        marked: whether something was hidden; otherwise the images are clean ones, processed.
        scores: scores of the images, ``(B,)``.
        images: ``(B, C, H, W)``.
        roc: ROC curve against the same images without change.
        flagged: share of images above the threshold.
    """

    name: str
    marked: bool
    scores: Tensor
    images: Tensor
    roc: Roc
    flagged: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without scores and images."""
        return {"name": self.name, "marked": self.marked, "flagged": self.flagged, **self.roc.to_dict()}


@dataclass(frozen=True)
class Validation:
    """The score tried on reference images that were set aside.

    Attributes:
        threshold: the score above which an image is suspicious.
        detections: one entry per kind of image, as ``detect`` returns them.
        examples: titles and images ``(B, C, H, W)`` in [0, 1]: some images before and after cleaning.
    """

    threshold: float
    detections: tuple[Detection, ...]
    examples: tuple[tuple[str, Tensor], ...]


def detect(
    space: Subspace,
    images: Tensor,
    reference: Reference,
    false_positives: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Detection]:
    """Mark clean images with every kind of perturbation, process them in several ways, and score all of them.

    Args:
        space: the invisible subspace.
        images: clean images, ``(B, *space.shape)`` in [0, 1], none of which belongs to the reference.
        reference: statistics learnt from other images.
        false_positives: rate that sets the threshold.
        seed: seed of the perturbations and of the noise.
        progress: called with steps done, steps in all and the next one.

    Returns:
        The clean images first, then the processed ones, then the marked ones. Keyed noise is left out if the library
        that makes it is not installed.
    """
    x = images.double()
    threshold = reference.threshold(false_positives)
    generator = torch.Generator().manual_seed(seed)
    names = [f"{seed}-{index}" for index in range(len(x))]
    key = Key(hashlib.sha256(names[0].encode()).digest())
    processed: dict[str, Callable[[], Tensor]] = {
        "clean": lambda: x,
        "JPEG 95": lambda: jpeg(x, 95),
        "JPEG 75": lambda: jpeg(x, 75),
        "JPEG 50": lambda: jpeg(x, 50),
        "blur 0.5": lambda: blurred(x, 0.5),
        "blur 1": lambda: blurred(x, 1.0),
        "noise 0.01": lambda: noisy(x, 0.01, generator),
        "noise 0.02": lambda: noisy(x, 0.02, generator),
        "noise 0.05": lambda: noisy(x, 0.05, generator),
    }
    recipes = {kind.name: Recipe(kind.name) for kind in kinds() if kind.detected}
    recipes |= {f"noise {size}/255": Recipe("noise", size / 255, in_range=False) for size in SMALL}
    found: list[Detection] = []
    total = len(processed) + len(recipes)

    def add(name: str, marked: bool, made: Tensor) -> None:
        scores = score(space, made, reference)
        curve = roc(found[0].scores if found else scores, scores)
        found.append(Detection(name, marked, scores, made, curve, float((scores > threshold).double().mean())))

    for step, (name, make) in enumerate(processed.items()):
        if progress is not None:
            progress(step, total, name)
        add(name, False, make())
    for step, (name, recipe) in enumerate(recipes.items(), len(processed)):
        if progress is not None:
            progress(step, total, name)
        try:
            made = recipe.make(space, x, names, key)
        except MissingExtraError:
            continue
        add(name, True, made)
    return found


def validate(
    space: Subspace,
    images: Tensor,
    false_positives: float = 0.01,
    seed: int = 0,
    shown: int = 6,
    progress: Progress | None = None,
) -> Validation:
    """Learn the statistics from every second image, and try the score on the others by ``detect``.

    Args:
        space: the invisible subspace.
        images: clean images, ``(B, *space.shape)`` in [0, 1].
        false_positives: rate that sets the threshold.
        seed: seed of the perturbations and of the noise.
        shown: number of images per row of ``Validation.examples``.
        progress: called with steps done, steps in all and the next one.
    """
    half = Reference.fit(space, images[::2], seed)
    found = detect(space, images[1::2], half, false_positives, seed, progress)
    marked = next(kind for kind in found if kind.name == "largest")
    clean, hidden = found[0].images[:shown], marked.images[:shown]
    examples = (
        ("clean", clean),
        ("clean, cleaned", canonical(space, clean, half.prior).images),
        ("largest harmless change", hidden),
        ("the same, cleaned", canonical(space, hidden, half.prior).images),
    )
    return Validation(half.threshold(false_positives), tuple(found), examples)
