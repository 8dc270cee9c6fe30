"""The image in a range nearest to x that a linear map takes to t, to a tolerance ε: dual Newton, then primal repair.

The dual has one unknown μ per output, no bounds, and a gradient that is piecewise linear:

    y(μ) = clip(x + Aᵀ μ),    t − A y(μ) − z(μ),    z(μ) = clip(μ / κ, −ε, ε) + ρ μ.

ρ > 0 keeps it bounded where no image in the range is taken to t. Semismooth Newton steps (Qi and Sun, A nonsmooth
version of Newton's method, Mathematical Programming 58, 1993), computed by conjugate gradients, solve it for a large ρ
in few products, and smaller ones from there.

What is missing at y(μ) is then made up for by projected gradients on ½ (t − A y)ᵀ W (t − A y), W ≈ (A Aᵀ)⁻¹, with
momentum (FISTA; Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM Journal on Imaging Sciences
2, 2009) and restarts (O'Donoghue and Candès, Adaptive restart for accelerated gradient schemes, 2015). That ends near
y(μ), and how much nearer to x any image with the same deviations d could be is bounded by weak duality with the same μ:

    ½ ‖y − x‖² − ½ ‖y(μ) − x‖² − ⟨μ, t − A y(μ)⟩ + Σ |μ| max(|d|, ε).

What no repair makes up for is out of reach, and would need ever larger μ: then A y takes the place of t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..solvers.projectors.krylov import pcg
from .clipped_products import Clipped
from .moved import Moved

SOFT = (1e-1, 1e-2, 1e-3, 1e-4)
"""ρ, one after the other, as a share of the mean squared norm of the rows."""

ROUGH = 1e-2
"""Duality gap at which those but the last end, as a share of ‖y − x‖²."""

STIFF = 1e-3
"""κ, the weight of a deviation that is allowed, as a share of the rows' mean squared norm."""

ENOUGH, ROUNDING, HALVINGS = 1e-4, 1e-14, 30
"""A step is halved, this often at most, until the dual rises by this share of what the slope predicts (Armijo); share
of the dual's value that is rounding."""

FORCING = 0.1
"""Residual of the first Newton step, as a share of the gradient's norm."""

REPAIRS, PLAIN = 40, 2
"""Largest number of projected gradients, and of those without momentum."""

STILL = 3e-4
"""Movement by one of them, as a share of ‖y − x‖, at which they end."""

OUT_OF_REACH = 0.1
"""Share of what is missing before the first repair above which what is missing after it counts as out of reach."""

TINY = 1e-300


