"""The smallest singular values of a map and their directions, by preconditioned eigen-iteration on AᵀA.

Generalised Davidson (Morgan and Scott, 1986): the Ritz vectors of a growing basis, x with AᵀA x ≈ θ x, and what a
preconditioner near (AᵀA)⁻¹ makes of their residuals AᵀA x − θ x, which joins the basis. With the exact inverse this is
shift-invert Lanczos; with a poorer one it is slower and no less exact, since only the residual, worked out on A
itself, says when to stop. The residual bounds the error too: some eigenvalue of AᵀA lies within it of θ (Weyl).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import TooLargeError, UnsupportedLayerError
from ...maps import Convolution, LinearMap
from ...maps.linear_map import Adjoint
from ..fourier import circulant_embedding as torus
from ..fourier import projector as fourier
from ..fourier.projector import FourierSolver
from ..projectors.dense import MEMORY_LIMIT
from ..projectors.krylov import NotConvergedError, pcg

Apply = Callable[[Tensor], Tensor]

TOLERANCE = 1e-11
"""‖AᵀA v − σ² v‖ / σ² to be reached …"""

ROUNDING = 32.0
"""… or, where that is below what AᵀA resolves, ‖AᵀA v − σ² v‖ / ‖A‖² in units of ε."""

GUARDS = 3
"""Vectors at the start beyond the k wanted, so that no one of a cluster is left out."""

ROOM = 20
"""Vectors that the basis has room for beyond twice those at the start; half are kept when it is full."""

AT_ONCE = 8
"""Residuals at most that a step works on."""

NEW = 1e-10
"""Share of a vector that must lie outside the basis for it to join."""

LIMIT = 400
"""Steps that an inverse gets, for every AT_ONCE that are wanted, before the next one is tried; the last one fails."""

CHOLESKY_LIMIT = 1 << 30
"""Bytes up to which AᵀA is factored whole."""

SHIFT = 1e-13
"""Of AᵀA before Cholesky, as a share of its trace."""

ROUGHLY = 1e-4
"""How near the Fourier solver's inverse must be."""

INNER = 100
"""Conjugate gradients at most for an inverse where no structure gives one, …"""

FALLEN = 0.1
"""… and the share of its residual at which they stop."""


class Triplets(NamedTuple):
    """Right singular vectors and singular values, smallest first.

    Attributes:
        vectors: orthonormal, float64 ``(k, *in_shape)``.
        sigma: ``(k,)``.
        residual: ‖AᵀA v − σ² v‖ of each, ``(k,)``.
        steps: taken.
    """

    vectors: Tensor
    sigma: Tensor
    residual: Tensor
    steps: int


def smallest_triplets(
    operator: LinearMap, k: int, without: Tensor | None = None, tolerance: float = TOLERANCE
) -> Triplets:
    """The k smallest singular values of a map among directions orthogonal to given ones.

    Args:
        operator: A, not zero.
        k: how many, at most n less the number of those given.
        without: orthonormal right singular vectors to be left out, ``(l, *in_shape)``.
        tolerance: ‖AᵀA v − σ² v‖ / σ² to be reached, where AᵀA resolves as much.

    Raises:
        TooLargeError: the basis would take too much memory.
        NotConvergedError: the residual is not reached; the message holds the figures.
    """
    needed = memory(operator, k)
    if needed > MEMORY_LIMIT:
        raise TooLargeError(
            f"the {k} smallest singular values of {operator} take about {needed / 2**30:.1f} GiB, above the limit of "
            f"{MEMORY_LIMIT / 2**30:.0f} GiB; take fewer, or a smaller input shape"
        )
    for inverse in inverses(operator):
        with suppress(NotConvergedError):
            return eigen_iteration(operator, k, inverse, without, tolerance)
    return eigen_iteration(operator, k, lambda b: _conjugate_gradients(operator, b), without, tolerance)


def memory(operator: LinearMap, k: int) -> int:
    """Bytes that the basis and its images take at the peak, estimated, and one step's forward."""
    return 8 * (operator.in_dim * 3 * (2 * (k + GUARDS) + ROOM) + 2 * AT_ONCE * operator.out_dim)


def inverses(operator: LinearMap) -> Iterator[Apply]:
    """What is near (AᵀA)⁻¹, positive definite, on batches ``(B, *in_shape)``; the cheapest to make first."""
    conv = operator.of if isinstance(operator, Adjoint) else operator
    if isinstance(conv, Convolution):
        with suppress(UnsupportedLayerError, TooLargeError):
            yield _embedded(operator, conv)
    if 16 * operator.in_dim**2 <= CHOLESKY_LIMIT:
        yield _cholesky(operator)
    with suppress(UnsupportedLayerError, TooLargeError):
        solver = FourierSolver(operator.T)
        yield lambda b: solver.gram_inverse(b, ROUGHLY)


def _embedded(operator: LinearMap, conv: Convolution) -> Apply:
    """As if there were no edges, group by group."""
    parts = []
    for weight in conv.weight.chunk(conv.groups):
        shape = (weight.shape[1], *conv.in_shape[1:])
        part: LinearMap = Convolution(weight, shape, conv.stride, conv.padding, conv.dilation, 1, conv.mode)
        adjoint = part if isinstance(operator, Adjoint) else part.T
        if not torus.serves(adjoint) or not fourier.contracts(adjoint):
            raise UnsupportedLayerError(f"AᵀA of {operator} is singular at every frequency of a torus, or on none")
        outputs, inputs = torus.CirculantEmbedding.sides(adjoint)
        needed = 8 * torus.CirculantEmbedding.size(adjoint) * (4 * outputs + 2 * inputs) * outputs
        if needed > MEMORY_LIMIT:
            raise TooLargeError(f"the inverse of {operator} on a torus takes {needed / 2**30:.1f} GiB")
        parts.append(torus.EmbeddedInverse(adjoint))
    return lambda b: torch.cat([part(some) for part, some in zip(parts, b.chunk(len(parts), 1), strict=True)], 1)


