"""Any map at all: preconditioned conjugate gradients on A Aᵀ u = A x, stopped by the measured residual.

Known as the preconditioned conjugate gradient method (Hestenes & Stiefel 1952), here on the normal equations of the
second kind (CGNE, Craig's method; Saad, Iterative Methods for Sparse Linear Systems, section 8.3), with iterative
refinement in mixed precision (Higham, Accuracy and Stability of Numerical Algorithms, chapter 12).

P x = x − Aᵀ(A Aᵀ)⁺ A x. A x lies in the range of A, so a singular A Aᵀ changes nothing: the iteration stays in that
range and never meets a zero eigenvalue. This covers tall and rank-deficient maps as well. Normal equations on Aᵀ A
(CGLS, LSMR) would search the same space, Aᵀ K(A Aᵀ, A x) = K(Aᵀ A, Aᵀ A x), for the smallest ‖A p‖ instead of the p
nearest to P x, and would have no place for the preconditioners, which all come from inverses of A Aᵀ.

Iterations are several times quicker in float32, but nothing they find is exact. So they only reduce a residual A p,
scaled to 1, by some digits; then p is corrected and A p is computed anew in the dtype of x. What is returned has been
measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor

from ...errors import BlindspaceError, BlindspaceWarning, TooLargeError, UnsupportedLayerError
from ...maps import Composed, Convolution, LinearMap, VStack
from ...maps.linear_map import Adjoint
from ..base import Cost, Solver, register
from ..dense_algebra.products import norms, per_image, powers_of_two
from ..fourier.circulant_embedding import CirculantPreconditioner, contracts, embeds
from ..rank.certificate import Certificate
from ..rank.inertia import certify
from ..rank.inverse_probe import inverts

Apply = Callable[[Tensor], Tensor]
Measure = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

TOLERANCE = 4.0  # ‖A p‖ / (‖A‖ ‖x‖) at which refinement stops, in units of the rounding error of x's dtype

DIGITS = 0.75
"""Share of its digits that a dtype is to gain in one pass. In a singular A Aᵀ rounding errors leave the range, where
nothing reduces them, and finally blow up; the remaining digits keep clear of that."""

GROWN = 0.5
"""A residual may grow above its lowest by the condition of A, but not by 1/√ε, ε^−GROWN, beyond which A Aᵀ is not
resolved in the dtype: then rounding has blown it up."""

LIMIT = 20_000  # Iterations after which a projection is given up; nothing else ever stops at a count

CHUNK = 64 << 20
"""Bytes of perturbations processed at a time: torch's float64 convolution unfolds a whole batch at once."""

PROBED = 1e-7
"""Tolerance of the inverse by which full row rank is recognised …"""

PROBE_LIMIT = 500
"""… and the iterations it may take."""


class NotConvergedError(BlindspaceError):
    """An iteration did not reach its residual; the message holds the figures."""


