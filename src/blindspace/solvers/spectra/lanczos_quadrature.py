"""How many singular values of a large map are at most ε, estimated from random vectors, with bounds.

For a random vector u let μ be the distribution of its energy over the singular values of A. Lanczos bidiagonalisation
(Golub and Kahan, 1965) of A from u gives the first moments of μ as a Jacobi matrix T; it works on A itself, so σ is
resolved to rounding and not to its root. Of all distributions with these moments the Gauss–Radau rule with a node at ε
has the least mass below ε and the most up to it (Chebyshev, Markov and Stieltjes; Golub and Meurant, Matrices, Moments
and Quadrature, 2010): so each vector gives two certain bounds on its share of energy at σ ≤ ε.

The share s of Gaussian vectors' energy in a subspace of dimension d out of N is Beta distributed, for k vectors
together as Beta(k d / 2, k (N − d) / 2), exactly. The d for which what was seen is not in a tail of 2.5 % are the 95 %
interval; the two bounds above widen it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import scipy.linalg
import scipy.special
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...maps import LinearMap

TAIL = 0.025
"""On either side of the interval."""

PRECISE = 3e5
"""Probes times dimension: at half of all directions the interval is then some ± 0.25 % of them."""

PROBES = (2, 64)
"""How many there are at least and at most."""

STEPS = (16, 256)
"""Of the bidiagonalisation, at least and at most; two values can be told apart some 3 ‖A‖ / steps from one another."""

WORK = 2e11
"""Floating-point operations to be spent, half a minute on one core, …"""

TRAFFIC = 50.0
"""… of which moving a value about counts for so many."""

SAME = 1e-12
"""Nodes no further from ε, as a share of ‖T‖, are at ε."""

ROUNDING = 1e-10
"""A share of energy that may be rounding alone."""

Array = np.ndarray


class Quadrature:
    """Counts of singular values up to any bound, from one run of Lanczos bidiagonalisation.

    Args:
        operator: A.
        seed: of the random vectors.

    Attributes:
        size: N = min(m, n), the number of singular values.
        probes: k, random vectors.
        steps: taken from each.
        off_diagonal: of the Jacobi matrices, whose diagonal is 0, ``(k, 2 · steps)``; the last one leads out of them.
        shares: of the energy of all vectors that each has, ``(k,)``.
    """

    def __init__(self, operator: LinearMap, seed: int = 0) -> None:
        self.size = min(operator.in_dim, operator.out_dim)
        self.probes = int(np.clip(ceil(PRECISE / self.size), *PROBES))
        self.steps = int(np.clip(WORK / (self.probes * _work(operator)), *STEPS))
        wide = operator.out_dim < operator.in_dim
        shape = operator.out_shape if wide else operator.in_shape
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(self.probes, *shape, generator=generator, dtype=torch.float64)
        energy = _norms(start).square()
        self.shares = (energy / energy.sum()).numpy()
        there, back = (operator._adjoint, operator._forward) if wide else (operator._forward, operator._adjoint)
        self.off_diagonal = _bidiagonal(start, there, back, self.steps)

    @property
    def method(self) -> str:
        """What it is, in words."""
        return f"Lanczos quadrature, {self.probes} random vectors of {self.steps} steps"

    def share(self, bound: float) -> tuple[float, float]:
        """Share of the vectors' energy at σ ≤ bound: at least and at most."""
        # The eigenvalues of [[0, A], [Aᵀ, 0]] are ± σ, so a share μ of σ below a bound is (1 + μ) / 2 of them.
        each = np.array([_radau(off, bound) for off in self.off_diagonal])
        low, high = np.clip(2 * self.shares @ each - 1, 0, 1)
        return float(low), float(high)

    def up_to(self, bound: float) -> tuple[int, int, int]:
        """How many of the N singular values are at most ``bound``: 95 % interval with an estimate in it.

        Returns:
            Lower end, estimate, upper end.
        """
        low, high = self.share(bound)
        count = round(self.size * (low + high) / 2)
        return self._at_least(low - ROUNDING), count, self.size - self._at_least(1 - high - ROUNDING)

    def rule(self) -> tuple[Array, Array]:
        """Nodes σ, descending, and how many singular values each stands for: those of the Gauss rules together."""
        nodes, weights = [], []
        for off, share in zip(self.off_diagonal, self.shares, strict=True):
            values, vectors = scipy.linalg.eigh_tridiagonal(np.zeros(len(off)), off[:-1])
            half = len(values) // 2  # they come in pairs ± σ
            nodes.append(values[half:])
            weights.append(2 * share * vectors[0, half:] ** 2)
        sigma, counts = np.concatenate(nodes), np.concatenate(weights) * self.size
        order = np.argsort(-sigma)
        return np.maximum(sigma[order], 0), counts[order]

    def _at_least(self, share: float) -> int:
        """The smallest dimension d in which so large a share of the energy is not one of the rarest 2.5 %."""
        if share <= 0:
            return 0
        low, high = 0, self.size  # too few; enough
        while high - low > 1:
            d = (low + high) // 2
            k = self.probes / 2
            rare = scipy.special.betaincc(k * d, k * (self.size - d), min(share, 1.0)) <= TAIL
            low, high = (d, high) if rare else (low, d)
        return high


