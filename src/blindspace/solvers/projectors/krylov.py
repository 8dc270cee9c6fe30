"""Any map at all: preconditioned conjugate gradients on A Aᵀ u = A x, stopped by the residual that is there.

P x = x − Aᵀ(A Aᵀ)⁺ A x. A x lies in the range of A, so nothing changes where A Aᵀ is singular: the iteration stays in
that range and never meets a zero eigenvalue. This covers tall and rank-deficient maps as well. Normal equations on Aᵀ A
(CGLS, LSMR) would search the same space, Aᵀ K(A Aᵀ, A x) = K(Aᵀ A, Aᵀ A x), for the smallest ‖A p‖ instead of the p
nearest to P x, and would leave no place for preconditioners, which all come from inverses of A Aᵀ.

Iterations are several times quicker in float32, but nothing they find is exact. So they only work on a residual A p,
scaled to 1, until it has fallen by some digits; then p is corrected and A p worked out anew in the dtype of x
(iterative refinement; Higham, Accuracy and Stability of Numerical Algorithms, chapter 12). What is returned has been
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from warnings import warn

import torch
from torch import Tensor

from ...errors import BlindspaceError, BlindspaceWarning, UnsupportedLayerError
from ...maps import Composed, Convolution, LinearMap, VStack
from ...maps.linear_map import Adjoint
from ..base import Solver
from ..rank.certificate import Certificate

Apply = Callable[[Tensor], Tensor]
Measure = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

TOLERANCE = 4.0
"""‖A p‖ / (‖A‖ ‖x‖) at which refinement stops, in units of the rounding error of x's dtype."""

DIGITS = 0.75
"""Share of its digits that a dtype is to gain in one pass. In a singular A Aᵀ rounding errors leave the range, where
nothing reduces them, and in the end blow up; what is left of the digits keeps clear of that."""

GROWN = 0.5
"""A residual may grow above its lowest by the condition of A, but not by 1/√ε, ε^−GROWN, beyond which the dtype tells
nothing of A Aᵀ: then rounding has blown it up."""

LIMIT = 20_000
"""Iterations after which a projection is given up; nothing else ever stops at a count."""

CHUNK = 64 << 20
"""Bytes of perturbations worked on at a time: torch's float64 convolution unfolds a whole batch at once."""


class NotConvergedError(BlindspaceError):
    """An iteration did not reach its residual; the message holds the figures."""


