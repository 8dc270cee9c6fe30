"""SimBA (Guo et al. 2019): a step along a random direction, or against it, whenever the score says that it helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..subspaces import Subspace
from ..subspaces.box import Norm
from ._pgd import LOOSE
from .directions import Directions, Uniform, streams
from .gradient import Constraint, Model, one_label_each, unit
from .score import Oracle, Queried, queried


def simba(
    model: Model,
    images: Tensor,
    labels: Tensor,
    size: float = 2.0,
    queries: int = 1000,
    step: float = 0.2,
    norm: Norm = "l2",
    targeted: bool = False,
    subspace: Subspace | None = None,
    joint: bool = True,
    directions: Callable[[Sequence[torch.Generator]], Directions] | None = None,
    generator: torch.Generator | None = None,
) -> Queried:
    """One query after the other, each a step along a direction not tried before, or against it where that failed.

    A step stays if it lowers the margin: the true label's score less the largest other.

    Args:
        model: images in [0, 1] to scores; normalisation inside.
        images: ``(B, *shape)`` in [0, 1].
        labels: true labels, or targets, int64 ``(B,)``.
        size: radius of the ball, in units of the image range.
        queries: allowed, an image; the first is the image as it is.
        step: length of a step, in L2.
        norm: of the ball, ``linf`` or ``l2``.
        targeted: whether labels are targets.
        subspace: confines the steps, if given.
        joint: whether every query is the nearest point of pixel range ∩ ball ∩ subspace. Otherwise pixel range and
            ball alone hold exactly, and what clipping puts outside the subspace is in ``residual``; a joint
            projection costs more than a query of a small model.
        directions: makes the directions out of one generator an image, such as ``partial(Pixels, shape=…)``; uniform
            ones in the subspace if None.
        generator: of all randomness; an image's does not depend on what becomes of the others.

    Raises:
        ValueRangeError: images outside [0, 1], a negative size, a step that is not positive, or fewer than one query.
        ShapeError: labels and images do not fit.
    """
    if not 0 < step < float("inf"):
        raise ValueRangeError(f"a step must be a positive number, got {step}")
    one_label_each(images, labels)
    oracle = Oracle(model, labels, targeted, queries)
    allowed = Constraint(images, size, norm, subspace)
    random = streams(len(images), generator)
    source = directions(random) if directions else Uniform(random, images.shape[1:], subspace)
    delta, tried = torch.zeros_like(images), torch.zeros_like(images)
    sign = torch.zeros(len(images), dtype=torch.int64)  # 0 where a new direction is due
    active = torch.arange(len(images))
    best, success = oracle.margin(images, active)
    active = active[~success]
    while oracle.left(active):
        due = active[sign[active] == 0]
        if len(due):
            drawn = source.draw(due).to(images.dtype)
            tried[due] = drawn if directions is None else unit(allowed.direction(drawn), "l2")
            sign[due] = 1
        moved = delta[active] + step * sign[active].view(-1, *[1] * (images.ndim - 1)) * tried[active]
        moved = allowed.of(active, joint).nearest(moved, LOOSE)
        margin, hit = oracle.margin((images[active] + moved).clamp(0, 1), active)
        better = (margin < best[active]) | hit
        taken = active[better]
        delta[taken], best[taken] = moved[better], margin[better]
        sign[active] = torch.where(better | (sign[active] == -1), 0, -1)
        success[active] = hit
        active = active[~hit]
    return queried(allowed, delta, success, oracle.queries)
