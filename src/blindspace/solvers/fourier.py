"""Strided, padded convolutions of any size: circular in Fourier space, with an exact correction at the edges."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import TooLargeError, UnsupportedLayerError
from ..maps import LinearMap
from . import torus
from .certificate import MARGIN, Certificate, Kind
from .dense import MEMORY_LIMIT
from .edges import DirectEdges, LoopEdges
from .probe import inverts, smallest_sigma
from .solver import Solver
from .torus import Torus, multiply

DIRECT = 1 << 30
"""Bytes up to which the edge system is factored whole."""

PASSES = 6
"""Refinement steps at most."""

ENOUGH = float(np.finfo(np.float64).eps)
"""‖A p‖ / (‖A‖ ‖x‖) at which refinement stops."""

AMPLIFIED = 1e3
"""How much larger a residual of the edge system may become in the whole; it is solved so much closer."""

RESOLVED = 1e-6
"""Least share of ‖C‖ that the smallest σ must have: A Aᵀ, with its rounding, tells no smaller ones from 0."""

CHUNK = 20 << 20
"""Bytes of perturbations worked on at a time: enough for the edge systems, few enough for the caches."""

TRIES = 3
"""Sizes of the torus tried, where rows are lost at some frequency of the first one."""


def serves(map: LinearMap) -> bool:
    """Whether the map is a convolution of one group, padded with zeros, or the adjoint of one, and contracts."""
    return torus.serves(map) and map.out_dim <= map.in_dim and contracts(map)


def contracts(map: LinearMap) -> bool:
    """Whether the map has no more outputs than inputs at every frequency."""
    shape = Torus.sides(map)
    return shape[0] <= shape[1]


class FourierSolver(Solver):
    """Embedded circular inverse with exact edge correction, refined until the residual is at rounding.

    Args:
        map: for which ``serves`` holds.
        limit: bytes it may take.
        edges: "direct" or "loops"; by size if None.
        inner: torch.float32 to solve in single precision and keep half the bytes; residuals stay in float64.

    Raises:
        UnsupportedLayerError: it does not serve that map, or A has not full row rank to working precision.
        TooLargeError: it would take more than the limit.
    """

    name = "fourier"

    def __init__(
        self,
        map: LinearMap,
        limit: int = MEMORY_LIMIT,
        edges: str | None = None,
        inner: torch.dtype = torch.float64,
    ) -> None:
        if not serves(map):
            raise UnsupportedLayerError(f"{map} is no zero-padded convolution of one group that contracts")
        super().__init__(map)
        self._refuse_above(limit)
        self.torus, self.inverse = self._frequencies()
        direct = edges == "direct" if edges else DirectEdges.memory(self.torus) <= DIRECT
        try:
            self.edges: DirectEdges | LoopEdges = (DirectEdges if direct else LoopEdges)(self.torus, self.inverse)
        except UnsupportedLayerError as error:
            raise UnsupportedLayerError(f"{map}: {error}") from error
        self.norm_bound = self.torus.norm_bound
        self.inner = torch.float64
        self.certificate = self._certify()
        self._check()
        self.inner = inner
        self._cast(inner)
        unknowns = self.edges.z + self.edges.f
        how = "an edge system" if direct else "an iterated edge system"
        self.reason = f"a torus of {self.torus.grid} positions and {how} of {unknowns} unknowns"

    def _refuse_above(self, limit: int) -> None:
        needed = memory(self.map)
        if needed > limit:
            raise TooLargeError(
                f"the Fourier solver needs about {needed / 2**30:.1f} GiB for {self.map}, above the limit of "
                f"{limit / 2**30:.1f} GiB; take a smaller input shape"
            )

    def _frequencies(self) -> tuple[Torus, Tensor]:
        """The torus and K̂⁻¹, of the first size at which no frequency loses rows."""
        for larger in range(TRIES):
            torus = Torus(self.map, larger)
            try:
                return torus, torus.gram_inverse()
            except UnsupportedLayerError as error:
                refusal = error
        raise UnsupportedLayerError(f"{self.map}: {refusal}") from refusal

    def _certify(self) -> Certificate:
        """Full row rank, by the Cholesky factors; the smallest σ by Lanczos on (A Aᵀ)⁻¹."""
        size = self.map.out_dim
        smallest = smallest_sigma(self.map, self._roughly)
        tolerance = max(size, self.map.in_dim) * ENOUGH * self.norm_bound
        if smallest <= max(MARGIN * tolerance, RESOLVED * self.norm_bound):
            raise UnsupportedLayerError(f"{self.map} has not full row rank to working precision")
        kind: Kind = "exact" if isinstance(self.edges, DirectEdges) else "numerical"
        return Certificate(size, kind, self.edges.proof, tolerance, self.norm_bound, smallest, None)

    def _roughly(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b to a few digits."""
        u = self.gram_inverse(b, 1e-6)
        if isinstance(self.edges, LoopEdges) and not self.edges.solved:
            raise UnsupportedLayerError(f"the edges of {self.map} take over {self.edges.iterations} iterations")
        return u

    def _check(self) -> None:
        """Measure it.

        It must invert; and, as what a projection takes off lies in the row space, a small residual proves that right.
        """
        if not inverts(self.map, self.gram_inverse):
            raise UnsupportedLayerError(f"{self.map} has not full row rank to working precision")
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, *self.map.in_shape, generator=generator, dtype=torch.float64)
        residual = float(self.map._forward(self._project(x)).norm()) / self.norm_bound / float(x.norm())
        if residual > 2 * ENOUGH:
            raise UnsupportedLayerError(f"{self.map} is too ill-conditioned: the residual stays at {residual:.1e}")

    def gram_inverse(self, b: Tensor, share: float = 1e-13) -> Tensor:
        """(A Aᵀ)⁻¹ b, ``(B, *out_shape)``, float64; an iterated edge system to a residual of that share."""
        size = b.flatten(1).norm(dim=1).clamp_min(torch.finfo(b.dtype).tiny).reshape(-1, *[1] * (b.ndim - 1))
        b = (b / size).to(self.inner)  # of norm 1, which single precision can hold
        v = multiply(self.inverse, self.torus.transform(self.torus.rows.embed(b)))
        r = -self.edges.collect(v)
        e = self.edges.solve(r, max(share, float(torch.finfo(self.inner).eps)) * r.norm(dim=0))
        v = v + multiply(self.inverse, self.edges.spread(e))
        u: Tensor = self.torus.rows.extract(self.torus.back(v)).double() * size
        return u

    def _cast(self, dtype: torch.dtype) -> None:
        """Keep what is applied in that precision."""
        self.torus.to(dtype)
        self.edges.to(dtype)
        self.inverse = self.edges.inverse

    def _project(self, x: Tensor) -> Tensor:
        if self.dim == 0:
            return torch.zeros_like(x)
        # In float64 on the CPU whatever x is.
        batch = max(CHUNK // (8 * self.map.in_dim), 1)
        parts = [self._refined(part) for part in x.to("cpu", torch.float64).split(batch)]
        return torch.cat(parts).to(x.device, x.dtype)

    def _refined(self, x: Tensor) -> Tensor:
        """x ← x − Aᵀ(A Aᵀ)⁻¹ A x until ‖A x‖ is, or must by its last fall be, at the rounding error."""
        enough = ENOUGH * self.norm_bound * x.flatten(1).norm(dim=1)
        before = torch.full_like(enough, float("inf"))
        for _ in range(PASSES):
            b = self.map._forward(x)
            size = b.flatten(1).norm(dim=1)
            if bool(((size <= enough) | (size > before / 4)).all()):
                break
            share = float((enough / size.clamp_min(torch.finfo(size.dtype).tiny)).min()) / AMPLIFIED
            x = x - self.map._adjoint(self.gram_inverse(b, max(share, 1e-13)))
            if bool((size * (size / before) <= enough / 100).all() & before.isfinite().all()):
                break  # falling as before it is far below already, and need not be measured again
            before = size
        return x


def memory(map: LinearMap) -> int:
    """Bytes at the peak: the symbols of the torus, entries of their products, and an edge system."""
    p, q = Torus.sides(map)
    return 8 * (p * p + 2 * p * q + 3 * q * q) * Torus.size(map) + DIRECT
