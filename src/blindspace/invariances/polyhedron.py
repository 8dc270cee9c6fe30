"""Polyhedra of perturbations: {δ : low ≤ A δ ≤ high}, some rows of A held at 0 and others free on one side or both.

The span of such a set is the nullspace of the rows that are held, and its dimension is certified as that of any other
nullspace. The nearest point is found by the dual problem, min ½ ‖P (v − Cᵀλ)‖² + ⟨s, λ⟩ over λ ≥ 0 with the projector P
on that nullspace and the bounds C δ ≤ s: a quasi-Newton method with bounds (Byrd, Lu, Nocedal & Zhu 1995), then a
primal-dual active set method, which ends at an exact solution (Hintermüller, Ito & Kunisch 2003). Where that finds no
end, because more bounds meet in a point than there are dimensions, the least-distance programme of Lawson & Hanson 1974
(chapter 23) takes its place, which always has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import integer, real, require_memory
from ..maps import Diagonal, LinearMap, compose, gather, vstack
from ..maps.linear_map import DENSE_LIMIT, as_batch
from ..solvers import Certificate
from ..subspaces import Nearest, Subspace, nullspace
from ..subspaces._arguments import generator_or_none
from ..subspaces._mask_argument import MaskLike

Array = NDArray[np.float64]

ROUNDS = 50
"""Largest number of changes of the active set."""

FEASIBLE = 1e-12
"""By how much a bound may be exceeded, relative to the size of the perturbation."""


@dataclass(frozen=True)
class Bounds:
    """Bounds on the values of one map: low ≤ A δ ≤ high.

    Attributes:
        operator: The map A.
        low: Lower bounds, at most 0 and perhaps −∞, of the map's output shape.
        high: Upper bounds, at least 0 and perhaps ∞.
    """

    operator: LinearMap
    low: Tensor
    high: Tensor

    @property
    def held(self) -> Tensor:
        """Indices of the rows that must not change at all, int64."""
        return (self.low == self.high).flatten().nonzero().flatten()


class Polyhedron:
    """The perturbations within bounds: {δ : low ≤ A δ ≤ high for each of several maps}; 0 is one of them.

    Args:
        bounds: At least one map with bounds; the maps read the same shape.
        mask: A mask outside which perturbations are 0; None for none.

    Attributes:
        shape: Shape of one perturbation.
        space: The span of the set, if no bound is 0 on one side only: the nullspace of the rows that are held.
    """

    def __init__(self, bounds: Sequence[Bounds], mask: MaskLike | None = None) -> None:
        self.bounds = list(bounds)
        self.shape = self.bounds[0].operator.in_shape
        held = []
        for each in self.bounds:
            index = each.held
            if len(index):
                held.append(compose(each.operator, gather(each.operator.out_shape, (len(index),), index)))
        nothing = Diagonal(torch.zeros((), dtype=torch.float64), self.shape)
        space = nullspace(vstack(held) if held else nothing)
        self.space: Subspace = space if mask is None else space.within(mask)

    @property
    def dim(self) -> int:
        """Dimension of ``space``."""
        return self.space.dim

    @property
    def certificate(self) -> Certificate:
        """Certificate of the rank of the rows that are held."""
        return self.space.certificate

    @property
    def free(self) -> int:
        """Number of values of the maps that may change."""
        return sum(each.operator.out_dim - len(each.held) for each in self.bounds)

    def contains(self, v: Tensor, tol: float = 1e-9) -> Tensor:
        """Determine whether perturbations lie in the set, up to ``tol · ‖A‖ · ‖v‖`` in each value: bool ``(B,)``.

        Args:
            v: Perturbations, floating point ``(B, *shape)`` or ``(*shape)``.
            tol: Relative tolerance.
        """
        batch, single = as_batch(v, self.shape, "perturbation")
        size = real(tol, "tol") * batch.double().flatten(1).norm(dim=1)
        support = self.space.support
        inside = torch.ones(len(batch), dtype=torch.bool) if support is None else ~batch[:, ~support].any(1)
        for each in self.bounds:
            slack = (size * each.operator.norm()).view(-1, *[1] * len(each.operator.out_shape))
            values = each.operator.forward(batch.double())
            inside &= ((values >= each.low - slack) & (values <= each.high + slack)).flatten(1).all(1)
        return inside[0] if single else inside

    def nearest(self, v: Tensor) -> Nearest:
        """Compute the nearest point of the set, with a bound on the distance from it by duality.

        Args:
            v: Perturbations, floating point ``(B, *shape)``.

        Returns:
            The points; the largest ``residual``, by which ``space`` is left; the changes of the active set; and
            ``optimality``, the largest bound on the distance from the nearest point as a share of ‖v‖.

        Raises:
            TooLargeError: The rows that are free do not fit into memory.
        """
        batch, _ = as_batch(v, self.shape, "perturbation", single=False)
        found, rounds, gap = [], 0, 0.0
        for each in batch:
            point, taken, optimality = self._nearest(each.double())
            found.append(point)
            rounds, gap = max(rounds, taken), max(gap, optimality)
        value = torch.stack(found) if found else batch.double()
        return Nearest(value.to(batch.dtype), self.space.residual(value) if len(value) else 0.0, rounds, gap)

    def project(self, v: Tensor) -> Tensor:
        """Compute the nearest point of the set. As ``nearest``, and for a single perturbation too."""
        batch, single = as_batch(v, self.shape, "perturbation")
        value = self.nearest(batch).value
        return value[0] if single else value

    def sample(self, n: int, generator: torch.Generator | None = None, scale: float = 1.0) -> Tensor:
        """Draw random points of the set, ``(n, *shape)`` float64: projections of Gaussian noise.

        Args:
            n: Number of points, at least 0.
            generator: Source of the randomness; torch's global generator if None.
            scale: Standard deviation of the noise.
        """
        n, scale = integer(n, "the number of samples", 0), real(scale, "the scale", above=True)
        noise = torch.randn(n, *self.shape, generator=generator_or_none(generator), dtype=torch.float64)
        return self.project(scale * noise)

    @cached_property
    def _constraints(self) -> tuple[Array, Array]:
        """C and s of the bounds C δ ≤ s within ``space``, rows scaled to norm 1, without those that are 0 there."""
        rows, ends = [], []
        for each in self.bounds:
            low, high, n = each.low.flatten(), each.high.flatten(), each.operator.in_dim
            free = (low < high) & (low.isfinite() | high.isfinite())
            index = free.nonzero().flatten()
            require_memory(
                f"a polyhedron of {len(index)} bounds on {n} values", 24.0 * len(index) * n, DENSE_LIMIT,
                "take a smaller network, or use space and contains",
            )  # fmt: skip
            made = self.space.project(_rows(each.operator, index)).flatten(1)
            for sign, end in ((1, high[index]), (-1, -low[index])):
                there = end.isfinite()
                rows.append(sign * made[there])
                ends.append(end[there])
        c, s = torch.cat(rows), torch.cat(ends).double()
        norms = c.norm(dim=1)
        met = norms > 1e-12 * norms.max() if len(norms) else norms > 0
        return (c[met] / norms[met, None]).numpy(), (s[met] / norms[met]).numpy()

    def _nearest(self, v: Tensor) -> tuple[Tensor, int, float]:
        c, s = self._constraints
        p = self.space.project(v).flatten().numpy()
        whole = v.flatten().numpy()
        if not len(s) or not p.any():
            return torch.from_numpy(p).reshape(v.shape), 0, 0.0

        def dual(multipliers: Array) -> tuple[float, Array]:
            point = p - c.T @ multipliers
            return 0.5 * float(point @ point) + float(s @ multipliers), s - c @ point

        start = scipy.optimize.minimize(
            dual, np.zeros(len(s)), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(s),
            options={"maxiter": 200, "ftol": 1e-12, "gtol": 1e-9 * float(np.linalg.norm(p)), "maxcor": 20},
        ).x  # fmt: skip
        multipliers, rounds = _active_set(c, s, p, start)
        candidates = [_scaled(p - c.T @ each, c, s) for each in (multipliers, start)]
        if rounds == ROUNDS:
            basis = self.space.basis().flatten(1).numpy()
            candidates.append(_scaled(basis.T @ _least_distance(c @ basis.T, s, basis @ p), c, s))
        point = min(candidates, key=lambda each: float(np.linalg.norm(whole - each)))
        lowest = min(dual(multipliers)[0], dual(start)[0])
        if rounds == ROUNDS:
            lowest = min(lowest, dual(_multipliers(c, s, p, point))[0])
        gap = 0.5 * float((whole - point) @ (whole - point)) - 0.5 * float(whole @ whole) + lowest
        optimality = float(np.sqrt(2 * max(gap, 0.0)) / np.linalg.norm(whole))
        return torch.from_numpy(point).reshape(v.shape), rounds, optimality


def _rows(operator: LinearMap, index: Tensor) -> Tensor:
    """Rows of a map's matrix, ``(k, *in_shape)``."""
    found = []
    for part in index.split(512):
        unit = torch.zeros(len(part), operator.out_dim, dtype=torch.float64)
        unit[torch.arange(len(part)), part] = 1.0
        found.append(operator.adjoint(unit.view(len(part), *operator.out_shape)))
    return torch.cat(found) if found else torch.zeros(0, *operator.in_shape, dtype=torch.float64)