def _work(operator: LinearMap) -> float:
    """Floating-point operations of one forward and one adjoint of a vector."""
    with FlopCounterMode(display=False) as counter:
        operator._forward(torch.zeros(1, *operator.in_shape, dtype=torch.float64))
    return float(2 * counter.get_total_flops() + TRAFFIC * (operator.in_dim + operator.out_dim))


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors ``(k, *shape)`` of length 1, or 0 where they are 0, and their lengths."""
    norms = _norms(x)
    return x / norms.clamp_min(torch.finfo(x.dtype).tiny).reshape(-1, *[1] * (x.ndim - 1)), norms


def _bidiagonal(
    start: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], steps: int
) -> Array:
    """The entries α₁, β₁, α₂, β₂, … of the bidiagonal matrix, for each vector ``(k, *shape)``; ``(k, 2 · steps)``.

    Nothing is orthogonalised again: what is lost that way shows as copies of nodes already found, which share their
    weight (Greenbaum, 1989).
    """

    def times(x: Tensor, factors: Tensor) -> Tensor:
        return x * factors.reshape(-1, *[1] * (x.ndim - 1))

    u, _ = _unit(start)
    v, alpha = _unit(there(u))
    found = np.empty((len(start), 2 * steps))  # made beforehand: small tensors between large ones scatter the memory
    for step in range(steps):
        found[:, 2 * step] = alpha
        u, beta = _unit(back(v) - times(u, alpha))
        found[:, 2 * step + 1] = beta
        v, alpha = _unit(there(u) - times(v, beta))
    return found


def _radau(off_diagonal: Array, bound: float) -> tuple[float, float]:
    """Weight of a Gauss–Radau rule with a node at ``bound`` below it, and up to it.

    Args:
        off_diagonal: of a Jacobi matrix with zeros on its diagonal, ``(n,)``; the last entry leads out of it.
        bound: where the node is to be.
    """
    largest = float(off_diagonal.max())
    if largest == 0:
        return (1.0, 1.0) if bound > 0 else (0.0, 1.0)
    pivot = -bound
    for entry in off_diagonal[:-1]:
        pivot = -bound - entry**2 / (pivot or SAME * largest)
    diagonal = np.zeros(len(off_diagonal) + 1)
    diagonal[-1] = bound + off_diagonal[-1] ** 2 / (pivot or SAME * largest)
    nodes, vectors = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal)
    near = SAME * 2 * largest
    weights = vectors[0] ** 2
    return float(weights[nodes < bound - near].sum()), float(weights[nodes <= bound + near].sum())
