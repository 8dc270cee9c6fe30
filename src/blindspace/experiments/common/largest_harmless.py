"""Harmless images as far from the originals as can be found: by squared change, and as a perceptual distance has it.

The squared change is what the paper maximises (section 5.1); ``perturbations.largest`` does it inside [0, 1]. It minds
fine grain as much as anything else, and people and perceptual distances do not. Where a network misses little but fine
grain, another aim finds images that look more unlike.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...evidence.perceptual import distance_to
from ...perturbations import Largest, largest
from ...perturbations.feasibility import into_box
from ...perturbations.repeated import repeated
from ...subspaces import Subspace, norms
from ..experiment import Settings
from .models import Report

FIRST, LAST = 0.5, 0.02
"""Step of the climb at the start and at the end, as a share of ‖δ‖; between them it falls by equal factors."""

AT_ONCE = 50
"""Images climbed with at a time."""


def farthest(
    s: Settings, space: Subspace, images: Tensor, report: Report, iterations: int | None = None, name: str = ""
) -> Largest:
    """The largest harmless perturbations, each image's start drawn from the settings.

    Args:
        s: whose seed it is.
        space: of harmless perturbations.
        images: x, ``(B, *space.shape)`` in [0, 1].
        report: called with how much is done.
        iterations: as ``largest`` has it.
        name: of what it is drawn for, such as the network's.
    """
    starts = [s.generator("largest", name, index) for index in range(len(images))]
    return largest(space, images, generators=starts, iterations=iterations, progress=report)


def most_unlike(space: Subspace, images: Tensor, start: Tensor, steps: int, report: Report) -> Tensor:
    """Harmless images in [0, 1] of a large perceptual distance from those given.

    A splitting of three parts (Davis & Yin 2017): the box, the nullspace, and steps along the distance's gradient whose
    size falls; what it ends in is brought inside the box exactly.

    Args:
        space: of harmless perturbations.
        images: x, ``(B, 1 or 3, H, W)`` in [0, 1], float64, no side below 32.
        start: harmless images to climb from, as images, other than x: at x itself the distance has no slope.
        steps: of the climb; each takes the slope of the distance once.
        report: called with how much is done.

    Returns:
        As images, inside [0, 1] to the last bit; ``start`` itself where that is farther.

    Raises:
        ShapeError: a side is below 32.
        MissingExtraError: stlpips-pytorch is not installed.
    """
    space, found = repeated(space), []
    for first in range(0, len(images), AT_ONCE):
        x, begun = images[first : first + AT_ONCE], start[first : first + AT_ONCE]
        low, high, apart = -x, 1 - x, distance_to(x)
        state = parallel = begun - x
        for done in range(steps):
            report(first * steps + len(x) * done, len(images) * steps, "most unlike")
            step = FIRST * (LAST / FIRST) ** (done / max(steps - 1, 1))
            inside = state.clamp(low, high)
            along = space.project(_slope(apart, x + inside))
            size = norms(inside, "l2") / norms(along, "l2").clamp(min=torch.finfo(x.dtype).tiny)
            parallel = space.project(2 * inside - state + step * size * along)
            state = state + parallel - inside
        made = (x + into_box(space, parallel, low, high)).clamp(0, 1)
        with torch.no_grad():
            better = apart(made) >= apart(begun)
        found.append(torch.where(better.view(-1, 1, 1, 1), made, begun))
    return torch.cat(found) if found else images.clone()


def _slope(distance: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    with torch.enable_grad():
        point = at.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(distance(point).sum(), point)
    return slope