@register
class KrylovSolver(Solver):
    """Preconditioned conjugate gradients with refinement to a stated residual.

    Args:
        operator: The linear map A, of any kind.
        preconditioner: M⁻¹, symmetric positive definite and near (A Aᵀ)⁻¹ up to a factor; takes and returns
            ``(B, *out_shape)``, float32 or float64. None for the identity.
        tolerance: ‖A p‖ / (‖A‖ ‖x‖) to be reached; None for four times the rounding error of x's dtype, and never
            below once that error.
        certificate: The certificate of the rank; None to count nonzero rows and columns and leave it undecided.
        inner: The dtype of the iterations for float64 input. float32 gives way to float64 if it gains nothing.
        limit: Number of iterations after which a projection is given up.
        chunk: Bytes of perturbations processed at a time.
        gram: The product with A Aᵀ, if there is a quicker way to it than Aᵀ and A in turn.
        reason: Why this solver serves the map.

    Attributes:
        iterations: Number of iterations of the last projection; the most that any part of the batch took.
    """

    name = "krylov"
    scope = "everything else, and compositions"
    how = "preconditioned conjugate gradients, stopped by the residual"

    def __init__(
        self,
        operator: LinearMap,
        preconditioner: Apply | None = None,
        tolerance: float | None = None,
        certificate: Certificate | None = None,
        inner: torch.dtype = torch.float32,
        limit: int = LIMIT,
        chunk: int = CHUNK,
        gram: Apply | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(operator)
        self.preconditioner, self.tolerance, self.inner = preconditioner, tolerance, inner
        self.limit, self.chunk, self.gram = limit, chunk, gram
        self.norm = operator.norm() or 1.0
        self.reason = reason or "conjugate gradients need no structure"
        self.certificate = certificate or self._count()
        self.iterations = 0

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """The vectors of the iteration; tried after all others."""
        return Cost(memory(operator), 90)

    @classmethod
    def build(cls, operator: LinearMap, **options: Any) -> Solver:
        """The iteration with what can be found for it: a circulant preconditioner and a certificate of the rank.

        The preconditioner is the inverse of the circulant embedding, if the map is a part of one that contracts; the
        certificate is found by inertia, or else by whether the iteration inverts A Aᵀ. Options given are kept.
        """
        found: dict[str, Any] = {"reason": "conjugate gradients"}
        if "preconditioner" not in options and embeds(operator) and contracts(operator):
            found["preconditioner"] = CirculantPreconditioner(operator)
            found["reason"] += ", preconditioned by a circulant embedding"
        if "certificate" in options:
            return cls(operator, **{**found, **options})
        with suppress(TooLargeError, UnsupportedLayerError):
            found["certificate"] = certify(operator)
        solver = cls(operator, **{**found, **options})
        if "certificate" not in found and (inverted := solver._inverted()) is not None:
            method = f"the iteration inverts {inverted}; smallest σ by inverse iteration"
            solver.certificate = replace(solver.certificate, kind="numerical", method=method)
        return solver

    def _project(self, x: Tensor) -> Tensor:
        self.iterations = 0
        if self.certificate.kind != "undecided" and self.dim == int(self._unread.sum()):
            return x * self._unread.to(x.device, x.dtype)
        return torch.cat([self._projected(part) for part in x.split(max(self.chunk // (8 * self.operator.in_dim), 1))])

    def _projected(self, x: Tensor) -> Tensor:
        scale = powers_of_two(x)
        x = x / scale
        enough = self._reachable(x.dtype) * norms(x)

        def measure(p: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
            return self._forward(p), enough[images]

        def correct(p: Tensor, u: Tensor) -> Tensor:
            return p - self._adjoint(u)

        if self.gram is not None:
            # All iterations on outputs; what rounding of that way leaves is measured, and mended, on x itself.
            b = self._forward(x)

            def measure_outputs(u: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
                return b[images] - self._gram(u), enough[images] / 2

            x = x - self._adjoint(self._refined(torch.zeros_like(b), measure_outputs, torch.add, lenient=True))
        return self._refined(x, measure, correct) * scale

    def _gram_inverse(self, b: Tensor) -> Tensor:
        """By the same iteration, until ‖b − A Aᵀ u‖ is at the rounding error of ‖A‖² ‖u‖ + ‖b‖."""
        if self.certificate.rank < self.operator.out_dim:
            raise UnsupportedLayerError(
                f"A Aᵀ of {self.operator} has no inverse: the rank is {self.certificate.rank}, "
                f"below {self.operator.out_dim}"
            )
        self.iterations = 0
        scale = powers_of_two(b)
        b = b / scale

        def measure(u: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
            return b[images] - self._gram(u), self._reachable(b.dtype) * (norms(u) + norms(b[images]))

        return self._refined(torch.zeros_like(b), measure, torch.add) / self.norm * scale / self.norm

    def _reachable(self, dtype: torch.dtype) -> float:
        eps = torch.finfo(dtype).eps
        return TOLERANCE * eps if self.tolerance is None else max(self.tolerance, eps)

    # --- everything below concerns A / ‖A‖, whose squares are in the range of float32 -------------------

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator._forward(x) / self.norm

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._adjoint(y / self.norm)

    def _gram(self, u: Tensor) -> Tensor:
        if self.gram is not None:
            return self.gram(u / self.norm) / self.norm
        return self._forward(self._adjoint(u))

    def _refined(
        self, state: Tensor, measure: Measure, correct: Callable[[Tensor, Tensor], Tensor], lenient: bool = False
    ) -> Tensor:
        """Iterative refinement of states ``(B, …)``, which are overwritten, until their residuals are small enough.

        ``measure`` maps states and the indices of their images to true residuals and the norms allowed for them,
        ``correct`` states and solutions u of A Aᵀ u = residual to better states. If ``lenient``, a residual that stays
        above what is allowed is no failure.
        """
        residual, enough = measure(state, torch.arange(len(state), device=state.device))
        size = norms(residual)
        spent = 0
        for dtype in dict.fromkeys((self.inner if state.dtype == torch.float64 else state.dtype, state.dtype)):
            gains = torch.ones_like(size, dtype=torch.bool)
            # Whatever float32 achieves, float64 must have its turn.
            limit = self.limit if dtype == state.dtype else self.limit // 2
            while spent < limit and len(images := ((size > enough) & gains).nonzero().flatten()):
                before = size[images]
                stop = (enough[images] / before / 2).clamp(min=torch.finfo(dtype).eps ** DIGITS)
                b = (residual[images] / per_image(before, residual)).to(dtype)
                u, taken = pcg(self._gram, b, self.preconditioner, stop.to(dtype), limit - spent)
                spent += taken
                better = correct(state[images], u.to(state.dtype) * per_image(before, residual))
                rest, enough[images] = measure(better, images)
                after = norms(rest)
                gains[images] = after < before / 2
                kept = after < before
                fallen = images[kept]
                state[fallen], residual[fallen], size[fallen] = better[kept], rest[kept], after[kept]
        self.iterations = max(self.iterations, spent)
        if not lenient and bool((size > enough).any()):
            wanted = self._reachable(state.dtype)
            reached = float((size / enough)[size > enough].max()) * wanted
            figures = (
                f"the residual of {self.operator} stays at {reached:.1e}, above {wanted:.1e}, after {spent} iterations"
            )
            if spent >= self.limit:
                raise NotConvergedError(f"{figures}; give a preconditioner, a larger limit or a larger tolerance")
            warnings.warn(f"{figures}; no more of them would help", BlindspaceWarning, stacklevel=2)
        return state

    # --- rank -------------------------------------------------------------------------------------------

    @cached_property
    def _unread(self) -> Tensor:
        """The inputs whose columns are zero, bool ``in_shape``: those that random outputs do not reach."""
        generator = torch.Generator().manual_seed(1)
        y = torch.randn(1, *self.operator.out_shape, generator=generator, dtype=torch.float64)
        return self.operator._adjoint(y)[0] == 0

    def _inverted(self) -> str | None:
        """Which of A Aᵀ and AᵀA, that on the inputs read, an iteration of bearable length inverts; None if neither."""
        if self.certificate.rank == self.operator.out_dim and self._inverts(self.operator, self.preconditioner, None):
            return "A Aᵀ"
        read = ~self._unread
        if self.certificate.rank == int(read.sum()) and self._inverts(self.operator.T, None, read):
            return "AᵀA"
        return None

    def _inverts(self, operator: LinearMap, preconditioner: Apply | None, among: Tensor | None) -> bool:
        """Whether an iteration of bearable length inverts the Gram matrix of A or Aᵀ, among outputs of a mask."""
        full = replace(self.certificate, rank=operator.out_dim)
        probe = KrylovSolver(operator, preconditioner, PROBED, certificate=full, limit=PROBE_LIMIT)
        with warnings.catch_warnings():
            warnings.simplefilter("error", BlindspaceWarning)
            try:
                return inverts(operator, probe.gram_inverse, among)
            except (BlindspaceError, BlindspaceWarning):
                return False

    def _count(self) -> Certificate:
        """Nonzero rows and columns, counted by random vectors, and an upper bound on the smallest σ."""
        operator, generator = self.operator, torch.Generator().manual_seed(0)
        outputs = operator._forward(torch.randn(1, *operator.in_shape, generator=generator, dtype=torch.float64))
        rank = min(int(outputs.count_nonzero()), int((~self._unread).sum()))
        if rank == 0:
            return Certificate(0, "exact", "all weights are 0", 0.0, 0.0, None, None)
        tolerance = max(operator.in_dim, operator.out_dim) * torch.finfo(torch.float64).eps * self.norm
        v = outputs.to(self.inner)
        for _ in range(3):  # inverse iteration; however far it gets, ‖Aᵀv‖/‖v‖ is a bound
            v = v / per_image(norms(v), v)
            better, _ = pcg(self._gram, v, self.preconditioner, torch.full((1,), 0.1, dtype=v.dtype), 100)
            if not (bool(better.isfinite().all()) and bool(better.any())):
                break  # rounding in this dtype, or a singular A Aᵀ, ends it
            v = better
        v = v.double()
        smallest = float(operator._adjoint(v / per_image(norms(v), v)).norm())
        method = "nonzero rows and columns, not proved; smallest σ by inverse iteration"
        return Certificate(rank, "undecided", method, tolerance, self.norm, smallest, None, None, "≤")


def pcg(apply: Apply, b: Tensor, preconditioner: Apply | None, stop: Tensor, limit: int) -> tuple[Tensor, int]:
    """Solve G u = b for each image by itself (Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1).

    An image leaves the batch when its residual is small enough, or grows without bound.

    Args:
        apply: The product with G, symmetric positive semidefinite, on batches.
        b: Right-hand sides ``(B, …)`` in the range of G.
        preconditioner: The product with M⁻¹, symmetric positive definite, on batches; None for the identity.
        stop: ‖b − G u‖ at which an image is done, by the recursion, ``(B,)``.
        limit: Largest number of iterations.

    Returns:
        The u of the smallest residual met, ``(B, …)``, and the number of iterations.
    """
    solution = torch.zeros_like(b)
    images = torch.arange(len(b), device=b.device)
    u, r, d, best = (torch.zeros_like(b), b.clone(), torch.zeros_like(b), torch.zeros_like(b))
    rho, lowest = torch.ones_like(stop), torch.full_like(stop, torch.inf)
    bound = torch.finfo(b.dtype).eps ** -GROWN
    for iteration in range(limit + 1):
        size = norms(r)
        lower = size < lowest
        lowest, best = torch.where(lower, size, lowest), torch.where(per_image(lower, u), u, best)
        going = (size > stop) & (size < bound * lowest) & (iteration < limit)
        if not bool(going.all()):
            solution[images] = best
            images, u, r, d, best, rho, lowest, stop = (t[going] for t in (images, u, r, d, best, rho, lowest, stop))
        if not len(images):
            break
        z = r if preconditioner is None else preconditioner(r)
        last, rho = rho, _dot(r, z)
        d = torch.addcmul(z, per_image(rho / last, z), d)
        g = apply(d)
        curvature = _dot(d, g)
        step = rho / curvature
        sound = (curvature > 0) & step.isfinite()
        stop = torch.where(sound, stop, torch.inf)  # nothing more can be gained in this dtype
        step = per_image(torch.where(sound, step, 0), d)
        u.addcmul_(step, d)
        r.addcmul_(step, g, value=-1)
    return solution, iteration


def memory(operator: LinearMap, batch: int = 1) -> int:
    """Bytes that projecting a batch of float64 takes at its peak, estimated, without those of a preconditioner."""
    whole = 2 * batch * operator.in_dim
    batch = min(batch, max(CHUNK // (8 * operator.in_dim), 1))
    unfolded = max(
        (conv.in_shape[0] * prod((*conv.kernel, *conv.out_shape[1:])) for conv in _convolutions(operator)), default=0
    )
    return 8 * (whole + batch * (5 * operator.in_dim + 9 * operator.out_dim + unfolded))


def _convolutions(operator: LinearMap) -> Iterator[Convolution]:
    """The convolutions that a map is made of."""
    match operator:
        case Convolution():
            yield operator
        case Adjoint():
            yield from _convolutions(operator.of)
        case Composed(factors=parts) | VStack(parts=parts):
            for part in parts:
                yield from _convolutions(part)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
