"""A strided, zero-padded convolution as a part of a circular one, which a Fourier transform makes block-diagonal.

Known as circulant embedding (Dietrich & Newsam 1997; Chan & Ng, Conjugate gradient methods for Toeplitz systems, 1996).

On a periodic grid a convolution of stride s splits, once the image is split into its polyphase components, into one
matrix Ĉ(ω) of C_out × C_in·s² per frequency ω. The layer is A = S C E: E embeds the image among padding pixels, S
selects the outputs among surplus ones. Both ends are placed alike on one grid, with all channels and polyphase
components at every position; the adjoint only swaps them. The values of the grid that belong to neither image nor
output, the boundary unknowns, are what ``capacitance`` corrects for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, pi, prod, sqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, LinearMap, Shape
from ...maps.linear_map import Adjoint

WORST = 1e-11  # Least share of the largest that each eigenvalue of K = C Cᵀ must have
FINENESS = 8  # Frequencies per axis and degree at which the norm of a convolution is bounded
SLAB = 64 << 20  # Bytes of entries, or of products of symbols, that are computed at a time
EXPLICIT = 1e-6  # Least share of the largest that eigenvalues of K have where its inverse is applied as one matrix
FLOOR = 1e-6  # Least share of the largest to which eigenvalues are raised where the inverse of K only preconditions


@dataclass(frozen=True)
class GridEnd:
    """One end of the map on the periodic grid: ``(C, *spatial)`` lies in ``(C · components, *grid)``.

    Attributes:
        shape: Shape (C, *spatial) of the values.
        stride: Polyphase components per axis; the periodic image has stride · grid places along it.
        offset: Place where the values begin, per axis.
        grid: Positions per axis.
        coupled: For each axis, which coordinates of the periodic image a kernel couples with values of the other end,
            bool ``(stride · grid,)``; None for all. Places coupled with boundary places alone stay 0, and are left out.
    """

    shape: Shape
    stride: tuple[int, ...]
    offset: tuple[int, ...]
    grid: tuple[int, ...]
    coupled: tuple[Tensor, ...] | None = None

    @property
    def components(self) -> int:
        """Number of polyphase components."""
        return prod(self.stride)

    @property
    def channels(self) -> int:
        """Values at one position of the grid."""
        return self.shape[0] * self.components

    @cached_property
    def boundary(self) -> Tensor:
        """Places beside the values, as component · positions + position, int64 ``(places,)``."""
        places = torch.arange(self.components * prod(self.grid))
        coordinates = self._coordinates(places)
        beside = [self._beside(axis, at) for axis, at in enumerate(coordinates)]
        return torch.stack(beside).any(0).nonzero().flatten()

    @property
    def unknowns(self) -> int:
        """Number of values at the boundary places."""
        return len(self.boundary) * self.shape[0]

    def embed(self, x: Tensor) -> Tensor:
        """Values ``(B, *shape)`` among zeros, ``(B, channels, *grid)``."""
        places = zip(self.stride, self.grid, self.offset, self.shape[1:], strict=True)
        around = [(before, s * m - before - n) for s, m, before, n in places]
        return self.split(F.pad(x, [n for pair in around[::-1] for n in pair]))

    def extract(self, field: Tensor) -> Tensor:
        """The values ``(B, *shape)`` in a field ``(B, channels, *grid)``."""
        inside: Any = (..., *(slice(b, b + n) for b, n in zip(self.offset, self.shape[1:], strict=True)))
        return self.join(field)[inside]

    def split(self, image: Tensor) -> Tensor:
        """The polyphase components of a periodic image, ``(B, C, *(stride · grid))`` to ``(B, channels, *grid)``."""
        axes = range(len(self.grid))
        split = image.reshape(*image.shape[:2], *(n for pair in zip(self.grid, self.stride, strict=True) for n in pair))
        components = split.permute(0, 1, *(3 + 2 * a for a in axes), *(2 + 2 * a for a in axes))
        return components.reshape(len(image), self.channels, *self.grid)

    def join(self, field: Tensor) -> Tensor:
        """The periodic image of polyphase components."""
        axes = len(self.grid)
        split = field.reshape(len(field), self.shape[0], *self.stride, *self.grid)
        order = (0, 1, *(2 + at + axes * part for at in range(axes) for part in (1, 0)))
        places = (s * m for s, m in zip(self.stride, self.grid, strict=True))
        return split.permute(order).reshape(len(field), self.shape[0], *places)

    def read_boundary(self, field: Tensor) -> Tensor:
        """The boundary unknowns of a field, ``(places · C, B)``, channels fastest."""
        values = field.reshape(len(field), self.shape[0], -1)[:, :, self.boundary]
        return values.permute(2, 1, 0).reshape(-1, len(field))

    def write_boundary(self, values: Tensor) -> Tensor:
        """A field whose boundary unknowns are ``(places · C, B)``, and 0 elsewhere."""
        batch = values.shape[1]
        field = values.new_zeros(batch, self.shape[0], self.components * prod(self.grid))
        field[:, :, self.boundary] = values.reshape(-1, self.shape[0], batch).permute(2, 1, 0)
        return field.reshape(batch, self.channels, *self.grid)

    @cached_property
    def coordinates(self) -> list[Tensor]:
        """Coordinates of the boundary places in the periodic image, one tensor per axis."""
        return self._coordinates(self.boundary)

    def beside(self, axis: int) -> Tensor:
        """Which boundary places lie beside the values along an axis, bool ``(places,)``; all along the other axes."""
        return self._beside(axis, self.coordinates[axis])

    def _coordinates(self, places: Tensor) -> list[Tensor]:
        parts, axes = unravel(places, (*self.stride, *self.grid)), len(self.grid)
        return [parts[axis] + s * parts[axes + axis] for axis, s in enumerate(self.stride)]

    def _beside(self, axis: int, at: Tensor) -> Tensor:
        outside = (at < self.offset[axis]) | (at >= self.offset[axis] + self.shape[1 + axis])
        return outside if self.coupled is None else outside & self.coupled[axis][at]


class CirculantEmbedding:
    """The circular map C that A is a part of, in Fourier space.

    Args:
        operator: A convolution of one group padded with zeros, or the adjoint of one.
        larger: Positions per axis by which the grid exceeds the smallest one.

    Attributes:
        operator: The linear map A.
        rows: The end of the outputs of A.
        columns: The end of the inputs of A.

    Raises:
        UnsupportedLayerError: The map is neither of the two.
    """

    def __init__(self, operator: LinearMap, larger: int = 0) -> None:
        conv = convolution_of(operator)
        self.operator = operator
        self.rows, self.columns = _ends(operator, larger)
        self.grid = self.rows.grid
        self.columns = replace(self.columns, coupled=self._coupled(conv))

    @staticmethod
    def sides(operator: LinearMap) -> tuple[int, int]:
        """Values p of the outputs and q of the inputs at one position of the grid."""
        conv = convolution_of(operator)
        p, q = conv.out_shape[0], conv.in_shape[0] * prod(conv.stride)
        return (q, p) if isinstance(operator, Adjoint) else (p, q)

    @staticmethod
    def size(operator: LinearMap) -> int:
        """Number of positions of the smallest grid."""
        return prod(_grid(convolution_of(operator), 0))

    def _coupled(self, conv: Convolution) -> tuple[Tensor, ...]:
        """For each axis, the coordinates of the columns that a kernel couples with values of the rows."""
        masks = []
        for axis, (s, m, d, k) in enumerate(zip(conv.stride, self.grid, conv.dilation, conv.kernel, strict=True)):
            reads = (s * torch.arange(m)[:, None] + d * torch.arange(k)) % (s * m)
            inside = torch.zeros(s * m, dtype=torch.bool)
            if isinstance(self.operator, Adjoint):
                before = conv.padding[axis][0]
                inside[before : before + conv.in_shape[1 + axis]] = True
                masks.append(inside[reads].any(1))
            else:
                inside[reads[: conv.out_shape[1 + axis]]] = True
                masks.append(inside)
        return tuple(masks)

    @cached_property
    def symbol(self) -> Tensor:
        """Ĉ, ``(frequencies, p, q)``, complex128; computed when it is needed, and anew after ``release``."""
        conv = convolution_of(self.operator)
        c_out, c_in = conv.weight.shape[:2]
        taps = torch.zeros(c_out, c_in, prod(conv.stride), prod(self.grid), dtype=torch.float64)
        offsets = torch.cartesian_prod(*(d * torch.arange(k) for d, k in zip(conv.dilation, conv.kernel, strict=True)))
        offsets = offsets.reshape(-1, len(self.grid))
        component, place = torch.zeros(2, len(offsets), dtype=torch.int64)
        for axis, (s, m) in enumerate(zip(conv.stride, self.grid, strict=True)):
            component = component * s + offsets[:, axis] % s
            place = place * m + (offsets[:, axis] // s) % m
        taps.view(c_out, c_in, -1).index_add_(2, component * prod(self.grid) + place, conv.weight.flatten(2))
        c = self.transform(taps.reshape(c_out, -1, *self.grid))
        del taps
        if isinstance(self.operator, Adjoint):
            return c.permute(2, 1, 0).contiguous()
        # Cross-correlation: the conjugate of the transform.
        return c.permute(2, 0, 1).contiguous().conj_physical_()

    def release(self, *names: str) -> None:
        """Gives back the memory of the symbol and its whitening, which nothing but the set-up of solvers needs."""
        for name in names or ("symbol", "whitening"):
            vars(self).pop(name, None)

    @cached_property
    def gram_values(self) -> Tensor:
        """Eigenvalues of K̂ = Ĉ Ĉᴴ, ascending, ``(frequencies, p)``."""
        return torch.cat([torch.linalg.eigvalsh(some @ some.mH) for some in self._slabs()])

    @property
    def norm_bound(self) -> float:
        """‖C‖, which is at least ‖A‖, as A is a part of C."""
        return float(self.gram_values.max().sqrt())

    @cached_property
    def whitening(self) -> Tensor:
        """Ŵ, lower triangular, with K̂⁻¹ = Ŵᴴ Ŵ, ``(frequencies, p, p)``; Ŵ Ĉ has orthonormal rows. Kept as the symbol.

        It comes from a QR decomposition of Ĉᴴ, so that rounding is amplified by cond(C), not by its square.

        Raises:
            UnsupportedLayerError: K is singular at some frequency, to working precision.
        """
        values = self.gram_values
        if float(values[:, 0].min()) <= WORST * float(values.max()):
            raise UnsupportedLayerError("the rows of the circulant embedding are not independent at some frequency")
        eye = torch.eye(values.shape[1], dtype=self.symbol.dtype)
        whitening = eye.new_empty(len(values), *eye.shape)
        for some, out in zip(self._slabs(), whitening.split(self._few), strict=True):
            lower = torch.linalg.qr(some.mH, mode="r")[1].mH
            out.copy_(torch.linalg.solve_triangular(lower, eye.expand(lower.shape), upper=False))
        return whitening

    def _slabs(self) -> tuple[Tensor, ...]:
        """The symbol, some frequencies at a time."""
        slabs: tuple[Tensor, ...] = self.symbol.split(self._few)
        return slabs

    @property
    def _few(self) -> int:
        return max(SLAB // (8 * self.symbol[0].nbytes), 1)

    def transform(self, field: Tensor) -> Tensor:
        """The transform of a field ``(B, channels, *grid)``, ``(B, channels, frequencies)``."""
        spectrum: Tensor = torch.fft.rfftn(field, dim=tuple(range(2, field.ndim)))
        return spectrum.flatten(2)

    def inverse_transform(self, spectrum: Tensor) -> Tensor:
        """The field ``(B, channels, *grid)`` of a transform."""
        half = (*self.grid[:-1], self.grid[-1] // 2 + 1)
        axes = tuple(range(2, 2 + len(self.grid)))
        field: Tensor = torch.fft.irfftn(spectrum.reshape(*spectrum.shape[:2], *half), s=self.grid, dim=axes)
        return field

    def write_entries(
        self,
        factors: tuple[Tensor, Tensor],
        ends: tuple[GridEnd, GridEnd],
        wanted: Sequence[tuple[Tensor, Tensor, Tensor]],
    ) -> None:
        """Writes entries of a circular operator Lᴴ R between places of two ends.

        They depend on the difference of two positions alone: one inverse transform holds them all, of which a few
        channels of the rows are computed at a time.

        Args:
            factors: L and R, one matrix per frequency each, ``(frequencies, r, p)`` and ``(frequencies, r, q)``.
            ends: The ends on which the rows and the columns lie.
            wanted: The m places of the rows of a block, as in ``GridEnd.boundary``, the n places of its columns, and
                where its entries go, ``(m · p / components, n · q / components)``, channels fastest.
        """
        wanted = [block for block in wanted if block[2].numel()]
        if not wanted:
            return
        (left, right), size = factors, prod(self.grid)
        (upper, lower), (high, wide) = (end.components for end in ends), (end.shape[0] for end in ends)
        few = min(max(SLAB // (8 * size * upper * lower * wide), 1), high)
        for first in range(0, high, few):
            slab = left[..., first * upper : (first + few) * upper]
            by_difference = self.inverse_transform((slab.mH @ right).permute(1, 2, 0))
            blocks = by_difference.reshape(-1, upper, wide, lower, size).permute(4, 1, 3, 0, 2).contiguous()
            del by_difference
            for rows, columns, entries in wanted:
                out = entries.unflatten(1, (len(columns), wide)).unflatten(0, (len(rows), high))
                out = out[:, first : first + few]
                theirs = unravel(columns % size, self.grid)
                step = max((4 << 20) // max(8 * len(columns) * few * wide, 1), 1)
                for start in range(0, len(rows), step):
                    some = rows[start : start + step]
                    difference = torch.zeros((), dtype=torch.int64)
                    ours = unravel(some % size, self.grid)
                    for here, there, m in zip(ours, theirs, self.grid, strict=True):
                        difference = difference * m + (here[:, None] - there) % m
                    found = blocks[difference, (some // size)[:, None], columns // size]
                    out[start : start + step] = found.transpose(1, 2)


def unravel(index: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """``torch.unravel_index``, which would import a second's worth of symbolic algebra first."""
    return [torch.from_numpy(part) for part in np.unravel_index(index.numpy(), shape)]


