"""The capacitance system, by which the inverse of the circulant embedding becomes exact at the boundary.

Known as the capacitance matrix method (Buzbee, Dorr, George & Golub 1971), a use of the Woodbury identity. With
K = C Cᵀ of the embedding, Z the surplus rows and F the padding columns,

    A Aᵀ u = b   ⟺   Sᵀu = v = K⁻¹ (Sᵀb + Zᵀg + C_F f),   v_Z = 0,   f = C_Fᵀ v,

so only g and f are left to be found. Their system M = [K⁻¹_ZZ, (K⁻¹C)_ZF; …ᵀ, (CᵀK⁻¹C)_FF − 1] is solved directly
(``direct_capacitance``) or, if it is too large for that, by an iteration (``iterative_capacitance``). Both use that the
unknowns that lie beside the image along some axes, wherever they are along the others, form a strip on which M is block
circulant along these others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from math import prod
from typing import NamedTuple, Self

import torch
from torch import Tensor

from .border_products import BorderProducts
from .circulant_embedding import CirculantEmbedding, multiply_gram_inverse, unravel
from .symbol_products import SymbolProducts


class Strip(NamedTuple):
    """Boundary unknowns on which M is block circulant.

    Attributes:
        unknowns: Indices into e, ``(cells, d)``: cells are the positions along the axes of the strip.
        spectrum: M on the strip, one block per frequency of its axes, ``(frequencies, d, d)``, complex.
        around: Positions along each axis of the strip.
        surplus: How many of the d unknowns of a cell are those of Z; they come first.
    """

    unknowns: Tensor
    spectrum: Tensor
    around: tuple[int, ...]
    surplus: int

    def in_fourier_space(self, apply: Callable[[Tensor], Tensor], e: Tensor) -> Tensor:
        """What a function of transforms ``(frequencies, d, B)`` does to values of the unknowns, ``(cells · d, B)``."""
        values = e.reshape(*self.around, self.unknowns.shape[1], e.shape[1])
        axes = tuple(range(len(self.around)))
        transform = torch.fft.rfftn(values, dim=axes)
        product = apply(transform.flatten(0, -3).contiguous()).reshape(transform.shape)
        result: Tensor = torch.fft.irfftn(product, s=self.around, dim=axes)
        return result.reshape(e.shape)


class CapacitanceSystem:
    """The capacitance matrix M of an embedding, applied without being formed; subclasses solve with it.

    Args:
        embedding: The circulant embedding of A.
        whitening: Ŵ of K̂⁻¹ = Ŵᴴ Ŵ, ``(frequencies, p, p)``.

    Attributes:
        proof: What proves that A has full row rank; None if nothing does.
    """

    proof: str | None
    border: BorderProducts | SymbolProducts

    def __init__(self, embedding: CirculantEmbedding, whitening: Tensor) -> None:
        self.embedding, self.whitening = embedding, whitening
        self.z, self.f = embedding.rows.unknowns, embedding.columns.unknowns
        strips = BorderProducts(embedding)
        fewer = SymbolProducts.operations(embedding) < strips.operations
        self.border = SymbolProducts(embedding) if fewer else strips

    def to(self, dtype: torch.dtype) -> Self:
        """The same system in another precision, sharing what needs no copy."""
        other = copy(self)
        other.whitening = self.whitening.to(dtype.to_complex())
        return other

    def gram_inverse(self, b: Tensor, share: float) -> Tensor:
        """(A Aᵀ)⁻¹ b, ``(B, *out_shape)``, with the capacitance system solved up to a share of its residual."""
        v = multiply_gram_inverse(self.whitening, self.embedding.transform(self.embedding.rows.embed(b)))
        r = -self.collect(v)
        e = self.solve(r, max(share, torch.finfo(b.dtype).eps) * r.norm(dim=0))
        v = v + multiply_gram_inverse(self.whitening, self.spread(e))
        return self.embedding.rows.extract(self.embedding.inverse_transform(v))

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, ``(z + f, B)``, up to residuals of norms ``(B,)``."""
        raise NotImplementedError

    def spread(self, e: Tensor) -> Tensor:
        """Zᵀg + C_F f in Fourier space, of e = [g; f], ``(z + f, B)``."""
        embedding = self.embedding
        return self.border.spread(embedding.rows.write_boundary(e[: self.z]), e[self.z :])

    def collect(self, v: Tensor) -> Tensor:
        """[v_Z; C_Fᵀ v], ``(z + f, B)``, of v in Fourier space."""
        embedding = self.embedding
        field = embedding.inverse_transform(v)
        return torch.cat([embedding.rows.read_boundary(field), self.border.collect(v, field)])

    def apply(self, e: Tensor) -> Tensor:
        """M e, ``(z + f, B)``."""
        image = self.collect(multiply_gram_inverse(self.whitening, self.spread(e)))
        image[self.z :] -= e[self.z :]
        return image

    def block(self, rows: Tensor, columns: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """Entries of M at all channels of boundary places, given by ascending indices, those of Z before those of F."""
        embedding, surplus = self.embedding, len(self.embedding.rows.boundary)
        ends = embedding.rows, embedding.columns
        split = [[s[s < surplus], s[s >= surplus] - surplus] for s in (rows, columns)]
        sizes = [[len(s) * end.shape[0] for s, end in zip(some, ends, strict=True)] for some in split]
        result = torch.empty(sum(sizes[0]), sum(sizes[1]), dtype=dtype)
        at = [[slice(0, z), slice(z, z + f)] for z, f in sizes]
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            if not sizes[0][i] or not sizes[1][j]:
                continue
            if (i, j) == (1, 0) and rows is columns:
                result[at[0][1], at[1][0]] = result[at[0][0], at[1][1]].mT
                continue
            operator = self._operator(i, j).to(dtype.to_complex())
            a, b = ends[i], ends[j]
            found = embedding.entries(operator, a.boundary[split[0][i]], b.boundary[split[1][j]], (a, b))
            result[at[0][i], at[1][j]] = found
        both = (split[0][1][:, None] == split[1][1]).nonzero()
        channels = torch.arange(embedding.columns.shape[0])
        diagonal = [(index[:, None] * len(channels) + channels).flatten() for index in both.T]
        result[at[0][1], at[1][1]][diagonal[0], diagonal[1]] -= 1
        return result

    def _operator(self, i: int, j: int) -> Tensor:
        """K⁻¹, (K⁻¹C), (K⁻¹C)ᵀ or (CᵀK⁻¹C) in Fourier space, by the ends 0 for rows and 1 for columns."""
        symbol = self.embedding.symbol
        left, right = (self.whitening @ symbol if end else self.whitening for end in (i, j))
        operator: Tensor = left.mH @ right
        return operator

    @cached_property
    def position(self) -> list[Tensor]:
        """Coordinates of every boundary place on the grid, one tensor per axis."""
        flat = torch.cat([self.embedding.rows.boundary, self.embedding.columns.boundary]) % prod(self.embedding.grid)
        return unravel(flat, self.embedding.grid)

    @cached_property
    def channels(self) -> Tensor:
        """Number of unknowns at every boundary place."""
        ends = self.embedding.rows, self.embedding.columns
        return torch.cat([torch.full_like(end.boundary, end.shape[0]) for end in ends])

    def indices(self, places: Tensor) -> Tensor:
        """Indices into e of the unknowns at places, in the order given, channels fastest."""
        channels = self.channels[places]
        first = (self.channels.cumsum(0) - self.channels)[places]
        return (first - channels.cumsum(0) + channels).repeat_interleave(channels) + torch.arange(int(channels.sum()))

    def strip(self, places: Tensor, axes: Sequence[int]) -> Strip:
        """The strip of boundary places that are alike at every position along some axes."""
        around = tuple(self.embedding.grid[a] for a in axes)
        cell = torch.zeros_like(places)
        for a, m in zip(axes, around, strict=True):
            cell = cell * m + self.position[a][places]
        first = places[cell == 0]
        column = self.block(places, first)
        # The unknowns of all places in the order of the block, sorted into cells, each of which lists them alike.
        order = torch.repeat_interleave(cell, self.channels[places]).argsort(stable=True)
        cells = max(prod(around), 1)
        d = len(order) // cells
        blocks = column[order].reshape(*(around or (1,)), d, d)
        spectrum = torch.fft.rfftn(blocks, dim=tuple(range(max(len(around), 1)))).reshape(-1, d, d)
        surplus = int(self.channels[first[first < len(self.embedding.rows.boundary)]].sum())
        return Strip(self.indices(places)[order].reshape(cells, d), spectrum, around or (1,), surplus)


def border_operations(embedding: CirculantEmbedding) -> float:
    """Real multiplications and additions of one product with the values beside the image, per image."""
    return min(SymbolProducts.operations(embedding), BorderProducts(embedding).operations)
