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

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from math import prod
from typing import NamedTuple, Self

import torch
from torch import Tensor

from .border_products import BorderProducts
from .circulant_embedding import CirculantEmbedding, GramInverse, unravel
from .pruned_transforms import Axes
from .symbol_products import SymbolProducts


class Strip(NamedTuple):
    """Boundary unknowns on which M is block circulant, with M on them or another matrix of this kind.

    Attributes:
        unknowns: Indices into e, ``(cells, d)``: cells are the positions along the axes of the strip.
        spectrum: The matrix, one block per frequency of the axes, ``(frequencies, d, d)``, complex.
        around: Positions along each axis of the strip.
        surplus: How many of the d unknowns of a cell are those of Z; they come first.
    """

    unknowns: Tensor
    spectrum: Tensor
    around: tuple[int, ...]
    surplus: int

    def to(self, dtype: torch.dtype) -> Strip:
        """The same in another precision."""
        return self._replace(spectrum=self.spectrum.to(dtype.to_complex()))

    def __matmul__(self, e: Tensor) -> Tensor:
        """The product of the matrix with values of the unknowns in their order, ``(cells · d, B)``."""
        values = e.reshape(*self.around, self.unknowns.shape[1], e.shape[1])
        axes = tuple(range(len(self.around)))
        transform = torch.fft.rfftn(values, dim=axes)
        # Products of rows with a matrix read it once; those of a matrix with few columns take several times as long.
        product = transform.flatten(0, -3).mT.contiguous() @ self.spectrum.mT
        result: Tensor = torch.fft.irfftn(product.mT.reshape(transform.shape), s=self.around, dim=axes)
        return result.reshape(e.shape)


class CapacitanceSystem:
    """The capacitance matrix M of an embedding, applied without being formed; subclasses solve with it.

    Args:
        embedding: The circulant embedding of A.

    Attributes:
        inverse: K⁻¹ in Fourier space.
        proof: What proves that A has full row rank; None if nothing does.
    """

    proof: str | None
    border: BorderProducts | SymbolProducts

    def __init__(self, embedding: CirculantEmbedding) -> None:
        self.embedding, self.inverse = embedding, GramInverse.of(embedding)
        self.z, self.f = embedding.rows.unknowns, embedding.columns.unknowns
        strips = BorderProducts(embedding)
        fewer = SymbolProducts.operations(embedding) < strips.operations
        self.border = SymbolProducts(embedding) if fewer else strips

    def to(self, dtype: torch.dtype) -> Self:
        """The same system in another precision, sharing what needs no copy."""
        other = copy(self)
        other.inverse = self.inverse.to(dtype)
        return other

    def gram_inverse(self, b: Tensor, share: float) -> Tensor:
        """(A Aᵀ)⁻¹ b, ``(B, *out_shape)``, with the capacitance system solved up to a share of its residual."""
        v = self.inverse @ self.embedding.transform(self.embedding.rows.embed(b))
        r = -self.collect(v)
        e = self.solve(r, max(share, torch.finfo(b.dtype).eps) * r.norm(dim=0))
        v = v + self.inverse @ self.spread(e)
        return self.embedding.rows.extract(self.embedding.inverse_transform(v))

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, ``(z + f, B)``, up to residuals of norms ``(B,)``."""
        raise NotImplementedError

    def spread(self, e: Tensor, axes: Axes = None) -> Tensor:
        """Zᵀg + C_F f in Fourier space, of e = [g; f], ``(z + f, B)``; axes as in ``BorderProducts``."""
        return self.border.spread(e[: self.z], e[self.z :], axes)

    def collect(self, v: Tensor, axes: Axes = None) -> Tensor:
        """[v_Z; C_Fᵀ v], ``(z + f, B)``, of v in Fourier space; axes as in ``BorderProducts``."""
        return self.border.collect(v, axes)

    def apply(self, e: Tensor, beside: Axes = None, wanted: Axes = None) -> Tensor:
        """M e, ``(z + f, B)``, if e lies beside some axes alone, where it is wanted beside others alone."""
        image = self.collect(self.inverse @ self.spread(e, beside), wanted)
        image[self.z :] -= e[self.z :]
        return image

    def blocks(self, *wanted: tuple[Tensor, Tensor], dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Blocks of entries of M, computed together.

        Args:
            wanted: For each block the boundary places of its rows and of its columns, as ascending indices, places of Z
                before those of F; the block holds all channels of these.
            dtype: The dtype of the blocks.
        """
        embedding, surplus = self.embedding, len(self.embedding.rows.boundary)
        ends = z, f = embedding.rows, embedding.columns
        factors = embedding.whitening, embedding.whitening @ embedding.symbol
        embedding.release("symbol")
        # The places of each block by its two sides, and of each side by Z and F.
        places = [
            [[z.boundary[s[s < surplus]], f.boundary[s[s >= surplus] - surplus]] for s in sides] for sides in wanted
        ]
        sizes = [
            [[len(s) * end.shape[0] for s, end in zip(some, ends, strict=True)] for some in sides] for sides in places
        ]
        found = [torch.empty(sum(rows), sum(columns), dtype=dtype) for rows, columns in sizes]
        parts = [
            [part.split(columns, 1) for part in matrix.split(rows)]
            for matrix, (rows, columns) in zip(found, sizes, strict=True)
        ]
        for i, j in ((0, 0), (0, 1), (1, 1)):
            some = [(rows[i], columns[j], part[i][j]) for (rows, columns), part in zip(places, parts, strict=True)]
            if i != j:  # M is symmetric
                some += [
                    (columns[i], rows[j], part[j][i].mT) for (rows, columns), part in zip(places, parts, strict=True)
                ]
            embedding.write_entries((factors[i], factors[j]), (ends[i], ends[j]), some)
        channels = torch.arange(embedding.columns.shape[0])
        for (rows, columns), part in zip(places, parts, strict=True):
            both = (rows[1][:, None] == columns[1]).nonzero()
            diagonal = [(index[:, None] * len(channels) + channels).flatten() for index in both.T]
            part[1][1][diagonal[0], diagonal[1]] -= 1
        return found

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

    def cell(self, places: Tensor, axes: Sequence[int]) -> Tensor:
        """For each of the boundary places that are alike along some axes, its position along these as one number."""
        cell = torch.zeros_like(places)
        for a in axes:
            cell = cell * self.embedding.grid[a] + self.position[a][places]
        return cell

    def first_column(self, places: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The block of M, as ``blocks`` takes it, from which ``strip`` is made."""
        return places, places[self.cell(places, axes) == 0]

    def strip(self, places: Tensor, axes: Sequence[int], column: Tensor) -> Strip:
        """The strip of boundary places that are alike at every position along some axes, by its ``first_column``."""
        around = tuple(self.embedding.grid[a] for a in axes) or (1,)
        # The unknowns of all places in the order of the block, sorted into cells, each of which lists them alike.
        order = torch.repeat_interleave(self.cell(places, axes), self.channels[places]).argsort(stable=True)
        d = column.shape[1]
        blocks = column[order].reshape(*around, d, d)
        spectrum = torch.fft.rfftn(blocks, dim=tuple(range(len(around)))).reshape(-1, d, d)
        first = self.first_column(places, axes)[1]
        surplus = int(self.channels[first[first < len(self.embedding.rows.boundary)]].sum())
        return Strip(self.indices(places)[order].reshape(-1, d), spectrum, around, surplus)


def border_operations(embedding: CirculantEmbedding) -> float:
    """Real multiplications and additions of one product with the values beside the image, per image."""
    return min(SymbolProducts.operations(embedding), BorderProducts(embedding).operations)
