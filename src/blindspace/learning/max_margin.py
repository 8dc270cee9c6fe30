"""The network of largest margin, without training: a quadratic programme in one multiplier per sample.

Where the two-layer network has the activation pattern of its labels, y_n a_j w_j·x_n > 0 for all samples and neurons,
the neurons with one sign of a coincide, and the conditions of Karush, Kuhn and Tucker for the least weights with
y_n f(x_n) ≥ 1 become

    min ½ λᵀ Q λ − 1ᵀ λ over λ ≥ 0,    Q_ik = y_i y_k ⟨x_i, x_k⟩ c_ik,

with c = (1 + γ²)/2 for equal labels and c = γ for different ones. As φ is increasing, f(x) and ⟨q, x⟩ with
q = Σ λ_n y_n x_n then have one sign for every x. A linear solve is enough if Q⁻¹ 1 > 0. Else, where Q is positive
definite, principal pivoting finds the positive multipliers by a few linear solves, all exchanges at once (Júdice and
Pires 1994; Kim and Park 2011). Elsewhere the programme is the dual of least distance programming, and so a non-negative
least-squares problem (Lawson and Hanson 1974, chapter 23).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from ..errors import NotSeparableError
from .two_layer import TwoLayer, labelled, slope_of, slopes

TOLERANCE = 1e-6
"""Largest violation of the optimality conditions, relative to margins of 1, that counts as a solution."""

PRECISE, TIE = 1e-10, 1e-12
"""Largest violation up to which what principal pivoting finds is taken, and that up to which a margin counts as 1."""

EXCHANGES = 10
"""Largest number of exchanges in a row without fewer wrong signs than before."""

SEPARABLE = 1e-10
"""Smallest distance in the least-squares problem, relative to that without any sample, that is distinguished from 0."""


@dataclass(frozen=True)
class MaxMargin:
    """The solution of the quadratic programme.

    Attributes:
        multipliers: λ ≥ 0, float64 ``(N,)``.
        direction: q = Σ λ_n y_n x_n, float64 ``(d,)``.
        network: The network with these multipliers; two neurons, which stand for all with their sign of the readout.
        residual: Largest violation of its optimality conditions: of Qλ ≥ 1, and of λ (Qλ − 1) = 0 relative to the
            largest multiplier.
        method: ``linear solve``, ``principal pivoting`` or ``non-negative least squares``.
        margin: 1/‖W‖, the least distance y f(x)/‖W‖ in the structure that is assumed.
        pattern: Share of samples and neurons that have the activation pattern that is assumed.
    """

    multipliers: Tensor
    direction: Tensor
    network: TwoLayer
    residual: float
    method: str
    margin: float
    pattern: float

    @property
    def exact(self) -> bool:
        """Whether the assumed pattern holds, so that these multipliers are a solution for the network itself."""
        return self.pattern == 1.0


def max_margin(x: Tensor, y: Tensor, slope: float) -> MaxMargin:
    """Solve the quadratic programme of a data set.

    Args:
        x: Samples ``(N, *shape)``.
        y: Labels −1 and 1, ``(N,)``.
        slope: γ of the leaky ReLU, in (0, 1].

    Raises:
        NotSeparableError: No weights reach a margin of 1 in this structure, so that there is no solution.
        ShapeError: There is not one label per sample.
        ValueRangeError: A label is neither −1 nor 1, a sample is not finite, or the slope is outside (0, 1].
    """
    slope, (x, y) = slope_of(slope), labelled(x, y)
    q = gram(x, y, slope)
    factor, singular = torch.linalg.cholesky_ex(q)
    one = x.new_ones(len(x), 1)
    multipliers = torch.cholesky_solve(one, factor)[:, 0] if not int(singular) else -one[:, 0]
    method = "linear solve"
    if float(multipliers.min()) <= 0 or _violation(q, multipliers) > TOLERANCE:
        pivoted = None if int(singular) else _pivoted(q, multipliers)
        if pivoted is None:
            multipliers, method = _non_negative(q), "non-negative least squares"
        else:
            multipliers, method = pivoted, "principal pivoting"
    residual = _violation(q, multipliers)
    if residual > TOLERANCE:
        raise _not_separable(x)
    weights = torch.stack([slopes(y > 0, slope), -slopes(y < 0, slope)]) * (multipliers * y) @ x / sqrt(2)
    of_sign = torch.stack([y, -y], 1)
    return MaxMargin(
        multipliers,
        (multipliers * y) @ x,
        TwoLayer.of(weights, slope),
        residual,
        method,
        1 / sqrt(float(multipliers.sum())),
        float((x @ weights.T * of_sign > 0).double().mean()),
    )


def gram(x: Tensor, y: Tensor, slope: float) -> Tensor:
    """Q of the quadratic programme, float64 ``(N, N)``; arguments as of ``max_margin``."""
    positive, negative = slopes(y > 0, slope), slopes(y < 0, slope)
    both = (torch.outer(positive, positive) + torch.outer(negative, negative)) / 2  # c of the module's formula
    return torch.outer(y, y) * (x @ x.T) * both


def _violation(q: Tensor, multipliers: Tensor) -> float:
    margins = q @ multipliers - 1
    slack = (multipliers * margins).abs().max() / multipliers.abs().max().clamp(min=1e-300)
    return float(torch.maximum((-margins).max(), slack))


def _pivoted(q: Tensor, multipliers: Tensor) -> Tensor | None:
    """The solution for a positive definite Q from its Q⁻¹ 1 on; None where rounding keeps the exchanges from an end.

    Multipliers of one set are 0, and the margins of the others 1. Whatever has the wrong sign changes its set, until
    that no longer helps for ``EXCHANGES`` times.
    """
    positive = multipliers > 0
    wrong, fewest, left = int((~positive).sum()), len(q), EXCHANGES
    while wrong:
        if wrong < fewest:
            fewest, left = wrong, EXCHANGES
        elif not left:
            return None
        else:
            left -= 1
        some = positive.nonzero()[:, 0]
        part = q[some][:, some]
        factor, singular = torch.linalg.cholesky_ex(part)
        if int(singular) or not len(some):
            return None
        one = q.new_ones(len(some), 1)
        found = torch.cholesky_solve(one, factor)
        found += torch.cholesky_solve(one - part @ found, factor)  # what the first solve left to rounding
        multipliers = torch.zeros_like(multipliers).index_put_((some,), found[:, 0])
        inside = torch.where(positive, multipliers < 0, q @ multipliers < 1 - TIE)
        wrong = int(inside.sum())
        positive = positive ^ inside
    return multipliers if _violation(q, multipliers) <= PRECISE else None


def _non_negative(q: Tensor) -> Tensor:
    """Least distance programming: with Q = RᵀR scaled to a mean diagonal of 1, min ‖R λ‖² + (1ᵀλ − 1)² over λ ≥ 0.

    At the minimum Q λ ≥ 1 − 1ᵀλ, with equality where λ > 0, so that λ / (1 − 1ᵀλ) solves the programme; 1 − 1ᵀλ is the
    squared distance, and 0 if no weights separate the samples.
    """
    count, scale = len(q), float(q.diagonal().mean())
    values, vectors = torch.linalg.eigh(q / max(scale, 1e-300))
    kept = values > values[-1] * 1e-13
    root = (vectors[:, kept] * values[kept].sqrt()).T
    rows = np.concatenate([root.cpu().numpy(), np.ones((1, count))])
    target = np.zeros(len(rows))
    target[-1] = 1
    try:
        found = torch.from_numpy(nnls(rows, target, maxiter=30 * count)[0]).to(q.device)
    except RuntimeError:  # the iteration has no end where the distance is 0 but for rounding
        raise _not_separable(q) from None
    distance = 1 - float(found.sum())
    if distance < SEPARABLE:
        raise _not_separable(q)
    some = found > 0
    multipliers = found / distance / scale
    # Its own normal equations are more accurate than the iteration that found the samples with positive multipliers.
    refined = torch.linalg.lstsq(q[some][:, some], q.new_ones(int(some.sum()), 1)).solution[:, 0]
    if float(refined.min()) > 0:
        better = torch.zeros_like(multipliers)
        better[some] = refined
        if _violation(q, better) < _violation(q, multipliers):
            return better
    return multipliers


def _not_separable(samples: Tensor) -> NotSeparableError:
    return NotSeparableError(
        f"no weights separate the {len(samples)} samples with the activation pattern of their labels: there is no "
        "solution in this structure; take fewer samples, or gradient descent"
    )
