"""The equations that a step from a base point must keep, with orthonormal rows: one set per image of a batch.

The rows of a Jacobian differ in size and depend on one another: behind a layer with few units that are on, no more
rows than these are independent. So the equations are J = M V with orthonormal rows V, and a residual r of them is one
of V after the product with M⁺. Then V D Vᵀ is well conditioned for most sets D of free pixels, and Newton's method for
the nearest point of the box converges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Self

import torch
from scipy.linalg import qr
from torch import Tensor

from ..errors import ValueRangeError
from ..solvers.projectors.krylov import pcg
from .demands import Rows
from .linearised import STEPS, Linearised, nearest_on_level

DENSE = 512
"""Number of rows up to which the systems of steps are factored."""

INNER, INEXACT = 200, 1e-5
"""Largest number of conjugate gradient steps per system, and the share of its residual at which they stop: the Newton
method around them makes up for it."""

DEPENDENT = 100.0
"""Units of rounding, relative to the largest eigenvalue of J Jᵀ, up to which one counts as 0, with few rows."""

INDEPENDENT = 1e-3
"""Up to this ‖V Vᵀ − I‖, a Cholesky factor of J Jᵀ has shown that its many rows are independent."""


class Orthonormal(Linearised):
    """Orthonormal rows V, some of which may be 0 instead.

    Args:
        rows: V, ``(B, k, n)``.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def at(self, some: Tensor) -> Orthonormal:
        """As ``Linearised.at``."""
        return self if len(some) == len(self.rows) else Orthonormal(self.rows[some])

    def forward(self, v: Tensor) -> Tensor:
        """As ``Linearised.forward``."""
        return (self.rows @ v[:, :, None])[:, :, 0]

    def adjoint(self, w: Tensor) -> Tensor:
        """As ``Linearised.adjoint``."""
        return (w[:, None, :] @ self.rows)[:, 0]

    def solve(self, free: Tensor, g: Tensor, shift: Tensor) -> Tensor:
        """As ``Linearised.solve``; by conjugate gradients for many rows, which need few steps."""
        eps = torch.finfo(g.dtype).eps
        shift = shift.clamp(min=10 * eps)
        if self.rows.shape[1] > DENSE:
            alone = zip(self.rows, free, g.split(1), shift, strict=True)
            return torch.cat([_by_gradients(rows, own, one, s) for rows, own, one, s in alone])
        gram_matrix = (self.rows * free[:, None, :]) @ self.rows.mT
        gram_matrix.diagonal(dim1=1, dim2=2).add_(shift[:, None])
        lower, failed = torch.linalg.cholesky_ex(gram_matrix)
        if bool(failed.any()):
            gram_matrix.diagonal(dim1=1, dim2=2).add_(1e3 * eps)
            lower = torch.linalg.cholesky(gram_matrix)
        return torch.cholesky_solve(g[:, :, None], lower)[:, :, 0]

    @property
    def norm(self) -> float:
        """1, or 0 without rows."""
        return float(self.rows.shape[1] > 0)


def _by_gradients(rows: Tensor, free: Tensor, g: Tensor, shift: Tensor) -> Tensor:
    """(V D Vᵀ + s I)⁻¹ g for the rows V and free pixels D of one image, ``(1, k)``."""

    def gram(w: Tensor) -> Tensor:
        return (w @ rows * free) @ rows.T + shift * w

    return pcg(gram, g, None, INEXACT * g.norm(dim=1), INNER)[0]


