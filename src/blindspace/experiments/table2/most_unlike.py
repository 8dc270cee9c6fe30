"""Harmless images as far from the originals in a perceptual distance as can be found.

The squared change, which the paper maximises (section 5.1; here ``perturbations.largest``), weighs fine detail as much
as anything else; people and perceptual distances do not. Where the nullspace of a network holds little but fine detail,
maximising the distance itself finds images that look less like the originals.

The iteration is known as three-operator splitting; Davis & Yin 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...evidence.perceptual import distance_to
from ...perturbations.feasibility import into_box
from ...perturbations.repeated import repeated
from ...progress import Progress
from ...subspaces import Subspace, norms

AT_ONCE = 50
"""Number of images per batch."""


def most_unlike(
    space: Subspace,
    images: Tensor,
    start: Tensor,
    steps: int,
    progress: Progress,
    first_step: float = 0.5,
    last_step: float = 0.02,
) -> Tensor:
    """Harmless images in [0, 1] at a large perceptual distance from the given ones.

    The three operators are the box, the nullspace, and steps along the gradient of the distance with falling step size;
    the last iterate is moved into the box exactly.

    Args:
        space: Subspace of harmless perturbations.
        images: x, ``(B, 1 or 3, H, W)`` in [0, 1], float64, no side below 32.
        start: Harmless images to start from, other than x, where the gradient of the distance vanishes.
        steps: Number of iterations; each computes the gradient of the distance once.
        progress: Called with the share of the work that is done.
        first_step: Step size of the first iteration, as a share of ‖δ‖; step sizes fall geometrically.
        last_step: Step size of the last iteration.

    Returns:
        Images inside [0, 1] to the last bit; ``start`` itself where that is farther.

    Raises:
        ShapeError: A side is below 32.
        MissingExtraError: stlpips-pytorch is not installed.
    """
    space, found = repeated(space), []
    for first in range(0, len(images), AT_ONCE):
        x, begun = images[first : first + AT_ONCE], start[first : first + AT_ONCE]
        low, high, apart = -x, 1 - x, distance_to(x)
        state = parallel = begun - x
        for done in range(steps):
            progress(first * steps + len(x) * done, len(images) * steps, "most unlike")
            step = first_step * (last_step / first_step) ** (done / max(steps - 1, 1))
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