def _active_set(c: Array, s: Array, p: Array, start: Array) -> tuple[Array, int]:
    """Multipliers of the nearest point by the primal-dual active set method, and how often the set changed."""
    active = start > 1e-9 * max(float(np.abs(start).max()), 1e-300)
    size = FEASIBLE * float(np.linalg.norm(p))
    multipliers = start
    for rounds in range(ROUNDS):
        multipliers = np.zeros_like(s)
        rows = c[active]
        if len(rows):
            multipliers[active] = scipy.linalg.lstsq(rows @ rows.T, rows @ p - s[active], lapack_driver="gelsy")[0]
        exceeds = c @ (p - c.T @ multipliers) - s > size
        new = (active & (multipliers > 0)) | (~active & exceeds)
        if (new == active).all():
            return multipliers, rounds
        active = new
    return np.maximum(multipliers, 0), ROUNDS


def _least_distance(c: Array, s: Array, p: Array) -> Array:
    """The nearest point to p with C x ≤ s, by non-negative least squares."""
    rows = np.vstack([-c.T, c @ p - s])
    target = np.zeros(len(rows))
    target[-1] = 1
    rest = rows @ scipy.optimize.nnls(rows, target, maxiter=20 * rows.shape[1])[0] - target
    found: Array = p - rest[:-1] / rest[-1]
    return found


def _multipliers(c: Array, s: Array, p: Array, point: Array) -> Array:
    """Multipliers of the bounds that a point meets, whose rows make up what is between it and p."""
    met = c @ point >= s - 1e-9 * max(float(np.linalg.norm(p)), 1e-300)
    multipliers = np.zeros_like(s)
    if met.any():
        multipliers[met] = scipy.optimize.nnls(c[met].T, p - point, maxiter=20 * int(met.sum()))[0]
    return multipliers


def _scaled(point: Array, c: Array, s: Array) -> Array:
    """A point scaled down until no bound is exceeded but by rounding."""
    values = c @ point
    exceeds = values > s + FEASIBLE * float(np.linalg.norm(point))
    factor = float((s[exceeds] / values[exceeds]).min()) if exceeds.any() else 1.0
    return factor * point