class LinearEquations(ABC):
    """The equations at base points, one set per image.

    Attributes:
        near: Gap of the linear equations that a predicted step may leave, as a share of its length.
        exact: Share of a residual that a correction may leave.
        corrections: Number of corrections by one Jacobian.
        renewals: Number of Jacobians computed on the way of one step, and of more where they converge fast.
        tries: Number of lengths of a step that are tried from one point, each a quarter of the last.
        quieter: Number of times that a first direction is brought nearer to those that change the front least.
        steps: Largest number of Newton steps for a nearest point of the box.
        seen: ‖J v‖ / (‖J‖ ‖v‖) of what ``along`` has left of directions, ``(B,)``; None where it is rounding.
    """

    near, exact, corrections, renewals, tries, quieter, steps = 1e-6, 1e-3, 8, 6, 3, 3, STEPS
    seen: Tensor | None = None

    @property
    @abstractmethod
    def jacobian(self) -> Linearised:
        """Their left side."""

    def at(self, some: Tensor) -> Self:
        """The equations of some images."""
        if len(some) == self.count:
            return self
        part = copy(self)
        part._choose(some)
        return part

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of images."""

    @abstractmethod
    def _choose(self, some: Tensor) -> None:
        """Keep the equations of some images alone."""

    @abstractmethod
    def residual(self, change: Tensor, off: Tensor) -> Tensor:
        """What the equations see of a change of what must stay, ``(B, dim)``, and of a perturbation, ``(B, n)``."""

    @abstractmethod
    def shortest(self, residual: Tensor) -> Tensor:
        """Lower bounds on the lengths of the steps that undo residuals, ``(B,)``."""

    @abstractmethod
    def along(self, v: Tensor) -> Tensor:
        """The orthogonal projection on the nullspace of the equations, ``(B, n)``."""

    def nearest(
        self, points: Tensor, base: Tensor, residual: Tensor, box: tuple[Tensor, Tensor], gap: Tensor
    ) -> Tensor:
        """The points of the box nearest to some whose step from a base undoes a residual up to a gap, ``(B, n)``."""
        wanted = self.jacobian.forward(base) - residual
        return nearest_on_level(points, self.jacobian, wanted, box, gap, self.steps)


class Equations(LinearEquations):
    """The equations by rows that are formed.

    Args:
        rows: Rows of the Jacobians.
        beside: Orthonormal rows to which steps must be orthogonal too, ``(d, n)``, themselves orthogonal to the others.

    Attributes:
        rank: Number of independent equations of each image, those of ``beside`` left out; int64 ``(B,)``.
        least: Lower bounds on the smallest singular value that is not 0, as a share of the largest, ``(B,)``.
        sides: Number of points whose rows these are: 2 where those of the far side of a kink were added.
    """

    sides = 1

    def __init__(self, rows: Rows, beside: Tensor) -> None:
        self.rows = rows
        self._inverse, made, self.rank = _orthonormal(rows.matrix)
        self.least = 1 / (rows.matrix.flatten(1).norm(dim=1) * self._inverse.flatten(1).norm(dim=1)).clamp(min=1)
        if len(beside):
            made = torch.cat([made, beside.expand(len(made), -1, -1)], 1)
        self._beside = len(beside)
        self._jacobian = Orthonormal(made)

    @property
    def jacobian(self) -> Orthonormal:
        """Orthonormal rows of the same span."""
        return self._jacobian

    @property
    def count(self) -> int:
        """As ``LinearEquations.count``."""
        return len(self.rank)

    def _choose(self, some: Tensor) -> None:
        self.rows = Rows(self.rows.matrix[:0], self.rows.index, self.rows.mixing)
        self._inverse, self.rank, self.least = self._inverse[some], self.rank[some], self.least[some]
        self._jacobian = self._jacobian.at(some)

    def residual(self, change: Tensor, off: Tensor) -> Tensor:
        """As ``LinearEquations.residual``."""
        found = (self._inverse @ self.rows.combine(change)[:, :, None])[:, :, 0]
        if not self._beside:
            return found
        return torch.cat([found, self.jacobian.forward(off)[:, -self._beside :]], 1)

    def shortest(self, residual: Tensor) -> Tensor:
        """As ``LinearEquations.shortest``: the rows are orthonormal."""
        found: Tensor = residual.norm(dim=1)
        return found

    def along(self, v: Tensor) -> Tensor:
        """As ``LinearEquations.along``."""
        for _ in range(2):  # the second pass removes the rounding of the first
            v = v - self.jacobian.adjoint(self.jacobian.forward(v))
        return v


def _orthonormal(j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """M⁺ and V with J = M V, and the ranks."""
    if not bool(j.isfinite().all()):
        raise ValueRangeError("the Jacobian of what must stay holds NaN or infinite values")
    batch, k, _ = j.shape
    eps = torch.finfo(j.dtype).eps
    gram = j @ j.mT
    if not k:
        return gram, j, torch.zeros(batch, dtype=torch.int64)
    if k > DENSE:  # most are independent, and eigenvalues cost ten times as much
        lower, failed = torch.linalg.cholesky_ex(gram)
        if not bool(failed.any()):
            inverse = torch.linalg.solve_triangular(lower, torch.eye(k, dtype=j.dtype).expand_as(lower), upper=False)
            made = inverse @ j
            again = made @ made.mT
            if float((again - torch.eye(k, dtype=j.dtype)).norm(dim=(1, 2)).max()) <= INDEPENDENT:
                return *_again(inverse, made, again), torch.full((batch,), k)
        return _independent(j)
    values, vectors = torch.linalg.eigh(gram)
    kept = values > DEPENDENT * eps * values[:, -1:].clamp(min=torch.finfo(j.dtype).tiny)
    inverse = torch.where(kept, values.clamp(min=0), torch.inf).rsqrt()[:, :, None] * vectors.mT
    rank = kept.sum(1)
    most = max(int(rank.max()), 1)
    inverse = inverse[:, -most:]
    made = inverse @ j
    again = made @ made.mT + torch.diag_embed((~kept[:, -most:]).to(j.dtype))
    return *_again(inverse, made, again), rank


def _independent(j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """M⁺, V and the ranks, by QR decompositions with pivoting that choose as many rows as are independent.

    J Jᵀ would square the condition number, so that rows that matter would be lost with those that do not.
    """
    batch, k, n = j.shape
    parts = [qr(each.T.numpy(), mode="economic", pivoting=True) for each in j]
    sizes = [abs(r.diagonal()) for _, r, _ in parts]
    ranks = [int((size > max(k, n) * torch.finfo(j.dtype).eps * size[0]).sum()) for size in sizes]
    most = max(*ranks, 1)
    inverse, made = j.new_zeros(batch, most, k), j.new_zeros(batch, most, n)
    for i, ((q, r, chosen), rank) in enumerate(zip(parts, ranks, strict=True)):
        upper = torch.from_numpy(r[:rank, :rank])
        eye = torch.eye(rank, dtype=j.dtype)
        inverse[i, :rank, torch.from_numpy(chosen[:rank]).long()] = torch.linalg.solve_triangular(
            upper.mT, eye, upper=False
        )
        made[i, :rank] = torch.from_numpy(q[:, :rank]).mT
    return inverse, made, torch.tensor(ranks)


def _again(inverse: Tensor, made: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """M⁺ and V where a second pass makes orthonormal what rounding has left of the smallest rows of V."""
    lower = torch.linalg.cholesky(gram)
    return (
        torch.linalg.solve_triangular(lower, inverse, upper=False),
        torch.linalg.solve_triangular(lower, made, upper=False),
    )
