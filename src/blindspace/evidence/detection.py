"""How well the score of ``inspect`` finds images that hide something, and how often it accuses others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import MissingExtraError
from ..perturbations.keyed import Key
from ..perturbations.recipe import Recipe
from ..subspaces import Subspace
from ._inspect import Progress, Reference, score
from .processing import blurred, jpeg, noisy
from .roc import Roc, roc

SMALL = (2, 8, 32)
"""Sizes of the small harmless noise that is tried, in units of 1/255."""

RECIPES = {
    "noise": Recipe("noise"),
    "keyed": Recipe("keyed"),
    "largest": Recipe("largest"),
    "decoy": Recipe("decoy"),
    **{f"noise {size}/255": Recipe("noise", size / 255, in_range=False) for size in SMALL},
}
"""What images are marked with."""


@dataclass(frozen=True)
class Detection:
    """One kind of image against clean ones.

    Attributes:
        name: of the kind.
        marked: whether something was hidden; otherwise they are clean ones, processed.
        scores: ``(B,)``.
        images: ``(B, C, H, W)``.
        roc: against the same images clean.
        flagged: share above the threshold.
    """

    name: str
    marked: bool
    scores: Tensor
    images: Tensor
    roc: Roc
    flagged: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, without scores and images."""
        return {"name": self.name, "marked": self.marked, "flagged": self.flagged, **self.roc.to_dict()}


def detect(
    space: Subspace,
    images: Tensor,
    reference: Reference,
    false_positives: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Detection]:
    """Mark clean images in every way there is, process them in several, and see which the score finds.

    Args:
        space: of what is invisible.
        images: clean, ``(B, *space.shape)`` in [0, 1]; none of the reference.
        reference: learnt from others.
        false_positives: rate that sets the threshold.
        seed: of what is hidden, and of noise.
        progress: called with steps done, steps in all and what is done.

    Returns:
        The clean images first, then those processed, then those marked. Keyed noise is left out where the library that
        makes it is not installed.

    Raises:
        ShapeError: the images are of another shape.
        ValueRangeError: a pixel is outside [0, 1], or the rate is out of range.
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
    found: list[Detection] = []
    total = len(processed) + len(RECIPES)

    def add(name: str, marked: bool, made: Tensor) -> None:
        scores = score(space, made, reference)
        curve = roc(found[0].scores if found else scores, scores)
        found.append(Detection(name, marked, scores, made, curve, float((scores > threshold).double().mean())))

    for step, (name, make) in enumerate(processed.items()):
        if progress is not None:
            progress(step, total, name)
        add(name, False, make())
    for step, (name, recipe) in enumerate(RECIPES.items(), len(processed)):
        if progress is not None:
            progress(step, total, name)
        try:
            made = recipe.make(space, x, names, key)
        except MissingExtraError:
            continue
        add(name, True, made)
    return found
