"""Products of a linear map with images that are clipped to a range: A clip(x + Aᵀ μ), and A D Aᵀ, D the free pixels.

Images are large, outputs small. So a Kronecker product walks through slabs of rows that fit into the processor's
cache, and keeps none of them; known as loop tiling.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..maps import LinearMap
from ..maps.banded import Banded

SLAB = 1 << 15
"""Pixels per slab."""

RIDGE = 1e-3
"""Share of the rows' mean squared norm that is added to A Aᵀ, along each axis, before it is inverted."""

FAINT = 1e-5
"""Entries of the inverse below this share of the largest one are left out: it falls off with distance."""

Apply = Callable[[Tensor], Tensor]


class Clipped(ABC):
    """A map A and a range from low to high.

    Attributes:
        scale: The mean squared norm of A's rows, or about as much.
    """

    scale: float

    @abstractmethod
    def image(self, x: Tensor, mu: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The image y = clip(x + Aᵀ μ), in ``out`` if given, which may not be x, and A y."""

    @abstractmethod
    def forward(self, x: Tensor, mu: Tensor) -> tuple[Tensor, float]:
        """A y and ‖y − x‖² of the same image, which is not kept."""

    @abstractmethod
    def hessian(self, x: Tensor, mu: Tensor) -> tuple[Apply, Tensor | None]:
        """The product with A D Aᵀ, where D are the pixels that x + Aᵀ μ leaves in the range, and its diagonal if known.

        At the bounds themselves a pixel counts as free: it may be about to leave them.
        """

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """W z with a W near (A Aᵀ)⁻¹ and, to ``FAINT``, nowhere above it."""


class ClippedMap(Clipped):
    """Any map, on images ``(1, *in_shape)``."""

    def __init__(self, operator: LinearMap, low: float, high: float) -> None:
        self.operator, self.low, self.high = operator, low, high
        self.scale = operator.norm() ** 2 or 1.0

    def image(self, x: Tensor, mu: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Clipped``."""
        y = torch.add(x, self.operator.adjoint(mu), out=out).clamp_(self.low, self.high)
        return y, self.operator.forward(y)

    def forward(self, x: Tensor, mu: Tensor) -> tuple[Tensor, float]:
        """See ``Clipped``."""
        y, read = self.image(x, mu)
        return read, float((y - x).square().sum())

    def hessian(self, x: Tensor, mu: Tensor) -> tuple[Apply, Tensor | None]:
        """See ``Clipped``."""
        pulled = x + self.operator.adjoint(mu)
        free = ((pulled >= self.low) & (pulled <= self.high)).double()
        return lambda v: self.operator.forward(free * self.operator.adjoint(v)), None

    def inverse(self, z: Tensor) -> Tensor:
        """See ``Clipped``."""
        return z / self.scale


class ClippedKronecker(Clipped):
    """R ⊗ C, on images ``(1, H, W)``.

    Args:
        rows: R, ``(h, H)`` float64.
        columns: C, ``(w, W)``, on the same device.
        low: Lower end of the range.
        high: Upper end of the range.
    """

    def __init__(self, rows: Tensor, columns: Tensor, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.scale = float(rows.square().sum(1).mean() * columns.square().sum(1).mean())
        self.height, self.width = len(rows), columns.shape[1]
        self.columns, self.transpose, self.squares = Banded(columns), Banded(columns.T), Banded(columns.square())
        self.inverses = Banded(_inverse(rows)), Banded(_inverse(columns))
        self.slabs = []  # which rows of the image, which outputs read them, and R there
        some = max(SLAB // max(self.width, 1), 1)
        for start in range(0, rows.shape[1], some):
            pixels = slice(start, start + some)
            read = (rows[:, pixels] != 0).any(1).nonzero()[:, 0]
            outputs = slice(int(read[0]), int(read[-1]) + 1) if len(read) else slice(0, 0)
            self.slabs.append((pixels, outputs, rows[outputs, pixels].contiguous()))

    def image(self, x: Tensor, mu: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Clipped``."""
        y, made = torch.empty_like(x) if out is None else out, self._unread(x)
        for pixels, outputs, block, pulled in self._pulled(x, mu):
            made[outputs].addmm_(block, torch.clamp(pulled, self.low, self.high, out=y[0, pixels]))
        return y, self.columns.along(made, 1)[None]

    def forward(self, x: Tensor, mu: Tensor) -> tuple[Tensor, float]:
        """See ``Clipped``."""
        made, change = self._unread(x), 0.0
        for pixels, outputs, block, pulled in self._pulled(x, mu):
            y = pulled.clamp_(self.low, self.high)
            made[outputs].addmm_(block, y)
            moved = y.sub_(x[0, pixels]).flatten()
            change += float(moved.dot(moved))
        return self.columns.along(made, 1)[None], change

    def hessian(self, x: Tensor, mu: Tensor) -> tuple[Apply, Tensor | None]:
        """See ``Clipped``."""
        free, squares = torch.empty_like(x[0]), self._unread(x)
        for pixels, outputs, block, pulled in self._pulled(x, mu):
            inside = torch.eq(pulled, pulled.clamp(self.low, self.high), out=free[pixels])
            squares[outputs].addmm_(block.square(), inside)

        def apply(v: Tensor) -> Tensor:
            spread, made = self._spread(v), self._unread(v)
            for pixels, outputs, block in self.slabs:
                made[outputs].addmm_(block, (block.T @ spread[outputs]).mul_(free[pixels]))
            return self.columns.along(made, 1)[None]

        return apply, self.squares.along(squares, 1)[None]

    def inverse(self, z: Tensor) -> Tensor:
        """See ``Clipped``."""
        return self.inverses[1].along(self.inverses[0].along(z, 1), 2)

    def _pulled(self, x: Tensor, mu: Tensor) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
        """The slabs, each with x + Aᵀ μ."""
        spread = self._spread(mu)
        for pixels, outputs, block in self.slabs:
            yield pixels, outputs, block, torch.addmm(x[0, pixels], block.T, spread[outputs])

    def _spread(self, mu: Tensor) -> Tensor:
        return self.transpose.along(mu[0], 1)

    def _unread(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.height, self.width)


def _inverse(matrix: Tensor) -> Tensor:
    """The inverse of M Mᵀ with a ridge, without the entries that hardly count."""
    gram = matrix @ matrix.T
    gram.diagonal().add_(RIDGE * gram.diagonal().mean().clamp(min=torch.finfo(gram.dtype).tiny))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    return inverse * (inverse.abs() > FAINT * inverse.abs().max())