class KrylovSolver(Solver):
    """Preconditioned conjugate gradients with refinement to a stated residual.

    Args:
        operator: any.
        preconditioner: M⁻¹, symmetric positive definite and near (A Aᵀ)⁻¹ up to a factor; takes and returns
            ``(B, *out_shape)``, float32 or float64. None for the identity.
        tolerance: ‖A p‖ / (‖A‖ ‖x‖) to be reached; None for four times the rounding error of x's dtype, and never
            below once that.
        certificate: of the rank, or what finds it; None leaves the rank counted and undecided.
        inner: dtype of the iterations for float64 input. float32 gives way to float64 where it gains nothing.
        limit: iterations after which a projection is given up.
        reason: why this solver serves the map.

    Attributes:
        iterations: of the last projection; the most that any part of the batch took.
    """

    name = "krylov"

    def __init__(
        self,
        operator: LinearMap,
        preconditioner: Apply | None = None,
        tolerance: float | None = None,
        certificate: Certificate | Callable[[LinearMap], Certificate] | None = None,
        inner: torch.dtype = torch.float32,
        limit: int = LIMIT,
        reason: str = "",
    ) -> None:
        super().__init__(operator)
        self.preconditioner = preconditioner
        self.tolerance = tolerance
        self.inner = inner
        self.limit = limit
        self.norm = operator.norm() or 1.0
        self.reason = reason or "conjugate gradients need no structure"
        self.certificate = (
            certificate if isinstance(certificate, Certificate) else (certificate or self._count)(operator)
        )
        self.iterations = 0

    def _project(self, x: Tensor) -> Tensor:
        self.iterations = 0
        if self.dim == 0 and self.certificate.kind == "exact":
            return torch.zeros_like(x)
        return torch.cat([self._projected(part) for part in x.split(max(CHUNK // (8 * self.operator.in_dim), 1))])

    def _projected(self, x: Tensor) -> Tensor:
        scale = _magnitude(x)
        x = x / scale
        enough = self._reachable(x.dtype) * _norm(x)

        def measure(p: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
            return self._forward(p), enough[images]

        def correct(p: Tensor, u: Tensor) -> Tensor:
            return p - self._adjoint(u)

        return self._refined(x, measure, correct) * scale

    def gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b by the same iteration.

        Args:
            b: ``(B, *out_shape)``, float64.

        Returns:
            u of the same shape, ‖b − A Aᵀ u‖ at the rounding error of ‖A‖² ‖u‖ + ‖b‖.

        Raises:
            UnsupportedLayerError: A is known not to have full row rank.
            NotConvergedError: that residual is not reached.
        """
        if self.certificate.rank < self.operator.out_dim:
            raise UnsupportedLayerError(
                f"A Aᵀ of {self.operator} has no inverse: the rank is {self.certificate.rank}, "
                f"below {self.operator.out_dim}"
            )
        self.iterations = 0
        scale = _magnitude(b)
        b = b / scale

        def measure(u: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
            return b[images] - self._gram(u), self._reachable(b.dtype) * (_norm(u) + _norm(b[images]))

        return self._refined(torch.zeros_like(b), measure, torch.add) / self.norm * scale / self.norm

    def _reachable(self, dtype: torch.dtype) -> float:
        eps = torch.finfo(dtype).eps
        return TOLERANCE * eps if self.tolerance is None else max(self.tolerance, eps)

    # --- everything below is about A / ‖A‖, whose squares are in the range of float32 --------------------

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator._forward(x) / self.norm

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._adjoint(y / self.norm)

    def _gram(self, u: Tensor) -> Tensor:
        return self._forward(self._adjoint(u))

    def _refined(self, state: Tensor, measure: Measure, correct: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Corrects states by what conjugate gradients find for their residuals, until those are small enough.

        Args:
            state: ``(B, …)``; written into.
            measure: states and the numbers of their images to true residuals and the norms allowed for them.
            correct: states and solutions u of A Aᵀ u = residual to better states.

        Raises:
            NotConvergedError: the iterations are used up.
        """
        residual, enough = measure(state, torch.arange(len(state), device=state.device))
        size = _norm(residual)
        spent = 0
        for dtype in dict.fromkeys((self.inner if state.dtype == torch.float64 else state.dtype, state.dtype)):
            gains = torch.ones_like(size, dtype=torch.bool)
            # Whatever becomes of float32, float64 must have its turn.
            limit = self.limit if dtype == state.dtype else self.limit // 2
            while spent < limit and len(images := ((size > enough) & gains).nonzero().flatten()):
                before = size[images]
                stop = (enough[images] / before / 2).clamp(min=torch.finfo(dtype).eps ** DIGITS)
                b = (residual[images] / _wide(before, residual)).to(dtype)
                u, taken = pcg(self._gram, b, self.preconditioner, stop.to(dtype), limit - spent)
                spent += taken
                better = correct(state[images], u.to(state.dtype) * _wide(before, residual))
                rest, enough[images] = measure(better, images)
                after = _norm(rest)
                gains[images] = after < before / 2
                kept = after < before
                fallen = images[kept]
                state[fallen], residual[fallen], size[fallen] = better[kept], rest[kept], after[kept]
        self.iterations = max(self.iterations, spent)
        if bool((size > enough).any()):
            worst = float((size / enough)[size > enough].max()) * self._reachable(state.dtype)
            self._report(worst, self._reachable(state.dtype), spent)
        return state

    def _report(self, reached: float, wanted: float, spent: int) -> None:
        """Says what was not met: an error where iterations ran out, a warning where more of them would not help."""
        figures = (
            f"the residual of {self.operator} stays at {reached:.1e}, above {wanted:.1e}, after {spent} iterations"
        )
        if spent >= self.limit:
            raise NotConvergedError(f"{figures}; give a preconditioner, a larger limit or a larger tolerance")
        warn(f"{figures}; no more of them would help", BlindspaceWarning, stacklevel=2)

    # --- rank -------------------------------------------------------------------------------------------

    def _count(self, operator: LinearMap) -> Certificate:
        """Rows and columns that are not zero, as random vectors tell; and a bound on the smallest σ from above."""
        generator = torch.Generator().manual_seed(0)
        outputs = operator._forward(torch.randn(1, *operator.in_shape, generator=generator, dtype=torch.float64))
        inputs = operator._adjoint(torch.randn(1, *operator.out_shape, generator=generator, dtype=torch.float64))
        rank = min(int(outputs.count_nonzero()), int(inputs.count_nonzero()))
        if rank == 0:
            return Certificate(0, "exact", "no weight is non-zero", 0.0, 0.0, None, None)
        tolerance = max(operator.in_dim, operator.out_dim) * torch.finfo(torch.float64).eps * self.norm
        v = outputs.to(self.inner)
        for _ in range(3):  # inverse iteration; whatever comes of it, ‖Aᵀv‖/‖v‖ is a bound
            v = v / _wide(_norm(v), v)
            v, _ = pcg(self._gram, v, self.preconditioner, torch.full((1,), 0.1, dtype=v.dtype), 100)
        v = v.double()
        smallest = float(operator._adjoint(v / _wide(_norm(v), v)).norm())
        method = "non-zero rows and columns, not proved; smallest σ by inverse iteration"
        return Certificate(rank, "undecided", method, tolerance, self.norm, smallest, None)


def pcg(apply: Apply, b: Tensor, preconditioner: Apply | None, stop: Tensor, limit: int) -> tuple[Tensor, int]:
    """Solve G u = b for each image by itself (Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1).

    An image leaves the batch when its residual is small enough, or grows without end.

    Args:
        apply: G, symmetric positive semidefinite, on batches.
        b: ``(B, …)``, in the range of G.
        preconditioner: M⁻¹, symmetric positive definite, on batches; None for the identity.
        stop: ‖b − G u‖ at which an image is done, as the recursion has it, ``(B,)``.
        limit: iterations at most.

    Returns:
        The u of the smallest residual met, ``(B, …)``, and the number of iterations.
    """
    solution = torch.zeros_like(b)
    images = torch.arange(len(b), device=b.device)
    u, r, d, best = (torch.zeros_like(b), b.clone(), torch.zeros_like(b), torch.zeros_like(b))
    rho, lowest = torch.ones_like(stop), torch.full_like(stop, torch.inf)
    bound = torch.finfo(b.dtype).eps ** -GROWN
    for iteration in range(limit + 1):
        size = _norm(r)
        lower = size < lowest
        lowest, best = torch.where(lower, size, lowest), torch.where(_wide(lower, u), u, best)
        going = (size > stop) & (size < bound * lowest) & (iteration < limit)
        if not bool(going.all()):
            solution[images] = best
            images, u, r, d, best, rho, lowest, stop = (t[going] for t in (images, u, r, d, best, rho, lowest, stop))
        if not len(images):
            break
        z = r if preconditioner is None else preconditioner(r)
        last, rho = rho, _dot(r, z)
        d = torch.addcmul(z, _wide(rho / last, z), d)
        g = apply(d)
        curvature = _dot(d, g)
        step = rho / curvature
        sound = (curvature > 0) & step.isfinite()
        stop = torch.where(sound, stop, torch.inf)  # nothing more to be had in this dtype
        step = _wide(torch.where(sound, step, 0), d)
        u.addcmul_(step, d)
        r.addcmul_(step, g, value=-1)
    return solution, iteration


def memory(operator: LinearMap, batch: int = 1) -> int:
    """Bytes that projecting a batch of float64 takes at its peak, estimated; a preconditioner's are not counted."""
    whole = 2 * batch * operator.in_dim
    batch = min(batch, max(CHUNK // (8 * operator.in_dim), 1))
    unfolded = max(
        (conv.in_shape[0] * prod((*conv.kernel, *conv.out_shape[1:])) for conv in _convolutions(operator)), default=0
    )
    return 8 * (whole + batch * (5 * operator.in_dim + 9 * operator.out_dim + unfolded))


def _convolutions(operator: LinearMap) -> Iterator[Convolution]:
    """Those that a map is made of."""
    match operator:
        case Convolution():
            yield operator
        case Adjoint():
            yield from _convolutions(operator.of)
        case Composed(factors=parts) | VStack(parts=parts):
            for part in parts:
                yield from _convolutions(part)


def _wide(scalars: Tensor, like: Tensor) -> Tensor:
    """One number an image, ``(B,)``, so that it multiplies images."""
    return scalars.reshape(-1, *[1] * (like.ndim - 1))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _norm(a: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(a.flatten(1), dim=1)
    return norms


def _magnitude(x: Tensor) -> Tensor:
    """The power of two above each image's largest value: dividing by it is exact and keeps squares in range."""
    largest = x.abs().flatten(1).amax(1)
    exponent = torch.frexp(largest).exponent
    return _wide(torch.where(largest > 0, torch.ldexp(torch.ones_like(largest), exponent), 1.0), x)
