"""Strided, padded convolutions of any size: circular in Fourier space, with an exact correction at the edges."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...errors import TooLargeError, UnsupportedLayerError
from ...maps import LinearMap
from ..base import Solver
from ..projectors.dense import MEMORY_LIMIT
from ..rank.certificate import MARGIN, Certificate, Kind
from ..rank.inverse_probe import inverts, smallest_sigma
from . import circulant_embedding as torus
from .capacitance import DirectCapacitance
from .capacitance_iterative import IterativeCapacitance
from .circulant_embedding import CirculantEmbedding

DIRECT = 1 << 30
"""Bytes up to which the edge system is factored whole."""

LANCZOS = "Lanczos on the inverse of A Aᵀ, in Fourier space"
"""What tells the smallest σ where nothing proves the rank."""

PASSES = 6
"""Refinement steps at most."""

ENOUGH = float(np.finfo(np.float64).eps)
"""‖A p‖ / (‖A‖ ‖x‖) at which refinement stops."""

AMPLIFIED = 1e3
"""How much larger a residual of the edge system may become in the whole; it is solved so much closer."""

RESOLVED = 1e-6
"""Least share of ‖C‖ that the smallest σ must have: A Aᵀ, with its rounding, tells no smaller ones from 0."""

FEW_DIGITS = 1e-3
"""Share left over after which a pass is done in single precision."""

SINGLE = 1e-4
"""What is expected of such a pass, at most."""

ROUGHLY = 1e-3
"""1 / cond(K) from which single precision inverts to a few digits."""

SINGLE_PASSES = 2
"""Refinements by which an inverse in single precision is one in double."""

CHUNK = 20 << 20
"""Bytes of perturbations worked on at a time: enough for the edge systems, few enough for the caches."""

TRIES = 3
"""Sizes of the torus tried, where rows are lost at some frequency of the first one."""


def serves(operator: LinearMap) -> bool:
    """Whether the map is a convolution of one group, padded with zeros, or the adjoint of one, and contracts."""
    return torus.serves(operator) and operator.out_dim <= operator.in_dim and contracts(operator)


def contracts(operator: LinearMap) -> bool:
    """Whether the map has no more outputs than inputs at every frequency."""
    shape = CirculantEmbedding.sides(operator)
    return shape[0] <= shape[1]


class FourierSolver(Solver):
    """Embedded circular inverse with exact edge correction, refined until the residual is at rounding.

    Args:
        operator: for which ``serves`` holds.
        limit: bytes it may take.
        edges: "direct" or "loops"; by size if None.
        inner: torch.float32 to solve in single precision and keep half the bytes, by size if None; residuals stay in
            float64.

    Raises:
        UnsupportedLayerError: it does not serve that map, or A has not full row rank to working precision.
        TooLargeError: it would take more than the limit.
    """

    name = "fourier"

    def __init__(
        self,
        operator: LinearMap,
        limit: int = MEMORY_LIMIT,
        edges: str | None = None,
        inner: torch.dtype | None = None,
    ) -> None:
        if not serves(operator):
            raise UnsupportedLayerError(f"{operator} is no zero-padded convolution of one group that contracts")
        super().__init__(operator)
        self._refuse_above(limit)
        torus, inverse = self._frequencies()
        self.norm_bound, self.passes = torus.norm_bound, 0
        self._single: DirectCapacitance | IterativeCapacitance | None = None
        plans = [(edges, inner or torch.float64)] if edges else _by_size(torus, inner)
        for direct, precision in plans:
            try:
                self._set_edges(torus, inverse, direct == "direct", precision)
                break
            except UnsupportedLayerError as error:
                refusal = error
        else:
            raise UnsupportedLayerError(f"{operator}: {refusal}") from refusal
        unknowns = self.edges.z + self.edges.f
        how = "an edge system" if isinstance(self.edges, DirectCapacitance) else "an iterated edge system"
        single = " in single precision, refined in double" if self.inner == torch.float32 else ""
        self.reason = f"a torus of {torus.grid} positions and {how} of {unknowns} unknowns{single}"

    def _set_edges(self, torus: CirculantEmbedding, inverse: Tensor, direct: bool, precision: torch.dtype) -> None:
        edges = DirectCapacitance(torus, inverse, precision) if direct else IterativeCapacitance(torus, inverse)
        self.edges: DirectCapacitance | IterativeCapacitance = (
            edges if precision == torch.float64 else edges.to(precision)
        )
        self.inner = precision
        self.certificate = self._certify()
        self._check()

    def _refuse_above(self, limit: int) -> None:
        needed = memory(self.operator)
        if needed > limit:
            raise TooLargeError(
                f"the Fourier solver needs about {needed / 2**30:.1f} GiB for {self.operator}, above the limit of "
                f"{limit / 2**30:.1f} GiB; take a smaller input shape"
            )

    def _frequencies(self) -> tuple[CirculantEmbedding, Tensor]:
        """The torus and K̂⁻¹, of the first size at which no frequency loses rows."""
        for larger in range(TRIES):
            torus = CirculantEmbedding(self.operator, larger)
            try:
                return torus, torus.gram_inverse()
            except UnsupportedLayerError as error:
                refusal = error
        raise UnsupportedLayerError(f"{self.operator}: {refusal}") from refusal

    def _certify(self) -> Certificate:
        """Full row rank, by the Cholesky factors; the smallest σ by Lanczos on (A Aᵀ)⁻¹."""
        size = self.operator.out_dim
        smallest = smallest_sigma(self.operator, self._roughly)
        tolerance = max(size, self.operator.in_dim) * ENOUGH * self.norm_bound
        if smallest <= max(MARGIN * tolerance, RESOLVED * self.norm_bound):
            raise UnsupportedLayerError(f"{self.operator} has not full row rank to working precision")
        kind: Kind = "exact" if self.edges.proof else "numerical"
        return Certificate(size, kind, self.edges.proof or LANCZOS, tolerance, self.norm_bound, smallest, None)

    def _roughly(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b to a few digits."""
        values = self.edges.torus.gram_values
        few = float(values.min()) >= ROUGHLY * float(values.max())
        u = self._inverse(b, 1e-4 if few else 1e-6, torch.float32 if few else self.inner)
        edges = self._edges_in(torch.float32) if few else self.edges
        if isinstance(edges, IterativeCapacitance) and not edges.solved:
            raise UnsupportedLayerError(f"the edges of {self.operator} take over {edges.iterations} iterations")
        return u

    def _check(self) -> None:
        """Measure it.

        It must invert; and, as what a projection takes off lies in the row space, a small residual proves that right.
        """
        if not inverts(self.operator, self.gram_inverse):
            raise UnsupportedLayerError(f"{self.operator} has not full row rank to working precision")
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, *self.operator.in_shape, generator=generator, dtype=torch.float64)
        residual = float(self.operator._forward(self._project(x)).norm()) / self.norm_bound / float(x.norm())
        if residual > 2 * ENOUGH:
            raise UnsupportedLayerError(f"{self.operator} is too ill-conditioned: the residual stays at {residual:.1e}")

    @property
    def iterations(self) -> int | None:
        """Of the last solution of an edge system that is not factored."""
        return self.edges.iterations if isinstance(self.edges, IterativeCapacitance) else None

    def gram_inverse(self, b: Tensor, share: float = 1e-13) -> Tensor:
        """(A Aᵀ)⁻¹ b, ``(B, *out_shape)``, float64.

        Args:
            b: the same shape.
            share: of its residual that an iterated edge system may leave.
        """
        u = self._inverse(b, share, self.inner)
        if self.inner == torch.float32:
            for _ in range(SINGLE_PASSES):
                u = u + self._inverse(b - self.operator._forward(self.operator._adjoint(u)), share, self.inner)
        return u

    def _inverse(self, b: Tensor, share: float, precision: torch.dtype) -> Tensor:
        """The same in that precision, unrefined."""
        size = b.flatten(1).norm(dim=1).clamp_min(torch.finfo(b.dtype).tiny).reshape(-1, *[1] * (b.ndim - 1))
        # Of norm 1, which single precision can hold.
        u: Tensor = self._edges_in(precision).gram_inverse((b / size).to(precision), share).double() * size
        return u

    def _edges_in(self, precision: torch.dtype) -> DirectCapacitance | IterativeCapacitance:
        if precision == self.inner:
            return self.edges
        if self._single is None:
            self._single = self.edges.to(precision)
        return self._single

    def _project(self, x: Tensor) -> Tensor:
        if self.dim == 0:
            return torch.zeros_like(x)
        # In float64 on the CPU whatever x is.
        batch = max(CHUNK // (8 * self.operator.in_dim), 1)
        parts = [self._refined(part) for part in x.to("cpu", torch.float64).split(batch)]
        return torch.cat(parts).to(x.device, x.dtype)

    def _refined(self, x: Tensor) -> Tensor:
        """x ← x − Aᵀ(A Aᵀ)⁻¹ A x until ‖A x‖ is, or must by its last fall be, at the rounding error."""
        enough = ENOUGH * self.norm_bound * x.flatten(1).norm(dim=1)
        before = torch.full_like(enough, float("inf"))
        self.passes = 0
        for _ in range(PASSES):
            b = self.operator._forward(x)
            size = b.flatten(1).norm(dim=1)
            if bool(((size <= enough) | (size > before / 4)).all()):
                break
            share = float((enough / size.clamp_min(torch.finfo(size.dtype).tiny)).min())
            # What little is left of an accurate pass needs few digits; what is taken off must lie in the row space.
            little = share >= FEW_DIGITS and bool(before.isfinite().all())
            precision = torch.float32 if little else self.inner
            u = self._inverse(b, max(share / AMPLIFIED, 1e-13), precision)
            x = x - self.operator._adjoint(u.float() if little else u).double()
            self.passes += 1
            falls = (size / before).clamp_min(0.0 if precision == self.inner else SINGLE)
            if bool((size * falls <= enough / 100).all() & before.isfinite().all()):
                break  # falling as before it is far below already, and need not be measured again
            before = size
        return x


def _by_size(torus: CirculantEmbedding, inner: torch.dtype | None) -> list[tuple[str, torch.dtype]]:
    """What to try: factors where they fit, in double precision or else in single; then the iteration."""
    precisions = [inner] if inner else [torch.float64, torch.float32]
    direct = [("direct", each) for each in precisions if DirectCapacitance.memory(torus, each) <= DIRECT]
    return [*direct[:1], ("loops", precisions[0])] if not direct or direct[0][1] != precisions[0] else direct[:1]


def memory(operator: LinearMap) -> int:
    """Bytes at the peak: the symbols of the torus, entries of their products, and an edge system."""
    p, q = CirculantEmbedding.sides(operator)
    return 8 * (p * p + 2 * p * q + 3 * q * q) * CirculantEmbedding.size(operator) + DIRECT