@dataclass(frozen=True)
class Projection:
    """The problem for one map.

    Attributes:
        map: A with the range.
        tolerance: ε.
    """

    map: Clipped
    tolerance: float

    @property
    def stiff(self) -> float:
        """κ."""
        return STIFF * self.map.scale

    def solve(self, x: Tensor, t: Tensor, accuracy: float, iterations: int, inner: int) -> tuple[Tensor, Moved]:
        """The image nearest to one, or the best that so many iterations find.

        Args:
            x: Image in the range, ``(1, *in_shape)`` float64.
            t: Wanted values, ``(1, *out_shape)``.
            accuracy: Gap at which the iteration ends, as a share of ‖y − x‖².
            iterations: Largest number of Newton steps.
            inner: Largest number of steps of conjugate gradients per Newton step.
        """
        read, _ = self.map.forward(x, torch.zeros_like(t))
        start = self._beyond(t - read)
        size, step, products = float(start.norm()), 0, 3
        if not size:
            return x, Moved(0.0, 0.0, _largest(t - read), 0, 1)
        at = self._dual(x, t, self.map.inverse(start), SOFT[0] * self.map.scale)
        short = torch.zeros_like(t)
        for soft in SOFT:
            last = soft == SOFT[-1]
            at = self._weighed(at.mu, at.missing, at.change, soft * self.map.scale)
            while step < iterations and at.gap > (accuracy if last else ROUGH):
                at, used = self._step(x, t, at, soft * self.map.scale, size, inner)
                step, products = step + 1, products + used
            if not last:
                image, read, moved = self._repaired(x, t, at, accuracy)
                products += moved.products
                if moved.gap <= accuracy * moved.change:
                    deviation = _largest(t + short - read)
                    return image, replace(moved, deviation=deviation, iterations=step, products=products)
                left = self._beyond(t - read)
                if soft == SOFT[0] and left.norm() > OUT_OF_REACH * self._beyond(at.missing).norm():
                    # No multiplier would ever be large enough for this; what can be reached takes its place.
                    short, t = left, t - left
                    at = replace(at, missing=at.missing - left)
        deviation = _largest(at.missing + short)
        return self.map.image(x, at.mu)[0], Moved(at.gap * at.change, at.change, deviation, step, products + 2)

    def _step(self, x: Tensor, t: Tensor, at: _Dual, soft: float, start: float, inner: int) -> tuple[_Dual, int]:
        """One Newton step, and its products."""
        gram, main = self.map.hessian(x, at.mu)
        diagonal = (at.mu.abs() < self.stiff * self.tolerance).double() / self.stiff + soft
        inverse = None if main is None else 1 / (main + diagonal)

        def hessian(v: Tensor) -> Tensor:
            return torch.addcmul(gram(v), diagonal, v)

        def scaled(v: Tensor) -> Tensor:
            return v if inverse is None else inverse * v

        # Inexact Newton: the nearer the end, the more exact a step is worth computing.
        size = at.slope.norm()
        near = (FORCING * size * (size / start).clamp(max=1)).reshape(1)
        direction, used = pcg(hessian, at.slope, scaled, near, inner)
        share, products = 1.0, 2 * used + 1
        for _ in range(HALVINGS):
            mu = at.mu + share * direction
            if self.tolerance:
                # Beyond 0 the other side of the tolerance counts, of which the direction knows nothing.
                mu = torch.where((mu * at.mu < 0) & (at.mu.abs() >= self.stiff * self.tolerance), 0.0, mu)
            tried = self._dual(x, t, mu, soft)
            products += 2
            rise = max(float((at.slope * (mu - at.mu)).sum()), 0.0)
            if tried.value >= at.value + ENOUGH * rise - ROUNDING * abs(at.value):
                break
            share /= 2
        return tried, products

    def _repaired(self, x: Tensor, t: Tensor, at: _Dual, accuracy: float) -> tuple[Tensor, Tensor, Moved]:
        """The image y of a μ, moved to where less is missing, and A y.

        It ends where y hardly moves, or where the gap is above the accuracy although t seems to be within reach.
        """
        bound = 0.5 * at.change + float((at.mu * at.missing).sum())
        weights = at.mu.abs()
        y, read = self.map.image(x, at.mu)
        last, before, work = torch.empty_like(y), read, torch.empty_like(y)  # large, so they are used over and over
        left = first = float(self._beyond(t - read).norm())
        moved, momentum, products = math.inf, 1.0, 2
        for step in range(REPAIRS + 1):
            change = _square(torch.sub(y, x, out=work))
            spent = float((weights * (t - read).abs().clamp(min=self.tolerance)).sum())
            gap = max(0.5 * change - bound + spent, 0.0)
            too_far = gap > accuracy * change and left <= OUT_OF_REACH * first
            if too_far or moved <= STILL**2 * change or step == REPAIRS:
                break
            # The first steps are large, and momentum would carry them past the tolerance.
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2 if step >= PLAIN else 1.0
            share, momentum = (momentum - 1) / following, following
            missing = self._beyond(t - read - share * (read - before))
            point = torch.lerp(last, y, 1 + share, out=work) if share else y
            made, found = self.map.image(point, self.map.inverse(missing), last)
            moved = _square(torch.sub(made, y, out=work))
            y, last, read, before = made, y, found, read
            products += 2
            earlier, left = left, float(self._beyond(t - read).norm())
            if left > earlier:
                momentum = 1.0
        return y, read, Moved(gap, change, _largest(t - read), 0, products)

    def _beyond(self, missing: Tensor) -> Tensor:
        """What is missing beyond the tolerance."""
        return missing - missing.clamp(-self.tolerance, self.tolerance)

    def _dual(self, x: Tensor, t: Tensor, mu: Tensor, soft: float) -> _Dual:
        """The dual at μ."""
        read, change = self.map.forward(x, mu)
        return self._weighed(mu, t - read, change, soft)

    def _weighed(self, mu: Tensor, missing: Tensor, change: float, soft: float) -> _Dual:
        """The dual where A y and ‖y − x‖² are known."""
        allowed = (mu / self.stiff).clamp(-self.tolerance, self.tolerance)
        # The value of the inner minimum; z's part is ⟨μ, z⟩ minus its cost.
        given = allowed * mu - 0.5 * self.stiff * allowed.square() + 0.5 * soft * mu.square()
        value = 0.5 * change + float((mu * missing - given).sum())
        free_of_charge = missing.clamp(-self.tolerance, self.tolerance)
        cost = 0.5 * self.stiff * _square(free_of_charge) + 0.5 * _square(missing - free_of_charge) / soft
        gap = max(0.5 * change + cost - value, 0.0) / max(change, TINY)
        return _Dual(mu, missing, change, value, missing - allowed - soft * mu, gap)


@dataclass(frozen=True)
class _Dual:
    """The dual at one μ: what is missing, ‖y − x‖², the value, the gradient, and the gap as a share of ‖y − x‖²."""

    mu: Tensor
    missing: Tensor
    change: float
    value: float
    slope: Tensor
    gap: float


def _largest(v: Tensor) -> float:
    return float(v.abs().max()) if v.numel() else 0.0


def _square(v: Tensor) -> float:
    flat = v.flatten()
    return float(flat.dot(flat))
