"""The image nearest to a given one that a linear map takes to given values, within the pixel range.

Known as the projection onto a polyhedron, by a semismooth Newton method on its dual (Qi & Sun, A nonsmooth version of
Newton's method, Mathematical Programming 58, 1993), whose steps are computed by conjugate gradients. The dual has one
unknown μ per output, no bounds, and a gradient that is piecewise linear:

    y(μ) = clip(x + Aᵀ μ),    t − A y(μ) − z(μ),    z(μ) = clip(μ / κ, −ε, ε) + ρ μ,

where ε is the deviation that is allowed for free. ρ > 0 keeps the dual bounded where no image in the range is taken to
the values: then ρ μ is what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError, real
from ..maps import Kronecker, LinearMap
from ..maps.linear_map import checked
from ..progress import Progress
from ..solvers.projectors.krylov import pcg

SOFT = 1e-4
"""ρ as a share of the mean squared norm of the rows: where t can be reached, about so little of t − A x is missing."""

SOFTER = (1e3, 1e2, 1e1)
"""Multiples of ρ that are solved first, roughly: what is out of reach would take a single step far away."""

ROUGH = 1e-2
"""Duality gap at which those end, as a share of ‖y − x‖²."""

STIFF = 1e-3
"""κ, the weight of a deviation that is allowed, as a share of the rows' mean squared norm."""

ENOUGH, ROUNDING, HALVINGS = 1e-4, 1e-14, 30
"""A step is halved, this often at most, until the dual rises by this share of what the slope predicts (Armijo); share
of the dual's value that is rounding."""

FORCING = 0.1
"""Residual of the first Newton step, as a share of the gradient's norm."""

TINY = 1e-300


@dataclass(frozen=True)
class Preimage:
    """Result of ``nearest_preimage``.

    Attributes:
        images: Inside the range to the last bit, float64 ``(B, *in_shape)``.
        deviation: Largest |A y − t| of each image, ``(B,)``.
        gap: Bound on how much nearer an image with the same deviations could be, as a share of ‖y − x‖², the largest
            over the batch: the duality gap.
        iterations: Newton steps of the image that took most.
        products: Products with A and with Aᵀ of each image, counted together.
    """

    images: Tensor
    deviation: Tensor
    gap: float
    iterations: int
    products: int


