"""A function of images linearised at a point: products with its Jacobian J, and the nearest point of a box on a level.

The point z nearest to p with J z = b and 0 ≤ z ≤ 1 is z = clamp(p + Jᵀ λ). Its dual problem is convex and has one
unknown per output, with the gradient J z − b and the generalised Hessian J D Jᵀ, where D is 1 at the pixels that are
not clamped and 0 at the others. A regularised semismooth Newton method with a line search solves it in a few steps
(Qi & Sun 1993; Zhao, Sun & Toh 2010), and no pixel is clamped afterwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from ..solvers.projectors.krylov import pcg

CUT = 1e-13
"""Share of its trace up to which an eigenvalue of J D Jᵀ counts as 0."""

STEPS, HALVINGS = 60, 50
"""Largest number of Newton steps, and of halvings of each."""

SHIFT, DESCENT = 1e-8, 1e-4
"""Regularisation as a share of ‖J‖² at the first step, falling as the gap does; and the share of the predicted descent
that a step must bring."""

ROUNDING = 1e-13
"""Share of the objective that is rounding; below it the gap alone says whether a step is good."""

REACHED = 1e-14
"""‖J z − b‖ / (‖J‖ √n) at which they stop, in float64."""

INNER, GAINED = 500, 1e-12
"""Largest number of conjugate gradient steps per system, and the share of its residual at which they stop."""


class Linearised(ABC):
    """The Jacobian J at a point, for batches of vectors, float64 ``(B, n)`` and ``(B, m)``."""

    @abstractmethod
    def forward(self, v: Tensor) -> Tensor:
        """Compute J v."""

    @abstractmethod
    def adjoint(self, w: Tensor) -> Tensor:
        """Compute Jᵀ w."""

    @abstractmethod
    def solve(self, free: Tensor, g: Tensor, shift: Tensor) -> Tensor:
        """Compute (J D Jᵀ + s I)⁺ g with D = ``free``, 0 or 1 per pixel, ``(B, n)``, and s = ``shift``, ``(B,)``."""

    @property
    @abstractmethod
    def norm(self) -> float:
        """‖J‖, roughly."""

    def at(self, some: Tensor) -> Linearised:
        """The Jacobians of some vectors of the batch, where each has its own; this one where it is that of all."""
        return self


class Matrix(Linearised):
    """J as a matrix, for few outputs.

    Args:
        rows: J, float64 ``(m, n)``.
        cut: Share of its trace up to which an eigenvalue of J D Jᵀ counts as 0.
    """

    def __init__(self, rows: Tensor, cut: float = CUT) -> None:
        self.rows, self.cut = rows, cut

    def forward(self, v: Tensor) -> Tensor:
        """As ``Linearised.forward``."""
        return v @ self.rows.T

    def adjoint(self, w: Tensor) -> Tensor:
        """As ``Linearised.adjoint``."""
        return w @ self.rows

    def solve(self, free: Tensor, g: Tensor, shift: Tensor) -> Tensor:
        """As ``Linearised.solve``, by eigenvalues: outputs may depend on one another, as those of a softmax do."""
        gram = torch.stack([(self.rows * each) @ self.rows.T for each in free])
        values, vectors = torch.linalg.eigh(gram)
        cut = (self.cut * values.sum(1, keepdim=True)).clamp(min=torch.finfo(values.dtype).tiny)
        values = values.clamp(min=0) + shift[:, None]
        inverse = torch.where(values > cut, 1 / values.clamp(min=cut), 0.0)
        found: Tensor = (vectors @ (inverse[:, :, None] * (vectors.mT @ g[:, :, None])))[:, :, 0]
        return found

    @property
    def norm(self) -> float:
        """The Frobenius norm."""
        return float(torch.linalg.vector_norm(self.rows.detach()))


class Products(Linearised):
    """J by products alone, for many outputs.

    Args:
        forward: The product with J.
        adjoint: The product with Jᵀ.
        n: Number of values of an image.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], n: int) -> None:
        self._forward, self._adjoint = forward, adjoint
        v = torch.randn(1, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for _ in range(3):  # of the power method
            v = adjoint(forward(v / v.norm().clamp(min=torch.finfo(v.dtype).tiny)))
        self._norm = sqrt(float(v.norm()))

    def forward(self, v: Tensor) -> Tensor:
        """As ``Linearised.forward``."""
        return self._forward(v)

    def adjoint(self, w: Tensor) -> Tensor:
        """As ``Linearised.adjoint``."""
        return self._adjoint(w)

    def solve(self, free: Tensor, g: Tensor, shift: Tensor) -> Tensor:
        """As ``Linearised.solve``, by conjugate gradients; g is in the range of a singular matrix."""
        alone = zip(free.split(1), g.split(1), shift, strict=True)
        return torch.cat([self._solve(pixels, residual, float(s)) for pixels, residual, s in alone])

    def _solve(self, free: Tensor, g: Tensor, shift: float) -> Tensor:
        def gram(w: Tensor) -> Tensor:
            return self.forward(free * self.adjoint(w)) + shift * w

        return pcg(gram, g, None, GAINED * g.norm(dim=1), INNER)[0]

    @property
    def norm(self) -> float:
        """By three steps of the power method."""
        return self._norm


def stacked(parts: Sequence[Linearised], n: int) -> Linearised:
    """The Jacobians of several points one above the other, for what is to be level at all of them."""
    if len(parts) == 1:
        return parts[0]
    matrices = [part for part in parts if isinstance(part, Matrix)]
    if len(matrices) == len(parts):
        return Matrix(torch.cat([part.rows for part in matrices]), max(part.cut for part in matrices))

    def forward(v: Tensor) -> Tensor:
        return torch.cat([part.forward(v) for part in parts], 1)

    def adjoint(w: Tensor) -> Tensor:
        return torch.stack([part.adjoint(one) for part, one in zip(parts, w.chunk(len(parts), 1), strict=True)]).sum(0)

    return Products(forward, adjoint, n)


def nearest_on_level(
    points: Tensor,
    jacobian: Linearised,
    wanted: Tensor,
    box: tuple[Tensor, Tensor] | None = None,
    gap: Tensor | None = None,
    steps: int = STEPS,
) -> Tensor:
    """Compute argmin ‖z − p‖ subject to J z = b and 0 ≤ z ≤ 1.

    Args:
        points: The points p, float64 or float32 ``(B, n)``.
        jacobian: J, the same for all of them, or one for each.
        wanted: b, ``(B, m)``.
        box: Lower and upper bounds other than 0 and 1, ``(B, n)`` each.
        gap: ‖J z − b‖ at which the iteration may stop, ``(B,)``; that of rounding if None.
        steps: Largest number of Newton steps.

    Returns:
        z, in the box to the last bit, ``(B, n)``. Where no point of the box has J z = b it is one of the box where the
        Newton method ended, and J z differs from b.
    """

    def at(multipliers: Tensor, some: Tensor) -> _Dual:
        own = jacobian.at(some)
        raw = points[some] + own.adjoint(multipliers)
        z = raw.clamp(0, 1) if box is None else torch.minimum(torch.maximum(raw, box[0][some]), box[1][some])
        over = own.forward(z) - wanted[some]
        objective = (z * (raw - z / 2)).sum(1) - (multipliers * wanted[some]).sum(1)
        return _Dual(multipliers, z, (z == raw).to(z.dtype), over, over.norm(dim=1), objective)

    now = at(torch.zeros_like(wanted), torch.arange(len(points), device=points.device))
    rounding = torch.finfo(points.dtype).eps / torch.finfo(torch.float64).eps
    least = rounding * REACHED * jacobian.norm * points.shape[1] ** 0.5
    enough, first = torch.full_like(now.size, least) if gap is None else gap.clamp(min=least), now.size.clone()
    for _ in range(steps):
        going = (now.size > enough).nonzero().flatten()
        if not len(going):
            break
        shift = SHIFT * jacobian.norm**2 * (now.size[going] / first[going])
        step = jacobian.at(going).solve(now.free[going], now.gap[going], shift)
        slope, share, moved = (step * now.gap[going]).sum(1), 1.0, False
        for _ in range(HALVINGS):
            found = at(now.multipliers[going] - share * step, going)
            before = now.objective[going]
            lower = found.objective <= before - DESCENT * share * slope
            same = found.objective <= before + rounding * ROUNDING * (1 + before.abs())
            better = lower | (same & (found.size < now.size[going]))
            for old, new in zip(now, found, strict=True):
                old[going[better]] = new[better]
            moved = moved or bool(better.any())
            going, step, slope, share = going[~better], step[~better], slope[~better], share / 2
            if not len(going):
                break
        if not moved:
            break  # what is left is rounding, or no point of the box is on the level
    return now.z


class _Dual(NamedTuple):
    """The dual problem at some multipliers λ, for each point.

    Attributes:
        multipliers: λ, ``(B, m)``.
        z: clamp(p + Jᵀ λ), ``(B, n)``.
        free: 1 at the pixels that are not clamped, else 0, ``(B, n)``.
        gap: The gradient J z − b, ``(B, m)``.
        size: Its norm, ``(B,)``.
        objective: The convex function that is to be least, ``(B,)``.
    """

    multipliers: Tensor
    z: Tensor
    free: Tensor
    gap: Tensor
    size: Tensor
    objective: Tensor
