"""Strided, padded convolutions of any size: circular in Fourier space, with an exact correction at the boundary.

Known as circulant embedding (Dietrich & Newsam 1997) with the capacitance matrix method (Buzbee, Dorr, George & Golub
1971), followed by iterative refinement (Higham, Accuracy and Stability of Numerical Algorithms, chapter 12).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import UnsupportedLayerError, require_memory
from ...maps import Convolution, LinearMap
from .._choose import choose
from ..base import MEMORY_LIMIT, ON_REQUEST, Cost, Solver, register
from ..dense_algebra.products import per_image
from ..projectors.delegating import InjectiveSolver, OnDemandSolver, StructuredSolver
from ..rank import kernel_reduction
from ..rank.certificate import MARGIN, Certificate, Kind
from ..rank.inverse_probe import inverts, smallest_sigma
from ..rank.window_certificate import full_row_rank
from .circulant_embedding import CirculantEmbedding, contracts, embeds
from .direct_capacitance import DirectCapacitance
from .iterative_capacitance import ITERATIONS, WINDOW, IterativeCapacitance

LARGE = 3000
"""Outputs, or inputs of a layer with more outputs, from which a convolution goes to Fourier space by itself; below, the
whole matrix is as quick to factor and cheaper to apply."""

AUTOMATIC_LIMIT = 4 << 30
"""Bytes that the solver may take without being asked for; above, conjugate gradients need next to none."""

DIRECT_LIMIT = 1 << 30  # Bytes up to which the capacitance matrix is factored as a whole

LANCZOS = "Lanczos on the inverse of A Aᵀ, in Fourier space"
"""Method by which the smallest σ is found if nothing proves the rank."""

PASSES = 6  # Largest number of refinement steps
ENOUGH = float(np.finfo(np.float64).eps)  # ‖A p‖ / (‖A‖ ‖x‖) at which refinement stops …
UNSEEN = 0.1
"""… and for x in float32 the share of its rounding error by which what is left of the residual may move p: by at most
cond(A) times as much."""

AMPLIFIED = 1e3
"""Factor by which a residual of the capacitance system may grow in the whole; the system is solved that much closer."""

RESOLVED = 1e-6
"""Least share of ‖C‖ that the smallest σ must have: rounding in A Aᵀ makes smaller ones indistinguishable from 0."""

FEW_DIGITS = 1e-3  # Least share of a residual that single precision is trusted to leave
SINGLE = 1e-4  # Share of the residual that such a pass leaves at least
ROUGHLY = 1e-4  # 1 / cond(K) from which single precision inverts to a few digits
REFINEMENTS = 2  # Steps by which an inverse in single precision becomes one in double
INVERTED = 1e-10  # Share of b that an inverse of A Aᵀ may leave without refinement

CHUNK = 20 << 20
"""Bytes of perturbations processed at a time: enough for the capacitance systems, few enough for the caches."""

TRIES = 3  # Sizes of the grid that are tried if the rows are not independent at some frequency of the first one

Method = Literal["direct", "iterative"]


@register
class FourierSolver(Solver):
    """The inverse of a circulant embedding with exact boundary correction, refined until the residual is at rounding.

    Args:
        operator: A map that ``applies`` accepts.
        limit: Bytes that the solver may take.
        capacitance: How the capacitance system is solved; None to decide by its size.
        inner: torch.float32 to solve in single precision and keep half the bytes, torch.float64, or None to decide by
            size; residuals stay in float64.
        direct_limit: Bytes up to which the capacitance matrix is factored as a whole.
        window: Largest number of unknowns in the window around a corner, if the system is solved by iteration.
        iterations: Largest number of iterations of one solution of that system.
        chunk: Bytes of perturbations processed at a time.

    Raises:
        UnsupportedLayerError: The map is of another kind, or does not have full row rank to working precision.
        TooLargeError: The solver would take more than the limit.
    """

    name = "fourier"
    scope = "zero-padded convolutions of one group that contract"
    how = "circulant embedding, exact at the boundary by the capacitance matrix"

    def __init__(
        self,
        operator: LinearMap,
        limit: int = MEMORY_LIMIT,
        capacitance: Method | None = None,
        inner: torch.dtype | None = None,
        direct_limit: int = DIRECT_LIMIT,
        window: int = WINDOW,
        iterations: int = ITERATIONS,
        chunk: int = CHUNK,
    ) -> None:
        if not self.applies(operator):
            raise UnsupportedLayerError(f"{operator} is not a zero-padded convolution of one group that contracts")
        super().__init__(operator)
        needed = self.cost(operator).memory
        require_memory(f"the fourier solver of {operator}", needed, limit, "take a smaller input shape")
        embedding = self._embedded()
        self.norm_bound, self.passes, self._chunk = embedding.norm_bound, 0, chunk
        self._window, self._limit = window, iterations
        self._single: DirectCapacitance | IterativeCapacitance | None = None
        plans = [(capacitance, inner or torch.float64)] if capacitance else _plans(embedding, inner, direct_limit)
        for method, precision in plans:
            try:
                self._prepare(embedding, method, precision)
                break
            except UnsupportedLayerError as error:
                refusal = error
        else:
            raise UnsupportedLayerError(f"{operator}: {refusal}") from refusal
        unknowns = self.capacitance.z + self.capacitance.f
        how = "factored" if isinstance(self.capacitance, DirectCapacitance) else "iterated"
        single = " in single precision, refined in double" if self.inner == torch.float32 else ""
        grid = "×".join(map(str, embedding.grid))
        self.reason = f"circulant embedding on a {grid} grid, {how} capacitance system of {unknowns} unknowns{single}"

    @staticmethod
    def applies(operator: LinearMap) -> bool:
        """Whether a map, rather than its adjoint, is a zero-padded convolution of one group that contracts."""
        return embeds(operator) and operator.out_dim <= operator.in_dim and contracts(operator)

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map or its adjoint is a zero-padded convolution of one group."""
        return embeds(operator)

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """The symbols of the embedding, entries of their products, and a capacitance system; from ``LARGE`` on."""
        p, q = CirculantEmbedding.sides(operator)
        memory = 8 * (p * p + 2 * p * q + 3 * q * q) * CirculantEmbedding.size(operator) + DIRECT_LIMIT
        low, high = sorted((operator.in_dim, operator.out_dim))
        return Cost(memory, 50 if high > LARGE and low > LARGE // 4 else ON_REQUEST)

    @classmethod
    def build(cls, operator: LinearMap, **options: Any) -> Solver:
        """The solver of the map, or of its adjoint, which proves the map injective if it has full row rank."""
        if cls.applies(operator):
            return cls(operator, **options)
        return InjectiveSolver(operator, cls(operator.T, **options))

    @classmethod
    def build_automatically(cls, operator: LinearMap) -> Solver:
        """The solver of what ``kernel_reduction`` leaves, with a basis for large batches if that is small."""
        reduced = kernel_reduction.reduce(operator) if isinstance(operator, Convolution) else None
        if reduced is not None:
            return StructuredSolver(operator, reduced, choose(reduced.conv))
        solver = cls.build(operator, limit=AUTOMATIC_LIMIT)
        return OnDemandSolver(solver) if OnDemandSolver.pays(solver) else solver

    @staticmethod
    def factors(operator: LinearMap) -> bool:
        """Whether the capacitance matrix of a map that ``applies`` accepts can be factored in float64."""
        return DirectCapacitance.memory(CirculantEmbedding(operator)) <= DIRECT_LIMIT

    def _prepare(self, embedding: CirculantEmbedding, method: str, precision: torch.dtype) -> None:
        """Sets up the capacitance system and measures that it solves."""
        found: DirectCapacitance | IterativeCapacitance
        if method == "direct":
            found = DirectCapacitance(embedding, precision)
        else:
            found = IterativeCapacitance(embedding, self._window, self._limit)
        self.capacitance = found if precision == torch.float64 else found.to(precision)
        self.inner = precision
        embedding.release()
        self.certificate = self._certify()
        self._check()

    def _embedded(self) -> CirculantEmbedding:
        """The embedding of the first size of the grid at which K is regular at every frequency."""
        for larger in range(TRIES):
            embedding = CirculantEmbedding(self.operator, larger)
            try:
                embedding.whitening  # noqa: B018
            except UnsupportedLayerError as error:
                refusal = error
            else:
                return embedding
        raise UnsupportedLayerError(f"{self.operator}: {refusal}") from refusal

    def _certify(self) -> Certificate:
        """Full row rank, by the Cholesky factors or by windows; the smallest σ by Lanczos on (A Aᵀ)⁻¹."""
        size, proof = self.operator.out_dim, self.capacitance.proof or full_row_rank(self.operator)
        smallest = smallest_sigma(self.operator, self._roughly)
        tolerance = max(size, self.operator.in_dim) * ENOUGH * self.norm_bound
        if smallest <= max(MARGIN * tolerance, RESOLVED * self.norm_bound):
            raise UnsupportedLayerError(f"{self.operator} does not have full row rank to working precision")
        kind: Kind = "exact" if proof else "numerical"
        return Certificate(size, kind, proof or LANCZOS, tolerance, self.norm_bound, smallest, None)

    def _roughly(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b to a few digits."""
        values = self.capacitance.embedding.gram_values
        few = float(values.min()) >= ROUGHLY * float(values.max())
        u = self._inverse(b, 1e-4 if few else 1e-6, torch.float32 if few else self.inner)
        system = self._capacitance_in(torch.float32) if few else self.capacitance
        if isinstance(system, IterativeCapacitance) and not system.solved:
            raise UnsupportedLayerError(
                f"the boundary unknowns of {self.operator} take over {system.iterations} iterations"
            )
        return u

    def _check(self) -> None:
        """Measures inverse and residual; as what a projection removes lies in the row space, that proves it right."""
        if not inverts(self.operator, lambda b: self.approximate_gram_inverse(b, INVERTED)):
            raise UnsupportedLayerError(f"{self.operator} does not have full row rank to working precision")
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, *self.operator.in_shape, generator=generator, dtype=torch.float64)
        residual = float(self.operator._forward(self.project(x)).norm()) / self.norm_bound / float(x.norm())
        if residual > 2 * ENOUGH:
            raise UnsupportedLayerError(f"{self.operator} is too ill-conditioned: the residual stays at {residual:.1e}")

    @property
    def iterations(self) -> int | None:
        """Iterations of the last solution of the capacitance system; None if it is factored."""
        return self.capacitance.iterations if isinstance(self.capacitance, IterativeCapacitance) else None

    def _gram_inverse(self, b: Tensor) -> Tensor:
        return self.approximate_gram_inverse(b, 1e-13)

    def approximate_gram_inverse(self, b: Tensor, share: float) -> Tensor:
        """``gram_inverse``, with an iterated capacitance system solved up to a share of its residual."""
        u = self._inverse(b, share, self.inner)
        if self.inner == torch.float64 and isinstance(self.capacitance, IterativeCapacitance):
            return u
        for _ in range(REFINEMENTS):
            rest = b - self.operator._forward(self.operator._adjoint(u))
            if self.inner == torch.float64 and bool(
                (rest.flatten(1).norm(dim=1) <= INVERTED * b.flatten(1).norm(dim=1)).all()
            ):
                break
            u = u + self._inverse(rest, share, self.inner)
        return u

    def _inverse(self, b: Tensor, share: float, precision: torch.dtype) -> Tensor:
        """(A Aᵀ)⁻¹ b in a precision, unrefined."""
        size = per_image(b.flatten(1).norm(dim=1).clamp_min(torch.finfo(b.dtype).tiny), b)
        # Norm 1 can be held in single precision.
        u: Tensor = self._capacitance_in(precision).gram_inverse((b / size).to(precision), share).double() * size
        return u

    @cached_property
    def _single_leaves(self) -> float:
        """Share of the residual that a pass in single precision leaves, about."""
        values = self.capacitance.embedding.gram_values
        rounding = torch.finfo(torch.float32).eps * float(values.max() / values.min())
        return max(FEW_DIGITS, rounding)

    def rough_gram_inverse(self, b: Tensor) -> Tensor:
        """By a pass in single precision if that leaves a few digits."""
        precision = torch.float32 if self._single_leaves == FEW_DIGITS else self.inner
        return self._inverse(b, 1e-6, precision).to(b.dtype)

    def _capacitance_in(self, precision: torch.dtype) -> DirectCapacitance | IterativeCapacitance:
        if precision == self.inner:
            return self.capacitance
        if self._single is None:
            self._single = self.capacitance.to(precision)
        return self._single

    def _project(self, x: Tensor) -> Tensor:
        # In float64 on the CPU whatever x is.
        batch = max(self._chunk // (8 * self.operator.in_dim), 1)
        enough = ENOUGH
        if x.dtype != torch.float64:
            enough = max(UNSEEN * torch.finfo(x.dtype).eps / self.certificate.condition, ENOUGH)
        parts = [self._refined(part, enough) for part in x.to("cpu", torch.float64).split(batch)]
        return torch.cat(parts).to(x.device, x.dtype)

    def _refined(self, x: Tensor, wanted: float) -> Tensor:
        """x ← x − Aᵀ(A Aᵀ)⁻¹ A x until ‖A x‖ is, or by its last fall must be, at a wanted share of ‖A‖ ‖x‖."""
        enough = wanted * self.norm_bound * x.flatten(1).norm(dim=1)
        before = torch.full_like(enough, float("inf"))
        self.passes = 0
        for _ in range(PASSES):
            b = _few_at_a_time(self.operator._forward, x)
            size = b.flatten(1).norm(dim=1)
            if bool(((size <= enough) | (size > before / 4)).all()):
                break
            share = float((enough / size.clamp_min(torch.finfo(size.dtype).tiny)).min())
            # The little that an accurate pass left needs few digits; what is removed must lie in the row space.
            little = share >= self._single_leaves and bool(before.isfinite().all())
            precision = torch.float32 if little else self.inner
            u = self._inverse(b, max(share / AMPLIFIED, 1e-13), precision)
            x = x - _few_at_a_time(self.operator._adjoint, u.float() if little else u).double()
            self.passes += 1
            falls = (size / before).clamp_min(0.0 if precision == self.inner else SINGLE)
            if bool((size * falls <= enough / 100).all() & before.isfinite().all()):
                break  # falling as before it is far below already, and need not be measured again
            before = size
        return x


def _few_at_a_time(apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The products with a batch, one image per thread at a time.

    torch's float64 convolution unfolds all that it is given, and takes twice as long where that needs fresh memory.
    """
    if x.dtype != torch.float64 or len(x) <= torch.get_num_threads():
        return apply(x)
    return torch.cat([apply(part) for part in x.split(torch.get_num_threads())])


def _plans(embedding: CirculantEmbedding, inner: torch.dtype | None, limit: int) -> list[tuple[Method, torch.dtype]]:
    """What to try: factors if they fit, in double precision or else in single; then the iteration."""
    precisions = [inner] if inner else [torch.float64, torch.float32]
    direct: list[tuple[Method, torch.dtype]] = [
        ("direct", each) for each in precisions if DirectCapacitance.memory(embedding, each) <= limit
    ]
    if direct and direct[0][1] == precisions[0]:
        return direct[:1]
    return [*direct[:1], ("iterative", precisions[0])]