def embeds(operator: LinearMap) -> bool:
    """Whether the map is a convolution of one group padded with zeros, or the adjoint of one."""
    conv = operator.of if isinstance(operator, Adjoint) else operator
    return (
        isinstance(conv, Convolution)
        and conv.groups == 1
        and (conv.mode == "zeros" or not any(n for pair in conv.padding for n in pair))
        and min(n for pair in conv.padding for n in pair) >= 0
    )


def norm_bound(conv: Convolution) -> float:
    """An upper bound on ‖A‖ of a convolution of one group padded with zeros, whatever the size of its image.

    It bounds ‖Ĉ(ω)‖ over all ω by its values at ``FINENESS`` frequencies per degree of Ĉ Ĉᴴ; Ehlich & Zeller 1964 bound
    a trigonometric polynomial between equally spaced places, here to a few per cent.
    """
    degrees = [d * (k - 1) // s for k, s, d in zip(conv.kernel, conv.stride, conv.dilation, strict=True)]
    grid = [FINENESS * (degree + 1) for degree in degrees]
    shape = (conv.in_shape[0], *(s * m for s, m in zip(conv.stride, grid, strict=True)))
    coarse = Convolution(conv.weight, shape, conv.stride, [(0, 0)] * len(grid), conv.dilation)
    embedding = CirculantEmbedding(coarse if contracts(coarse) else coarse.T)
    between = prod(cos(pi * degree / m) for degree, m in zip(degrees, grid, strict=True))
    return embedding.norm_bound / sqrt(between)


def contracts(operator: LinearMap) -> bool:
    """Whether an embedded map has no more outputs than inputs at every frequency."""
    p, q = CirculantEmbedding.sides(operator)
    return p <= q


def convolution_of(operator: LinearMap) -> Convolution:
    """The convolution that an embedded map is, or is the adjoint of."""
    conv = operator.of if isinstance(operator, Adjoint) else operator
    if not embeds(operator) or not isinstance(conv, Convolution):
        raise UnsupportedLayerError(f"{operator} is not a zero-padded convolution of one group")
    return conv


def multiply(matrices: Tensor, x: Tensor) -> Tensor:
    """The products of one matrix per frequency, ``(w, p, q)``, with transforms ``(B, q, w)``."""
    product: Tensor = torch.bmm(x.permute(2, 0, 1).contiguous(), matrices.mT)
    return product.permute(1, 2, 0)


class GramInverse:
    """K⁻¹ in Fourier space: K̂⁻¹ itself, or Ŵ with K̂⁻¹ = ŴᴴŴ where K is ill-conditioned.

    What rounding in K̂⁻¹ leaves of a residual grows with cond(K), what rounding in Ŵ leaves with its root.

    Args:
        matrices: K̂⁻¹ or Ŵ, ``(frequencies, p, p)``.
        factored: Whether it is Ŵ.
    """

    def __init__(self, matrices: Tensor, factored: bool) -> None:
        self.matrices, self.factored = matrices, factored

    @classmethod
    def of(cls, embedding: CirculantEmbedding) -> GramInverse:
        """That of an embedding."""
        whitening, values = embedding.whitening, embedding.gram_values
        factored = float(values.min()) < EXPLICIT * float(values.max())
        return cls(whitening if factored else whitening.mH @ whitening, factored)

    def to(self, dtype: torch.dtype) -> GramInverse:
        """The same in another precision."""
        return GramInverse(self.matrices.to(dtype.to_complex()), self.factored)

    def __matmul__(self, x: Tensor) -> Tensor:
        """The products with transforms ``(B, p, w)``."""
        product = multiply(self.matrices, x)
        if self.factored:
            product = multiply(self.matrices.mT, product.conj().resolve_conj()).conj().resolve_conj()
        return product


class CirculantPreconditioner:
    """S K⁻¹ Sᵀ: the inverse of A Aᵀ without boundary correction, symmetric and positive definite (Chan & Ng 1996)."""

    def __init__(self, operator: LinearMap) -> None:
        self.embedding = CirculantEmbedding(operator)
        values, vectors = torch.linalg.eigh(self.embedding.symbol @ self.embedding.symbol.mH)
        values = values.clamp_min(FLOOR * float(values.max()))
        self.inverse = (vectors / values[:, None]) @ vectors.mH

    def __call__(self, b: Tensor) -> Tensor:
        """The preconditioned residuals of ``(B, *out_shape)``, floating point, in the same shape and dtype."""
        embedding, rows = self.embedding, self.embedding.rows
        if self.inverse.dtype != b.dtype.to_complex():
            self.inverse = self.inverse.to(b.dtype.to_complex())
        v = multiply(self.inverse, embedding.transform(rows.embed(b)))
        return rows.extract(embedding.inverse_transform(v))


def _ends(operator: LinearMap, larger: int) -> tuple[GridEnd, GridEnd]:
    """The ends of the outputs and of the inputs of a map that ``embeds`` accepts."""
    conv = convolution_of(operator)
    grid, ones = _grid(conv, larger), (1,) * len(conv.kernel)
    outputs = GridEnd(conv.out_shape, ones, (0,) * len(ones), grid)
    inputs = GridEnd(conv.in_shape, conv.stride, tuple(before for before, _ in conv.padding), grid)
    return (inputs, outputs) if isinstance(operator, Adjoint) else (outputs, inputs)


def _grid(conv: Convolution, larger: int) -> tuple[int, ...]:
    """The smallest grid, or a larger one, on which taps that leave it return among padding pixels, which are 0."""
    ends = [
        max((o - 1) * s + d * (k - 1) + 1 - before, before + n, o * s)
        for o, s, d, k, (before, _), n in zip(
            conv.out_shape[1:], conv.stride, conv.dilation, conv.kernel, conv.padding, conv.in_shape[1:], strict=True
        )
    ]
    return tuple(-(-end // s) + larger for end, s in zip(ends, conv.stride, strict=True))
