"""The smallest singular values of a map and their directions, by preconditioned eigen-iteration on AᵀA.

Known as the generalised Davidson method; Morgan & Scott 1986. The Ritz vectors of a growing basis are x with
AᵀA x ≈ θ x; a preconditioner near (AᵀA)⁻¹ is applied to their residuals AᵀA x − θ x, and the result joins the basis.
With the exact inverse this is shift-invert Lanczos; with a poorer one it is slower and no less exact, since only the
residual, computed with A itself, decides when to stop. The residual also bounds the error: some eigenvalue of AᵀA lies
within it of θ (Weyl).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import TooLargeError, UnsupportedLayerError, require_memory
from ...maps import Convolution, LinearMap
from ...maps.linear_map import Adjoint
from ..base import MEMORY_LIMIT
from ..dense_algebra.blocks import groups
from ..fourier.circulant_embedding import CirculantEmbedding, CirculantPreconditioner, contracts, embeds
from ..fourier.solver import FourierSolver
from ..projectors.krylov import NotConvergedError, pcg

Apply = Callable[[Tensor], Tensor]

TOLERANCE = 1e-11
"""‖AᵀA v − σ² v‖ / σ² to be reached …"""

ROUNDING = 32.0
"""… or, if that is below what AᵀA resolves, ‖AᵀA v − σ² v‖ / ‖A‖² in units of ε."""

GUARDS = 3  # Number of vectors at the start beyond the k wanted, so that none of a cluster is left out
ROOM = 20  # Size of the basis beyond twice the number of vectors at the start; half are kept when it is full
AT_ONCE = 8  # Largest number of residuals that a step processes
NEW = 1e-10  # Share of a vector that must lie outside the basis for the vector to join

LIMIT = 400
"""Number of steps per AT_ONCE singular values wanted after which the next inverse is tried; after the last one, the
iteration fails."""

CHOLESKY_LIMIT = 1 << 30  # Bytes up to which AᵀA is factored as a whole
SHIFT = 1e-13  # Shift of AᵀA before Cholesky, as a share of its trace
ROUGHLY = 1e-4  # Share of its residual that the capacitance system of the Fourier solver's inverse may leave

INNER = 100
"""Largest number of conjugate gradient steps for an inverse if no structure offers one, …"""

FALLEN = 0.1
"""… and the share of its residual at which they stop."""


class Triplets(NamedTuple):
    """Right singular vectors and singular values, smallest first.

    Attributes:
        vectors: Orthonormal right singular vectors, float64 ``(k, *in_shape)``.
        sigma: Singular values, ``(k,)``.
        residual: ‖AᵀA v − σ² v‖ of each, ``(k,)``.
        steps: Number of steps taken.
    """

    vectors: Tensor
    sigma: Tensor
    residual: Tensor
    steps: int


def smallest_triplets(
    operator: LinearMap, k: int, without: Tensor | None = None, tolerance: float = TOLERANCE, limit: int = LIMIT
) -> Triplets:
    """The k smallest singular values of a map among directions orthogonal to given ones.

    Args:
        operator: The linear map A, not zero.
        k: Number of singular values, at most n minus the number of directions given.
        without: Orthonormal right singular vectors to be left out, ``(l, *in_shape)``.
        tolerance: ‖AᵀA v − σ² v‖ / σ² to be reached, as far as AᵀA resolves it.
        limit: Number of steps per 8 singular values wanted after which an inverse is given up.

    Raises:
        TooLargeError: The basis would take too much memory.
        NotConvergedError: The residual is not reached; the message holds the figures.
    """
    what = f"the iteration for the {k} smallest singular values of {operator}"
    require_memory(what, memory(operator, k), MEMORY_LIMIT, "take fewer, or a smaller input shape")
    for inverse in inverses(operator):
        with suppress(NotConvergedError):
            return eigen_iteration(operator, k, inverse, without, tolerance, limit)
    return eigen_iteration(operator, k, lambda b: _conjugate_gradients(operator, b), without, tolerance, limit)


def memory(operator: LinearMap, k: int) -> int:
    """Bytes that the basis, its images and the products of one step take at the peak, estimated."""
    return 8 * (operator.in_dim * 3 * (2 * (k + GUARDS) + ROOM) + 2 * AT_ONCE * operator.out_dim)


def inverses(operator: LinearMap) -> Iterator[Apply]:
    """Positive definite approximations of (AᵀA)⁻¹, on batches ``(B, *in_shape)``, the cheapest to make first."""
    conv = operator.of if isinstance(operator, Adjoint) else operator
    if isinstance(conv, Convolution):
        with suppress(UnsupportedLayerError, TooLargeError):
            yield _embedded(operator, conv)
    if 16 * operator.in_dim**2 <= CHOLESKY_LIMIT:
        yield _cholesky(operator)
    with suppress(UnsupportedLayerError, TooLargeError):
        solver = FourierSolver(operator.T)
        yield lambda b: solver.approximate_gram_inverse(b, ROUGHLY)


def _embedded(operator: LinearMap, conv: Convolution) -> Apply:
    """Circulant preconditioners, group by group."""
    parts: dict[int, CirculantPreconditioner] = {}
    for part, numbers in groups(conv):
        adjoint: LinearMap = part if isinstance(operator, Adjoint) else part.T
        if not embeds(adjoint) or not contracts(adjoint):
            raise UnsupportedLayerError(f"AᵀA of {operator} has no regular circulant embedding")
        outputs, inputs = CirculantEmbedding.sides(adjoint)
        needed = 8 * CirculantEmbedding.size(adjoint) * (4 * outputs + 2 * inputs) * outputs
        require_memory(
            f"the circulant preconditioner of {operator}", needed, MEMORY_LIMIT, "take a smaller input shape"
        )
        parts |= dict.fromkeys(numbers.tolist(), CirculantPreconditioner(adjoint))
    return lambda b: torch.cat([parts[number](some) for number, some in enumerate(b.chunk(len(parts), 1))], 1)


def _cholesky(operator: LinearMap) -> Apply:
    """Cholesky of the whole AᵀA, shifted slightly so that directions of σ = 0 do not stop it."""
    a = operator.to_scipy()
    gram = (a.T @ a).toarray()
    gram.flat[:: len(gram) + 1] += SHIFT * gram.trace()
    factor, _ = torch.linalg.cholesky_ex(torch.from_numpy(gram))
    return lambda b: torch.cholesky_solve(b.flatten(1).T, factor).T.reshape(b.shape)


def _conjugate_gradients(operator: LinearMap, b: Tensor) -> Tensor:
    stop = FALLEN * b.flatten(1).norm(dim=1)
    return pcg(lambda x: operator._adjoint(operator._forward(x)), b, None, stop, INNER)[0]


def eigen_iteration(
    operator: LinearMap,
    k: int,
    inverse: Apply,
    without: Tensor | None = None,
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
) -> Triplets:
    """``smallest_triplets`` with one preconditioner: ``inverse``, positive definite and near (AᵀA)⁻¹."""
    left_out = torch.empty(0, operator.in_dim, dtype=torch.float64) if without is None else without.flatten(1)
    start = min(k + GUARDS, operator.in_dim - len(left_out))
    resolved = ROUNDING * torch.finfo(torch.float64).eps * operator.norm() ** 2
    basis = _Basis(operator, 2 * start + ROOM, left_out)
    generator = torch.Generator().manual_seed(0)
    basis.extend(inverse(torch.randn(start, *operator.in_shape, generator=generator, dtype=torch.float64)).flatten(1))
    allowed = limit * -(-k // AT_ONCE)
    for step in range(allowed):
        theta, vectors, rest = basis.ritz(k)
        size = rest.norm(dim=1)
        far = (size > (tolerance * theta).clamp_min(resolved)).nonzero().flatten()[:AT_ONCE]
        if not len(far):
            return Triplets(vectors.reshape(k, *operator.in_shape), theta.clamp_min(0).sqrt(), size, step)
        scaled = rest[far] / size[far, None]
        if not basis.extend(inverse(scaled.reshape(-1, *operator.in_shape)).flatten(1)):
            basis.extend(scaled)  # the inverse adds nothing new
    worst = far[0]
    scale = operator.norm() ** 2
    left, wanted = float(size[worst]) / scale, max(tolerance * float(theta[worst]), resolved) / scale
    raise NotConvergedError(
        f"after {allowed} steps ‖AᵀA v − σ² v‖ / ‖A‖² of σ = {float(theta[worst].clamp_min(0)) ** 0.5:.4g} of "
        f"{operator} is {left:.1e}, above {wanted:.1e}; take fewer directions or a smaller input shape"
    )


class _Basis:
    """Up to ``capacity`` orthonormal rows V, orthogonal to those left out, their images V AᵀA, and V AᵀA Vᵀ."""

    def __init__(self, operator: LinearMap, capacity: int, left_out: Tensor) -> None:
        self.operator, self.left_out, self.size = operator, left_out, 0
        self.rows, self.images = torch.empty(
            2, min(capacity, operator.in_dim - len(left_out)), operator.in_dim, dtype=torch.float64
        )
        self.gram = torch.empty(len(self.rows), len(self.rows), dtype=torch.float64)

    def extend(self, rows: Tensor) -> int:
        """Adds the part of rows ``(B, n)`` outside the basis; returns the number of rows added."""
        if self.size + len(rows) > len(self.rows):
            self._shrink(min(max(self.size // 2, 1), len(self.rows) - len(rows)))
        rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
        new = self._outside(rows)
        end = self.size + len(new)
        self.rows[self.size : end] = new
        batch = new.reshape(-1, *self.operator.in_shape)
        self.images[self.size : end] = self.operator._adjoint(self.operator._forward(batch)).flatten(1)
        products = self.rows[:end] @ self.images[self.size : end].T
        self.gram[:end, self.size : end] = products
        self.gram[self.size : end, :end] = products.T
        self.size = end
        return len(new)

    def ritz(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """The k smallest Ritz values θ, ``(k,)``, their vectors x and residuals AᵀA x − θ x, ``(k, n)`` both."""
        theta, turned = self._eigen(k)
        vectors = turned @ self.rows[: self.size]
        return theta, vectors, turned @ self.images[: self.size] - theta[:, None] * vectors

    def _eigen(self, k: int) -> tuple[Tensor, Tensor]:
        theta, vectors = torch.linalg.eigh(self.gram[: self.size, : self.size])
        return theta[:k], vectors[:, :k].T

    def _shrink(self, k: int) -> None:
        """Restarts with the k lowest Ritz vectors."""
        theta, turned = self._eigen(k)
        for rows in (self.rows, self.images):
            rows[:k] = turned @ rows[: self.size]
        self.gram[:k, :k] = theta.diag()
        self.size = k

    def _outside(self, rows: Tensor) -> Tensor:
        """Orthonormal rows that span what unit rows add to the basis; the second pass removes rounding."""
        for _ in range(2):
            for known in (self.left_out, self.rows[: self.size]):
                rows = rows - (rows @ known.T) @ known
            q, r = torch.linalg.qr(rows.T)
            rows = q.T[r.diagonal().abs() > NEW]
        return rows
