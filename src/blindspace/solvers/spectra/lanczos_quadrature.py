"""The number of singular values up to ε of a large map, estimated from random vectors, with bounds.

Known as stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017), here with Gauss–Radau bounds (Golub & Meurant,
Matrices, Moments and Quadrature with Applications, 2010). For a random vector u let μ be the distribution of its energy
over the singular values of A. Lanczos bidiagonalisation (Golub & Kahan 1965) of A from u gives the first moments of μ
as a Jacobi matrix T; it uses A itself, so σ is resolved to rounding and not to its square root. Of all distributions
with these moments the Gauss–Radau rule with a node at ε has the least mass below ε and the most up to it (Chebyshev,
Markov & Stieltjes): so each vector gives two certain bounds on its share of energy at σ ≤ ε.

The share s of Gaussian vectors' energy in a subspace of dimension d out of N is Beta distributed, for k vectors
together as Beta(k d / 2, k (N − d) / 2), exactly. The 95 % interval consists of all d for which the observed share is
not in a tail of 2.5 %; the two bounds above widen it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...errors import seed_of
from ...maps import LinearMap
from ..dense_algebra.products import norms, per_image

TAIL = 0.025  # Probability on either side of the interval
PRECISE = 3e5  # Number of probes times dimension: at half of all directions the interval is then some ± 0.25 % of them
PROBES = (2, 64)  # Smallest and largest number of random vectors
STEPS = (16, 256)  # Smallest and largest number of steps; values some 3 ‖A‖ / steps apart can be distinguished

WORK = 2e11
"""Floating-point operations that a run may take, half a minute on one core, …"""

TRAFFIC = 50.0
"""… of which moving one value in memory counts as this many."""

SAME = 1e-12  # Distance from ε, as a share of ‖T‖, up to which nodes count as being at ε
ROUNDING = 1e-10  # Share of energy that may be due to rounding alone

Array = np.ndarray


class Quadrature:
    """Counts of singular values up to any bound, from one run of Lanczos bidiagonalisation.

    Args:
        operator: The linear map A.
        seed: Seed of the random vectors.
        probes: Smallest and largest number of random vectors.
        steps: Smallest and largest number of steps of the bidiagonalisation.

    Attributes:
        size: Number N = min(m, n) of singular values.
        probes: Number k of random vectors.
        steps: Number of steps taken from each.
        off_diagonal: Off-diagonals of the Jacobi matrices, whose diagonals are 0, ``(k, 2 · steps)``; the last entry
            of each couples the matrix to the next step.
        shares: Share of the energy of all vectors that each has, ``(k,)``.
    """

    def __init__(
        self,
        operator: LinearMap,
        seed: int = 0,
        probes: tuple[int, int] = PROBES,
        steps: tuple[int, int] = STEPS,
    ) -> None:
        self.size = min(operator.in_dim, operator.out_dim)
        self.probes = int(np.clip(ceil(PRECISE / self.size), *probes))
        self.steps = int(np.clip(WORK / (self.probes * _work(operator)), *steps))
        wide = operator.out_dim < operator.in_dim
        shape = operator.out_shape if wide else operator.in_shape
        generator = torch.Generator().manual_seed(seed_of(seed))
        start = torch.randn(self.probes, *shape, generator=generator, dtype=torch.float64)
        energy = norms(start).square()
        self.shares = (energy / energy.sum()).numpy()
        there, back = (operator._adjoint, operator._forward) if wide else (operator._forward, operator._adjoint)
        self.off_diagonal = _bidiagonal(start, there, back, self.steps)

    @property
    def method(self) -> str:
        """The method, in words."""
        return f"Lanczos quadrature, {self.probes} random vectors of {self.steps} steps"

    def share(self, bound: float) -> tuple[float, float]:
        """Lower and upper bound on the share of the vectors' energy at σ ≤ bound."""
        # The eigenvalues of [[0, A], [Aᵀ, 0]] are ± σ, so a share μ of σ below a bound is (1 + μ) / 2 of them.
        each = np.array([_radau(off, bound) for off in self.off_diagonal])
        low, high = np.clip(2 * self.shares @ each - 1, 0, 1)
        return float(low), float(high)

    def up_to(self, bound: float) -> tuple[int, int, int]:
        """The number of the N singular values up to ``bound``: lower end of a 95 % interval, estimate, upper end."""
        low, high = self.share(bound)
        count = round(self.size * (low + high) / 2)
        return self._at_least(low - ROUNDING), count, self.size - self._at_least(1 - high - ROUNDING)

    def rule(self) -> tuple[Array, Array]:
        """The Gauss rules of all vectors together: nodes σ, descending, and the number of singular values of each."""
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
        """The smallest dimension d for which so large a share of the energy is not among the rarest 2.5 %."""
        if share <= 0:
            return 0
        from scipy.special import betaincc  # a tenth of a second, which only estimates need

        low, high = 0, self.size  # too few; enough
        while high - low > 1:
            d = (low + high) // 2
            k = self.probes / 2
            rare = betaincc(k * d, k * (self.size - d), min(share, 1.0)) <= TAIL
            low, high = (d, high) if rare else (low, d)
        return high


def _work(operator: LinearMap) -> float:
    """Floating-point operations of one product with A and one with Aᵀ."""
    with FlopCounterMode(display=False) as counter:
        operator._forward(torch.zeros(1, *operator.in_shape, dtype=torch.float64))
    return float(2 * counter.get_total_flops() + TRAFFIC * (operator.in_dim + operator.out_dim))


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors ``(k, *shape)`` scaled to length 1, zero vectors left as they are, and their lengths."""
    lengths = norms(x)
    return x / per_image(lengths.clamp_min(torch.finfo(x.dtype).tiny), x), lengths


def _bidiagonal(
    start: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], steps: int
) -> Array:
    """The entries α₁, β₁, α₂, β₂, … of the bidiagonal matrix, for each vector ``(k, *shape)``; ``(k, 2 · steps)``.

    Nothing is reorthogonalised: the loss of orthogonality shows as copies of nodes already found, which share their
    weight (Greenbaum 1989).
    """
    u, _ = _unit(start)
    v, alpha = _unit(there(u))
    found = np.empty((len(start), 2 * steps))  # allocated first: small tensors between large ones fragment the memory
    for step in range(steps):
        found[:, 2 * step] = alpha
        u, beta = _unit(back(v) - u * per_image(alpha, u))
        found[:, 2 * step + 1] = beta
        v, alpha = _unit(there(u) - v * per_image(beta, v))
    return found


def _radau(off_diagonal: Array, bound: float) -> tuple[float, float]:
    """Weight of a Gauss–Radau rule with a prescribed node: below the node, and up to it.

    The Jacobi matrix has zeros on its diagonal; the last entry of its off-diagonal couples it to the next step.
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
