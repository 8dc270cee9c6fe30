"""Tangent spaces too large for bases: projection by products with the decoder's Jacobian J.

Known as CGLS, conjugate gradients on JᵀJ c = Jᵀ v without forming JᵀJ (Hestenes & Stiefel 1952; Björck 1996, section
7.4); P v = J c. It needs no basis, one product with J and one with Jᵀ per step, and full column rank of J only for c,
not for P v.
"""

from __future__ import annotations

import copy
import warnings
from typing import Self

import torch
from torch import Tensor

from ..errors import BlindspaceWarning
from ..maps import Shape
from ..maps.linear_map import DENSE_LIMIT
from ..solvers import Certificate
from ..subspaces import TangentSpaces, tangent_spaces
from .jacobian import Decode, columns, times, transposed

TOLERANCE = 1e-10
"""Share of ‖J‖ ‖v‖ that ‖Jᵀ (v − P v)‖ may be at most."""

STEPS = 1000
"""Largest number of steps."""

POWER_STEPS = 10
"""Steps of the power method for ‖J‖, which needs no more than the order of magnitude."""


class TangentProducts(TangentSpaces):
    """Tangent spaces of the range of a decoder, without bases.

    ``ranks`` are the number of latent coordinates, as the rank is not determined, and ``condition`` is NaN.

    Args:
        decode: The decoder, in float64.
        z: Latent coordinates of the images, float64 ``(B, *latent_shape)``.
        points: The images, ``(B, *shape)``.

    Warns:
        BlindspaceWarning: A projection has not converged; the message has the residual.
    """

    solver = "CGLS"
    reason = "bases would need too much memory"

    def __init__(self, decode: Decode, z: Tensor, points: Tensor) -> None:
        self.decode, self.z, self.points = decode, z, points
        self.shape: Shape = tuple(points.shape[1:])
        k = z[0].numel()
        self.ranks = torch.full((len(points),), min(k, self.ambient_dim))
        self.condition = torch.full((len(points),), torch.nan, dtype=torch.float64)
        self.device = z.device
        self.certificate = Certificate(
            self.ambient_dim - self.dim, "undecided", "the number of latent coordinates", 0.0, 1.0, None, None
        )
        self.iterations = 0

    @torch.no_grad()
    def _project(self, v: Tensor) -> Tensor:
        if not len(v):
            return v
        parts = [self._project_one_each(some) for some in v.double().split(len(self.points))]
        return torch.cat(parts).to(v.dtype)

    def _project_one_each(self, v: Tensor) -> Tensor:
        transpose = transposed(self.decode, self.z)
        coefficients, rest = torch.zeros_like(self.z), v
        slope = transpose(rest)
        direction, square = slope, _squares(slope)
        limit = TOLERANCE * _norms(self._norm_of_jacobian(transpose)) * v.flatten(1).norm(dim=1)
        self.iterations = 0
        while bool((square.sqrt() > limit).any()) and self.iterations < STEPS:
            image = times(self.decode, self.z, direction)
            size = _as(square / _squares(image).clamp(min=torch.finfo(torch.float64).tiny), v)
            coefficients = coefficients + _as(size.flatten(), direction) * direction
            rest = rest - size * image
            slope = transpose(rest)
            new = _squares(slope)
            direction = slope + _as(new / square.clamp(min=torch.finfo(torch.float64).tiny), slope) * direction
            square = new
            self.iterations += 1
        if bool((square.sqrt() > limit).any()):
            share = float((square.sqrt() / limit.clamp(min=torch.finfo(torch.float64).tiny)).max()) * TOLERANCE
            warnings.warn(
                f"the projection on tangent spaces has not converged after {STEPS} steps: ‖Jᵀ(v − P v)‖ is "
                f"{share:.1e} of ‖J‖ ‖v‖, aimed at {TOLERANCE:.0e}",
                BlindspaceWarning,
                stacklevel=4,
            )
        return v - rest

    def _norm_of_jacobian(self, transpose: Decode) -> Tensor:
        """J w of each image for a unit vector w near the leading singular vector, whose norm is about ‖J‖."""
        generator = torch.Generator().manual_seed(0)
        w = torch.randn(self.z.shape, generator=generator, dtype=torch.float64).to(self.z.device)
        image = self.points.double()
        for _ in range(POWER_STEPS):
            w = w / _as(_norms(w).clamp(min=torch.finfo(torch.float64).tiny), w)
            image = times(self.decode, self.z, w)
            w = transpose(image)
        return image

    def bases(self, limit: float = DENSE_LIMIT) -> Tensor:
        """As ``TangentSpaces.bases``."""
        found = tangent_spaces(columns(self.decode, self.z), self.points).basis(limit)
        missing = self.dim - found.shape[1]
        return torch.cat([found, found.new_zeros(len(found), missing, *self.shape)], 1)

    def at(self, images: Tensor) -> Self:
        """As ``PerImage.at``."""
        chosen = copy.copy(self)
        chosen.z, chosen.points = self.z[images], self.points[images]
        chosen.ranks, chosen.condition = self.ranks[images], self.condition[images]
        return chosen


def _squares(v: Tensor) -> Tensor:
    return v.flatten(1).square().sum(1)


def _norms(v: Tensor) -> Tensor:
    return _squares(v).sqrt()


def _as(factor: Tensor, v: Tensor) -> Tensor:
    """A factor per image, to multiply a batch with."""
    return factor.view(-1, *[1] * (v.ndim - 1))
