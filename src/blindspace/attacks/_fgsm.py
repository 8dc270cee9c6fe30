"""The fast gradient sign method (Goodfellow et al. 2015), in L∞ or L2."""

from __future__ import annotations

from torch import Tensor

from ..subspaces import Subspace
from ..subspaces.box import Norm
from .gradient import Attacked, Constraint, Model, ascent, unit


def fgsm(
    model: Model,
    images: Tensor,
    labels: Tensor,
    size: float = 8 / 255,
    norm: Norm = "linf",
    targeted: bool = False,
    subspace: Subspace | None = None,
) -> Attacked:
    """One step of the whole size along the gradient.

    Args:
        model: images in [0, 1] to logits; normalisation inside.
        images: ``(B, *shape)`` in [0, 1].
        labels: true labels, or targets, int64 ``(B,)``.
        size: radius of the ball, in units of the image range.
        norm: ``linf`` or ``l2``.
        targeted: whether labels are targets.
        subspace: confines gradient and perturbation, if given.

    Raises:
        ValueRangeError: images outside [0, 1], or a negative size.
        ShapeError: labels and images do not fit.
    """
    allowed = Constraint(images, size, norm, subspace)
    step = size * unit(allowed.direction(ascent(model, images, labels, targeted)), norm)
    return allowed.result(model, allowed.nearest(step, 1e-12), labels, targeted)