def nearest_preimage(
    operator: LinearMap,
    images: Tensor,
    wanted: Tensor,
    tolerance: float = 0.0,
    *,
    low: float = 0.0,
    high: float = 1.0,
    accuracy: float = 1e-3,
    iterations: int = 40,
    inner: int = 60,
    progress: Progress | None = None,
) -> Preimage:
    """The image y in the range with the least ‖y − x‖ such that |A y − t| ≤ tolerance, or as near to t as there is.

    Args:
        operator: The map A, such as a resize.
        images: x, ``(B, *in_shape)``, in the range.
        wanted: t, ``(B, *out_shape)``.
        tolerance: Largest deviation per output that is allowed, ≥ 0.
        low: Lower end of the range.
        high: Upper end of the range.
        accuracy: Duality gap, as a share of ‖y − x‖², at which the iteration ends; then the nearest image is no more
            than half that share nearer.
        iterations: Largest number of Newton steps.
        inner: Largest number of steps of conjugate gradients per Newton step.
        progress: Called before each image with images done, images in all and what is being done.

    Raises:
        ShapeError: Images or wanted values have another shape, or are not equally many.
        ValueRangeError: The tolerance is negative or not finite, or a value is outside the range or not finite.
    """
    x = checked(images, operator.in_shape, "image").detach().double()
    t = checked(wanted, operator.out_shape, "wanted value").detach().double().to(x.device)
    if len(x) != len(t):
        raise ShapeError(f"{len(x)} images need as many wanted values, got {len(t)}")
    tolerance = real(tolerance, "tolerance")
    if not tolerance >= 0:
        raise ValueRangeError(f"a tolerance is at least 0, got {tolerance}")
    if not bool(t.isfinite().all()):
        raise ValueRangeError("the wanted values hold NaN or infinite ones")
    if len(x) and not bool(((x >= low) & (x <= high)).all()):
        raise ValueRangeError(f"the images leave the range from {low:g} to {high:g}")
    problem = _Problem.of(operator, tolerance, low, high)
    made, away = x.clone(), torch.zeros(len(x), dtype=torch.float64, device=x.device)
    gap, steps, products = 0.0, 0, 0
    for i in range(len(x)):
        if progress is not None:
            progress(i, len(x), "nearest images")
        read = problem.read(x[i : i + 1])
        y, found = problem.solve(read, t[i : i + 1], accuracy, iterations, inner)
        problem.write(made[i : i + 1], y)
        away[i] = (problem.operator.forward(y) - t[i : i + 1]).abs().max() if t[i].numel() else 0.0
        gap, steps, products = max(gap, found.gap), max(steps, found.iterations), products + found.products
    return Preimage(made, away, gap, steps, products // max(len(x), 1))


@dataclass
class _Found:
    gap: float
    iterations: int
    products: int


@dataclass
class _Problem:
    """One problem for images of a shape.

    Attributes:
        operator: A, on the values that it reads alone.
        squares: The map with the squared entries of A, if it is at hand.
        kept: Indices of the rows and columns that A reads; None for all values.
        tolerance: ε.
        soft: ρ.
        stiff: κ.
    """

    operator: LinearMap
    squares: LinearMap | None
    kept: list[Tensor] | None
    tolerance: float
    soft: float
    stiff: float
    low: float
    high: float

    @classmethod
    def of(cls, operator: LinearMap, tolerance: float, low: float, high: float) -> _Problem:
        """The problem, smaller where rows and columns of pixels are not read."""
        squares, kept = None, None
        if isinstance(operator, Kronecker):
            kept = [matrix.any(0).nonzero()[:, 0] for matrix in operator.matrices]
            parts = [matrix[:, read] for matrix, read in zip(operator.matrices, kept, strict=True)]
            shape = (*operator.in_shape[: operator.axes.start], *(len(read) for read in kept))
            operator, squares = Kronecker(parts, shape), Kronecker([part.square() for part in parts], shape)
        norms = squares.forward(torch.ones(1, *squares.in_shape, dtype=torch.float64)) if squares else torch.ones(1)
        scale = float(norms.mean())
        return cls(operator, squares, kept, tolerance, SOFT * scale, STIFF * scale, low, high)

    def read(self, x: Tensor) -> Tensor:
        """The values that A reads, of one image ``(1, *shape)``."""
        if self.kept is None:
            return x
        rows, columns = self._at(x)
        return x[..., rows, columns] if len(self.kept) == 2 else x[..., columns]

    def write(self, x: Tensor, values: Tensor) -> None:
        """Put values where A reads."""
        if self.kept is None:
            x.copy_(values)
        elif len(self.kept) == 2:
            rows, columns = self._at(x)
            x[..., rows, columns] = values
        else:
            x[..., self._at(x)[1]] = values

    def _at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert self.kept is not None
        *before, columns = [read.to(x.device) for read in self.kept]
        return (before[-1][:, None] if before else columns), columns

    def solve(self, x: Tensor, t: Tensor, accuracy: float, iterations: int, inner: int) -> tuple[Tensor, _Found]:
        """The nearest image to one, ``(1, *in_shape)``, and how it was found."""
        a, mu, products, step = self.operator, torch.zeros_like(t), 1, 0
        start = float((t - a.forward(x)).norm())
        for harder in (*SOFTER, 1.0):
            soft = harder * self.soft
            at = self._dual(x, t, mu, soft)
            products += 2
            while step < iterations and self._gap(x, at, soft) > (ROUGH if harder > 1 else accuracy):
                step += 1
                # At the bounds themselves a pixel counts as free: it may be about to leave them.
                free = ((at.pulled >= self.low) & (at.pulled <= self.high)).double()
                diagonal = (at.mu.abs() < self.stiff * self.tolerance).double() / self.stiff + soft
                inverse = 1 / (self.squares.forward(free) + diagonal) if self.squares else None

                def hessian(v: Tensor, free: Tensor = free, diagonal: Tensor = diagonal) -> Tensor:
                    return a.forward(free * a.adjoint(v)) + diagonal * v

                def scaled(v: Tensor, inverse: Tensor | None = inverse) -> Tensor:
                    return v if inverse is None else inverse * v

                # Inexact Newton: the nearer the end, the more exact a step is worth computing.
                size = at.slope.norm()
                near = (FORCING * size * (size / start).clamp(max=1)).reshape(1)
                direction, used = pcg(hessian, at.slope, scaled, near, inner)
                products += 2 * used
                rise, share = float((at.slope * direction).sum()), 1.0
                for _ in range(HALVINGS):
                    tried = self._dual(x, t, at.mu + share * direction, soft)
                    products += 2
                    if tried.value >= at.value + ENOUGH * share * rise - ROUNDING * abs(at.value):
                        break
                    share /= 2
                at = tried
            mu = at.mu
        return at.image, _Found(self._gap(x, at, soft), step, products)

    def _gap(self, x: Tensor, at: _Dual, soft: float) -> float:
        """The duality gap as a share of ‖y − x‖²; 0 where both are 0."""
        free_of_charge = at.missing.clamp(-self.tolerance, self.tolerance)
        cost = 0.5 * self.stiff * _square(free_of_charge) + 0.5 * _square(at.missing - free_of_charge) / soft
        change = _square(at.image - x)
        return max(0.5 * change + cost - at.value, 0.0) / max(change, TINY)

    def _dual(self, x: Tensor, t: Tensor, mu: Tensor, soft: float) -> _Dual:
        """The dual at μ."""
        pulled = x + self.operator.adjoint(mu)
        image = pulled.clamp(self.low, self.high)
        allowed = (mu / self.stiff).clamp(-self.tolerance, self.tolerance)
        missing = t - self.operator.forward(image)
        # The value of the inner minimum; z's part is ⟨μ, z⟩ minus its cost.
        given = allowed * mu - 0.5 * self.stiff * allowed.square() + 0.5 * soft * mu.square()
        value = 0.5 * _square(image - x) + float((mu * missing - given).sum())
        return _Dual(mu, pulled, image, missing, value, missing - allowed - soft * mu)


@dataclass(frozen=True)
class _Dual:
    """The dual at one μ: x + Aᵀ μ before and after clipping, what is missing, the value and the gradient."""

    mu: Tensor
    pulled: Tensor
    image: Tensor
    missing: Tensor
    value: float
    slope: Tensor


def _square(v: Tensor) -> float:
    return float(v.square().sum())