def _cholesky(operator: LinearMap) -> Apply:
    """Of the whole AᵀA, shifted by a trifle so that directions of σ = 0 do not stop it."""
    a = operator.to_scipy()
    gram = (a.T @ a).toarray()
    gram.flat[:: len(gram) + 1] += SHIFT * gram.trace()
    factor, _ = torch.linalg.cholesky_ex(torch.from_numpy(gram))
    return lambda b: torch.cholesky_solve(b.flatten(1).T, factor).T.reshape(b.shape)


def _conjugate_gradients(operator: LinearMap, b: Tensor) -> Tensor:
    stop = FALLEN * b.flatten(1).norm(dim=1)
    return pcg(lambda x: operator._adjoint(operator._forward(x)), b, None, stop, INNER)[0]


def eigen_iteration(
    operator: LinearMap, k: int, inverse: Apply, without: Tensor | None = None, tolerance: float = TOLERANCE
) -> Triplets:
    """The same with a given inverse.

    Args:
        operator: A, not zero.
        k: how many.
        without: orthonormal right singular vectors to be left out, ``(l, *in_shape)``.
        tolerance: as above.
        inverse: near (AᵀA)⁻¹, positive definite; takes and returns ``(B, *in_shape)``, float64.

    Raises:
        NotConvergedError: the residual is not reached.
    """
    left_out = torch.empty(0, operator.in_dim, dtype=torch.float64) if without is None else without.flatten(1)
    start = min(k + GUARDS, operator.in_dim - len(left_out))
    floor = ROUNDING * torch.finfo(torch.float64).eps * operator.norm() ** 2
    basis = _Basis(operator, 2 * start + ROOM, left_out)
    generator = torch.Generator().manual_seed(0)
    basis.extend(inverse(torch.randn(start, *operator.in_shape, generator=generator, dtype=torch.float64)).flatten(1))
    limit = LIMIT * -(-k // AT_ONCE)
    for step in range(limit):
        theta, vectors, rest = basis.ritz(k)
        size = rest.norm(dim=1)
        far = (size > (tolerance * theta).clamp_min(floor)).nonzero().flatten()[:AT_ONCE]
        if not len(far):
            return Triplets(vectors.reshape(k, *operator.in_shape), theta.clamp_min(0).sqrt(), size, step)
        scaled = rest[far] / size[far, None]
        if not basis.extend(inverse(scaled.reshape(-1, *operator.in_shape)).flatten(1)):
            basis.extend(scaled)  # the inverse says nothing new
    worst = far[0]
    scale = operator.norm() ** 2
    left, wanted = float(size[worst]) / scale, max(tolerance * float(theta[worst]), floor) / scale
    raise NotConvergedError(
        f"after {limit} steps ‖AᵀA v − σ² v‖ / ‖A‖² of σ = {float(theta[worst].clamp_min(0)) ** 0.5:.4g} of {operator} "
        f"is {left:.1e}, above {wanted:.1e}; take fewer directions or a smaller input shape"
    )


class _Basis:
    """Orthonormal rows V in a fixed room, their images V AᵀA and V AᵀA Vᵀ.

    Args:
        operator: A.
        room: rows at most.
        left_out: orthonormal rows, to which V is kept orthogonal.
    """

    def __init__(self, operator: LinearMap, room: int, left_out: Tensor) -> None:
        self.operator, self.left_out, self.size = operator, left_out, 0
        self.rows, self.images = torch.empty(
            2, min(room, operator.in_dim - len(left_out)), operator.in_dim, dtype=torch.float64
        )
        self.gram = torch.empty(len(self.rows), len(self.rows), dtype=torch.float64)

    def extend(self, rows: Tensor) -> int:
        """Adds what is new in rows ``(B, n)``; how many that were."""
        if self.size + len(rows) > len(self.rows):
            self._shrink(min(max(self.size // 2, 1), len(self.rows) - len(rows)))
        rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
        new = self._orthonormal(rows)
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
        """The k smallest Ritz values θ, ``(k,)``, their vectors x and AᵀA x − θ x, ``(k, n)`` both."""
        theta, turned = self._eigen(k)
        vectors = turned @ self.rows[: self.size]
        return theta, vectors, turned @ self.images[: self.size] - theta[:, None] * vectors

    def _eigen(self, k: int) -> tuple[Tensor, Tensor]:
        theta, vectors = torch.linalg.eigh(self.gram[: self.size, : self.size])
        return theta[:k], vectors[:, :k].T

    def _shrink(self, k: int) -> None:
        """To the k lowest Ritz vectors."""
        theta, turned = self._eigen(k)
        for rows in (self.rows, self.images):
            rows[:k] = turned @ rows[: self.size]
        self.gram[:k, :k] = theta.diag()
        self.size = k

    def _orthonormal(self, rows: Tensor) -> Tensor:
        """Orthonormal rows that span what unit rows add to the basis.

        The second pass takes out the rounding that the first one left, where little remained.
        """
        for _ in range(2):
            for known in (self.left_out, self.rows[: self.size]):
                rows = rows - (rows @ known.T) @ known
            q, r = torch.linalg.qr(rows.T)
            rows = q.T[r.diagonal().abs() > NEW]
        return rows
