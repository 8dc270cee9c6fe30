"""Controls: perturbations of the same norm that do not lie in the subspace whose effect is measured."""

from __future__ import annotations

import torch
from torch import Tensor

from ..subspaces import norms


def shuffled(perturbation: Tensor, generator: torch.Generator) -> Tensor:
    """The values of a perturbation in random order, drawn for each image independently, ``(B, *shape)``."""
    flat = perturbation.flatten(1)
    order = torch.rand(flat.shape, generator=generator).argsort(1).to(flat.device)
    return flat.gather(1, order).view_as(perturbation)


def gaussian(perturbation: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of the same L2 norm, ``(B, *shape)``."""
    noise = torch.randn(perturbation.shape, generator=generator, dtype=perturbation.dtype).to(perturbation.device)
    return noise * (norms(perturbation, "l2") / norms(noise, "l2"))


def in_random_subspace(perturbation: Tensor, dim: int, generator: torch.Generator) -> Tensor:
    """The component in a random subspace, drawn independently for each image, scaled to the L2 norm of the whole.

    The projection of δ onto a uniformly random subspace is b·δ + √(b(1−b))·‖δ‖·u, where b is Beta distributed with
    parameters d/2 and (n−d)/2 and u is a random unit vector orthogonal to δ; so no subspace has to be constructed.

    Args:
        perturbation: δ, ``(B, *shape)``.
        dim: Dimension d of the random subspace, 0 < d < n.
        generator: Source of randomness.
    """
    flat = perturbation.flatten(1).double()
    n = flat.shape[1]
    # A Beta variate is a ratio of χ² variates, which torch draws from a generator as sums of squares.
    inside = torch.randn(len(flat), dim, generator=generator, dtype=torch.float64).square().sum(1, keepdim=True)
    outside = torch.randn(len(flat), n - dim, generator=generator, dtype=torch.float64).square().sum(1, keepdim=True)
    b = (inside / (inside + outside)).to(flat.device)
    size = norms(flat, "l2")
    along = flat / size.clamp(min=torch.finfo(torch.float64).tiny)
    u = torch.randn(flat.shape, generator=generator, dtype=torch.float64).to(flat.device)
    u = u - (u * along).sum(1, keepdim=True) * along
    part = b * flat + (b * (1 - b)).sqrt() * size * u / norms(u, "l2")
    return (
        (part * size / norms(part, "l2").clamp(min=torch.finfo(torch.float64).tiny))
        .to(perturbation.dtype)
        .view_as(perturbation)
    )
