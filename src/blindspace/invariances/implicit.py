"""The equations that a step must keep where there are many: products with Jacobians alone, no row is ever formed.

Both J v and Jᵀ w cost about as much as a run of the network, whatever the size of the image and the number of
equations. The systems J D Jᵀ of the nearest points of the box are solved by conjugate gradients, roughly: Newton's
method around them starts anew from where they end (Dembo, Eisenstat & Steihaug, Inexact Newton Methods, 1982). A
residual is in the range of J, so that equations which depend on one another do no harm. Singular values below a
ten-thousandth of the largest are not resolved: a residual along them stays, and the step is made shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from ..solvers.projectors.krylov import pcg
from .demands import Demands
from .equations import LinearEquations
from .linearised import Linearised

INNER = 400
"""Largest number of conjugate gradient steps per system."""

ALONG, FORCING = 1e-3, 0.1
"""Share of its residual at which they stop, for a direction and for a Newton step: the border of the box changes the
system from one to the next."""

EXACT, NEWTON = 1e-2, 8
"""Share of a residual that a correction may leave, and the largest number of Newton steps for it."""

RESOLVED = 1e-4
"""Share of ‖J‖ up to which singular values count as 0 where a direction is looked for."""

POWER = 3
"""Steps of the power method for ‖J‖."""


class Spending:
    """Products with Jacobians and their transposes, counted per image and bounded.

    Args:
        spent: Number of products of each image so far, int64 ``(B,)``; added to in place.
        limit: Number of products that no image may exceed by much.
    """

    def __init__(self, spent: Tensor, limit: int) -> None:
        self.spent, self.limit = spent, limit

    def add(self, image: int) -> None:
        """Count one product."""
        self.spent[image] += 1

    def steps(self, image: int) -> int:
        """Number of steps of conjugate gradients that are left, of two products each."""
        return max(self.limit - int(self.spent[image]), 0) // 2


class _One:
    """The Jacobian of one image, and rows beside it; vectors are ``(1, n)`` and ``(1, dim + d)``."""

    def __init__(
        self, demands: Demands, x: Tensor, scale: Tensor, beside: Tensor, image: int, spending: Spending
    ) -> None:
        self.image, self.spending = image, spending
        self._scale, self._shape, self._beside = scale, x.shape, beside
        self._push, self._pull = demands.push(x), demands.pull(x)

    def forward(self, v: Tensor) -> Tensor:
        self.spending.add(self.image)
        found = self._push(v.view(self._shape)) * self._scale
        return torch.cat([found, v @ self._beside.T], 1) if len(self._beside) else found

    def adjoint(self, w: Tensor) -> Tensor:
        self.spending.add(self.image)
        own = w[:, : self._scale.shape[1]]
        found = self._pull(own * self._scale).flatten(1)
        return found + w[:, own.shape[1] :] @ self._beside if len(self._beside) else found

    def solve(self, free: Tensor, g: Tensor, shift: Tensor, stop: float) -> Tensor:
        def gram(w: Tensor) -> Tensor:
            return self.forward(free * self.adjoint(w)) + shift * w

        return pcg(gram, g, None, stop * g.norm(dim=1), min(INNER, self.spending.steps(self.image)))[0]


class JacobianProducts(Linearised):
    """The Jacobians of several images by products, one image at a time.

    Args:
        each: The Jacobian of each image.
        norm: The largest ‖J‖ among them.
    """

    def __init__(self, each: Sequence[_One], norm: float) -> None:
        self.each, self._norm = each, norm

    def at(self, some: Tensor) -> JacobianProducts:
        """As ``Linearised.at``."""
        return JacobianProducts([self.each[i] for i in some.tolist()], self._norm)

    def forward(self, v: Tensor) -> Tensor:
        """As ``Linearised.forward``."""
        return torch.cat([one.forward(row) for one, row in zip(self.each, v.split(1), strict=True)])

    def adjoint(self, w: Tensor) -> Tensor:
        """As ``Linearised.adjoint``."""
        return torch.cat([one.adjoint(row) for one, row in zip(self.each, w.split(1), strict=True)])

    def solve(self, free: Tensor, g: Tensor, shift: Tensor) -> Tensor:
        """As ``Linearised.solve``, as exactly as a step needs it."""
        return self.solved(free, g, shift, FORCING)

    def solved(self, free: Tensor, g: Tensor, shift: Tensor, stop: float) -> Tensor:
        """The same up to a share of the residual."""
        parts = zip(self.each, free.split(1), g.split(1), shift, strict=True)
        return torch.cat([one.solve(own, residual, s, stop) for one, own, residual, s in parts])

    @property
    def norm(self) -> float:
        """The largest ‖J‖, by the power method."""
        return self._norm


class Implicit(LinearEquations):
    """The equations at base points by products.

    Args:
        demands: What must stay.
        x: The base points, ``(B, *shape)``.
        scale: Factors of the values that must stay, ``(B, dim)``.
        beside: Orthonormal rows to which steps must be orthogonal too, ``(d, n)``.
        images: Numbers of the images, which products are counted for.
        spending: Counts and bounds products.
        norms: ‖J‖ of images that it is known of; the others are added.
    """

    exact, corrections, renewals, tries, quieter, steps = EXACT, 2, 12, 3, 0, NEWTON

    def __init__(
        self,
        demands: Demands,
        x: Tensor,
        scale: Tensor,
        beside: Tensor,
        images: Tensor,
        spending: Spending,
        norms: dict[int, float],
    ) -> None:
        numbers, each = images.tolist(), []
        for point, own, i in zip(x.split(1), scale.split(1), numbers, strict=True):
            if i not in norms:
                norms[i] = _norm(_One(demands, point, own, beside[:0], i, spending), point.flatten(1))
            each.append(_One(demands, point, own, norms[i] * beside, i, spending))
        self._jacobian = JacobianProducts(each, max(norms[i] for i in numbers))
        self._weights = torch.tensor([[norms[i]] for i in numbers], dtype=x.dtype, device=x.device)
        self._beside = beside
        self.near = EXACT * 0.1 * self.jacobian.norm
        self.seen: Tensor = torch.zeros(len(x), dtype=x.dtype, device=x.device)

    @property
    def jacobian(self) -> JacobianProducts:
        """Products with the Jacobians."""
        return self._jacobian

    @property
    def count(self) -> int:
        """As ``LinearEquations.count``."""
        return len(self.seen)

    def _choose(self, some: Tensor) -> None:
        self._jacobian, self._weights, self.seen = self._jacobian.at(some), self._weights[some], self.seen[some]

    def residual(self, change: Tensor, off: Tensor) -> Tensor:
        """As ``LinearEquations.residual``: all of the change."""
        return torch.cat([change, self._weights * (off @ self._beside.T)], 1) if len(self._beside) else change

    def shortest(self, residual: Tensor) -> Tensor:
        """As ``LinearEquations.shortest``."""
        found: Tensor = residual.norm(dim=1) / max(self.jacobian.norm, torch.finfo(residual.dtype).tiny)
        return found

    def along(self, v: Tensor) -> Tensor:
        """As ``LinearEquations.along``, up to a thousandth of what v changes."""
        g = self.jacobian.forward(v)
        shift = torch.full((len(v),), (RESOLVED * self.jacobian.norm) ** 2, dtype=v.dtype, device=v.device)
        found = v - self.jacobian.adjoint(self.jacobian.solved(torch.ones_like(v), g, shift, ALONG))
        whole = self.jacobian.norm * found.norm(dim=1)
        self.seen = self.jacobian.forward(found).norm(dim=1) / whole.clamp(min=torch.finfo(v.dtype).tiny)
        return found


def _norm(one: _One, like: Tensor) -> float:
    """‖J‖ by the power method."""
    v = torch.randn(like.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(like)
    for _ in range(POWER):
        v = one.adjoint(one.forward(v / v.norm().clamp(min=torch.finfo(v.dtype).tiny)))
    return sqrt(float(v.norm()))
