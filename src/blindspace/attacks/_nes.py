"""NES (Ilyas et al. 2018): steps along a gradient estimated from scores at antithetic random points."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..subspaces import Subspace
from ..subspaces.box import Norm
from ._pgd import LOOSE
from .directions import Uniform, streams
from .gradient import Constraint, Model, one_label_each, unit
from .score import Oracle, Queried, queried


def nes(
    model: Model,
    images: Tensor,
    labels: Tensor,
    size: float = 2.0,
    queries: int = 1000,
    step: float | None = None,
    pairs: int = 25,
    reach: float = 0.1,
    norm: Norm = "l2",
    targeted: bool = False,
    subspace: Subspace | None = None,
    generator: torch.Generator | None = None,
) -> Queried:
    """Projected gradient descent on the margin, its gradient estimated anew for every step.

    A step costs two queries a pair and one more, which says whether the attack is there. The points of the pairs are
    cut to the pixel range and may lie outside ball and subspace; only what a step ends at counts as success.

    Args:
        model: images in [0, 1] to scores; normalisation inside.
        images: ``(B, *shape)`` in [0, 1].
        labels: true labels, or targets, int64 ``(B,)``.
        size: radius of the ball, in units of the image range.
        queries: allowed, an image; the first is the image as it is.
        step: size of one; an eighth of ``size`` if None.
        pairs: random directions a step, each tried forwards and backwards.
        reach: how far from the image, in L2.
        norm: ``linf`` or ``l2``.
        targeted: whether labels are targets.
        subspace: confines directions and perturbation, if given.
        generator: of all randomness; an image's does not depend on what becomes of the others.

    Raises:
        ValueRangeError: images outside [0, 1], a negative size, or fewer than one query or pair, or no reach.
        ShapeError: labels and images do not fit.
    """
    if pairs < 1 or not 0 < reach < float("inf"):
        raise ValueRangeError(f"an estimate needs at least one pair and a positive reach, got {pairs} and {reach}")
    one_label_each(images, labels)
    oracle = Oracle(model, labels, targeted, queries)
    allowed = Constraint(images, size, norm, subspace)
    step = size / 8 if step is None else step
    source = Uniform(streams(len(images), generator), images.shape[1:], subspace)
    delta = torch.zeros_like(images)
    active = torch.arange(len(images))
    _, success = oracle.margin(images, active)
    active = active[~success]
    while oracle.left(active) > 2 * pairs:
        at = images[active] + delta[active]
        slope = torch.zeros_like(at)
        for _ in range(pairs):
            u = source.draw(active).to(images.dtype)
            ahead, _ = oracle.margin((at + reach * u).clamp(0, 1), active)
            behind, _ = oracle.margin((at - reach * u).clamp(0, 1), active)
            slope += (ahead - behind).view(-1, *[1] * (images.ndim - 1)) * u
        moved = delta[active] - step * unit(slope, norm)
        delta[active] = allowed.of(active).nearest(moved, LOOSE)
        _, hit = oracle.margin((images[active] + delta[active]).clamp(0, 1), active)
        success[active] = hit
        active = active[~hit]
    return queried(allowed, delta, success, oracle.queries)
