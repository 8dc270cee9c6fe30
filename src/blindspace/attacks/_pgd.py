"""Projected gradient descent (Madry et al. 2018), in L∞ or L2, confined to a subspace if wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..subspaces import Subspace
from ..subspaces.box import Norm
from .gradient import Attacked, Constraint, Model, ascent, unit

LOOSE = 1e-4
"""Tolerance of the joint projection between steps; the last one is exact."""


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    size: float = 8 / 255,
    steps: int = 20,
    step: float | None = None,
    norm: Norm = "linf",
    targeted: bool = False,
    subspace: Subspace | None = None,
    start: float = 0.001,
    generator: torch.Generator | None = None,
) -> Attacked:
    """Steps along the gradient, each followed by projection on pixel range ∩ ball ∩ subspace, jointly.

    Clipping to the pixel range after a projection on the subspace would leave the subspace.

    Args:
        model: images in [0, 1] to logits; normalisation inside.
        images: ``(B, *shape)`` in [0, 1].
        labels: true labels, or targets, int64 ``(B,)``.
        size: radius of the ball, in units of the image range.
        steps: how many; the paper's PGD-20 has 20 (appendix F.2).
        step: size of one; an eighth of ``size`` if None (1/255 of 8/255).
        norm: ``linf`` or ``l2``.
        targeted: whether labels are targets.
        subspace: confines gradient and perturbation, if given.
        start: standard deviation of the Gaussian start.
        generator: of that start.

    Raises:
        ValueRangeError: images outside [0, 1], a negative size, or fewer than one step.
        ShapeError: labels and images do not fit.
    """
    if steps < 1:
        raise ValueRangeError(f"an attack needs at least one step, got {steps}")
    allowed = Constraint(images, size, norm, subspace)
    step = size / 8 if step is None else step
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
    delta = allowed.nearest(start * noise, LOOSE)
    for _ in range(steps):
        gradient = ascent(model, (images + delta).clamp(0, 1), labels, targeted)
        delta = allowed.nearest(delta + step * unit(allowed.direction(gradient), norm), LOOSE)
    return allowed.result(model, allowed.nearest(delta, 1e-12), labels, targeted)
