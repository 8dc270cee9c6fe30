"""A strided, zero-padded convolution as a part of a circular one, which a Fourier transform makes block-diagonal.

On a torus a convolution of stride s splits, once the image is split into its s phases, into one matrix Ĉ(ω) of
C_out × C_in·s² a frequency ω. The layer is A = S C E: the image E-mbedded among padding pixels, the outputs S-elected
among surplus ones. Both ends are lattices on one grid, with channels and phases at every position; the adjoint only
swaps them. What stands in neither image nor output, the missing sites, is what ``edges`` corrects for.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, LinearMap, Shape
from ...maps.linear_map import Adjoint

WORST = 1e-11
"""Least share of the largest that each eigenvalue of K must have."""

FLOOR = 1e-6
"""Least share of the largest to which eigenvalues are raised where the inverse of K only preconditions."""


class Sites(NamedTuple):
    """Places on the torus: positions on the grid, int64 ``(m,)``, and the phase of the stride at each, ``(m,)``."""

    position: Tensor
    phase: Tensor


@dataclass(frozen=True)
class Lattice:
    """One end of the map on the torus: ``(C, *spatial)`` lies in ``(C · phases, *grid)``.

    Attributes:
        shape: (C, *spatial).
        stride: phases an axis; the torus has stride · grid places.
        offset: where the image begins, an axis.
        grid: positions an axis.
    """

    shape: Shape
    stride: tuple[int, ...]
    offset: tuple[int, ...]
    grid: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Values at one position of the grid."""
        return self.shape[0] * prod(self.stride)

    def embed(self, x: Tensor) -> Tensor:
        """``(B, *shape)`` among zeros, ``(B, channels, *grid)``."""
        places = zip(self.stride, self.grid, self.offset, self.shape[1:], strict=True)
        around = [(before, s * m - before - n) for s, m, before, n in places]
        x = F.pad(x, [n for pair in around[::-1] for n in pair])
        return self._phases(x).reshape(len(x), self.channels, *self.grid)

    def extract(self, field: Tensor) -> Tensor:
        """The image out of ``(B, channels, *grid)``."""
        axes = len(self.grid)
        split = field.reshape(len(field), self.shape[0], *self.stride, *self.grid)
        order = (0, 1, *(2 + at + axes * part for at in range(axes) for part in (1, 0)))
        torus = split.permute(order).reshape(len(field), self.shape[0], *self._size)
        inside = tuple(slice(b, b + n) for b, n in zip(self.offset, self.shape[1:], strict=True))
        return torus[(slice(None), slice(None), *inside)]

    def read(self, field: Tensor) -> Tensor:
        """Values at the missing sites, ``(sites · C, B)``, channels fastest."""
        values = field.reshape(len(field), self.shape[0], -1)[:, :, self._flat]
        return values.permute(2, 1, 0).reshape(-1, len(field))

    def write(self, values: Tensor) -> Tensor:
        """A field that holds ``(sites · C, B)`` at the missing sites and 0 elsewhere."""
        batch = values.shape[1]
        field = values.new_zeros(batch, self.shape[0], prod(self.stride) * prod(self.grid))
        field[:, :, self._flat] = values.reshape(-1, self.shape[0], batch).permute(2, 1, 0)
        return field.reshape(batch, self.channels, *self.grid)

    @cached_property
    def missing(self) -> Sites:
        """Where the torus has a place and the lattice has none, phase by phase."""
        return Sites(self._flat % prod(self.grid), self._flat // prod(self.grid))

    def outside(self, axis: int) -> Tensor:
        """At which of the missing sites it is along this axis that there is no image, bool ``(sites,)``."""
        s = self.stride[axis]
        phase = torch.unravel_index(self.missing.phase, self.stride)[axis]
        at = phase + s * torch.unravel_index(self.missing.position, self.grid)[axis]
        return (at < self.offset[axis]) | (at >= self.offset[axis] + self.shape[1 + axis])

    @property
    def _size(self) -> list[int]:
        return [s * m for s, m in zip(self.stride, self.grid, strict=True)]

    @cached_property
    def _flat(self) -> Tensor:
        absent = self.embed(torch.ones(1, *self.shape)).reshape(self.shape[0], -1)[0] == 0
        return absent.nonzero().flatten()

    def _phases(self, torus: Tensor) -> Tensor:
        """``(B, C, *torus)`` as ``(B, C, *stride, *grid)``."""
        axes = range(len(self.grid))
        pairs = [n for pair in zip(self.grid, self.stride, strict=True) for n in pair]
        return torus.reshape(*torus.shape[:2], *pairs).permute(
            0, 1, *(3 + 2 * a for a in axes), *(2 + 2 * a for a in axes)
        )


class CirculantEmbedding:
    """The circular map C that A is a part of, in Fourier space.

    Args:
        operator: a ``Convolution`` of one group padded with zeros, or the adjoint of one.
        larger: by how many positions an axis the grid exceeds the smallest one.

    Attributes:
        operator: A.
        rows: where A's outputs lie.
        columns: where its inputs lie.
        symbol: Ĉ, ``(frequencies, p, q)``, complex.
        symbol_adjoint: Ĉᴴ.

    Raises:
        UnsupportedLayerError: the map is none of the two.
    """

    def __init__(self, operator: LinearMap, larger: int = 0) -> None:
        conv = _convolution(operator)
        self.operator = operator
        ones = (1,) * len(conv.kernel)
        self.grid = _grid(conv, larger)
        outputs = Lattice(conv.out_shape, ones, (0,) * len(ones), self.grid)
        inputs = Lattice(conv.in_shape, conv.stride, tuple(before for before, _ in conv.padding), self.grid)
        symbol = self._symbol(conv)
        self.rows, self.columns = (inputs, outputs) if isinstance(operator, Adjoint) else (outputs, inputs)
        adjoint = symbol.mH.resolve_conj().contiguous()
        self.symbol, self.symbol_adjoint = (adjoint, symbol) if isinstance(operator, Adjoint) else (symbol, adjoint)

    @staticmethod
    def sides(operator: LinearMap) -> tuple[int, int]:
        """p and q: values at one position of the grid, of outputs and of inputs."""
        conv = _convolution(operator)
        p, q = conv.out_shape[0], conv.in_shape[0] * prod(conv.stride)
        return (q, p) if isinstance(operator, Adjoint) else (p, q)

    @staticmethod
    def size(operator: LinearMap) -> int:
        """Positions of the smallest grid."""
        return prod(_grid(_convolution(operator), 0))

    def _symbol(self, conv: Convolution) -> Tensor:
        c_out, c_in = conv.weight.shape[:2]
        taps = torch.zeros(c_out, c_in, prod(conv.stride), prod(self.grid), dtype=torch.float64)
        offsets = torch.cartesian_prod(*(d * torch.arange(k) for d, k in zip(conv.dilation, conv.kernel, strict=True)))
        offsets = offsets.reshape(-1, len(self.grid))
        phase = torch.zeros(len(offsets), dtype=torch.int64)
        place = torch.zeros(len(offsets), dtype=torch.int64)
        for axis, (s, m) in enumerate(zip(conv.stride, self.grid, strict=True)):
            phase = phase * s + offsets[:, axis] % s
            place = place * m + (offsets[:, axis] // s) % m
        taps.view(c_out, c_in, -1).index_add_(2, phase * prod(self.grid) + place, conv.weight.flatten(2))
        # Cross-correlation: the conjugate of the transform.
        c = self.transform(taps.reshape(c_out, -1, *self.grid)).conj()
        return c.permute(2, 0, 1).resolve_conj().contiguous()

    @cached_property
    def gram_values(self) -> Tensor:
        """Eigenvalues of K̂ = Ĉ Ĉᴴ, ascending, ``(frequencies, p)``."""
        values: Tensor = torch.linalg.eigvalsh(self.symbol @ self.symbol_adjoint)
        return values

    @property
    def norm_bound(self) -> float:
        """‖C‖, at least ‖A‖, which is a part of it."""
        return float(self.gram_values.max().sqrt())

    def gram_inverse(self) -> Tensor:
        """K̂⁻¹, ``(frequencies, p, p)``.

        Raises:
            UnsupportedLayerError: K is singular at some frequency, to working precision.
        """
        values = self.gram_values
        if float(values[:, 0].min()) <= WORST * float(values.max()):
            raise UnsupportedLayerError("outputs are lost at some frequency; the rows are not independent there")
        inverse: Tensor = torch.linalg.inv(self.symbol @ self.symbol_adjoint)
        return (inverse + inverse.mH) / 2

    def to(self, dtype: torch.dtype) -> CirculantEmbedding:
        """The same with symbols in that precision."""
        other = copy(self)
        other.symbol, other.symbol_adjoint = (x.to(dtype.to_complex()) for x in (self.symbol, self.symbol_adjoint))
        return other

    # --- fields in Fourier space are (B, channels, frequencies) ------------------------------------------

    def transform(self, field: Tensor) -> Tensor:
        """``(B, channels, *grid)`` to Fourier space."""
        spectrum: Tensor = torch.fft.rfftn(field, dim=tuple(range(2, field.ndim)))
        return spectrum.flatten(2)

    def back(self, spectrum: Tensor) -> Tensor:
        """From Fourier space to ``(B, channels, *grid)``."""
        half = (*self.grid[:-1], self.grid[-1] // 2 + 1)
        axes = tuple(range(2, 2 + len(self.grid)))
        field: Tensor = torch.fft.irfftn(spectrum.reshape(*spectrum.shape[:2], *half), s=self.grid, dim=axes)
        return field

    def entries(self, operator: Tensor, rows: Sites, columns: Sites, phases: tuple[int, int]) -> Tensor:
        """Entries, between two lists of sites, of an operator given by a matrix a frequency.

        They depend on the difference of two positions alone: one inverse transform holds them all.

        Args:
            operator: ``(frequencies, p, q)``.
            rows: m sites.
            columns: n sites.
            phases: of the lattices they lie on.

        Returns:
            ``(m · p / phases, n · q / phases)``, channels fastest, in the operator's precision.
        """
        by_difference = self.back(operator.permute(1, 2, 0)).flatten(2)
        high, wide = operator.shape[1] // phases[0], operator.shape[2] // phases[1]
        blocks = by_difference.reshape(high, phases[0], wide, phases[1], -1).permute(4, 1, 3, 0, 2).contiguous()
        del by_difference
        result = torch.empty(len(rows.position), high, len(columns.position), wide, dtype=blocks.dtype)
        theirs = torch.unravel_index(columns.position, self.grid)
        step = max((4 << 20) // max(8 * high * len(columns.position) * wide, 1), 1)
        for start in range(0, len(rows.position), step):
            some = slice(start, start + step)
            difference = torch.zeros((), dtype=torch.int64)
            ours = torch.unravel_index(rows.position[some], self.grid)
            for here, there, m in zip(ours, theirs, self.grid, strict=True):
                difference = difference * m + (here[:, None] - there) % m
            result[some] = blocks[difference, rows.phase[some][:, None], columns.phase].transpose(1, 2)
        return result.reshape(len(rows.position) * high, len(columns.position) * wide)


def serves(operator: LinearMap) -> bool:
    """Whether the map is a convolution of one group padded with zeros, or the adjoint of one."""
    conv = operator.of if isinstance(operator, Adjoint) else operator
    return (
        isinstance(conv, Convolution)
        and conv.groups == 1
        and (conv.mode == "zeros" or not any(n for pair in conv.padding for n in pair))
        and min(n for pair in conv.padding for n in pair) >= 0
    )


def _convolution(operator: LinearMap) -> Convolution:
    conv = operator.of if isinstance(operator, Adjoint) else operator
    if not serves(operator) or not isinstance(conv, Convolution):
        raise UnsupportedLayerError(f"{operator} is no zero-padded convolution of one group")
    return conv


def multiply(matrices: Tensor, x: Tensor) -> Tensor:
    """One matrix a frequency, ``(w, p, q)``, applied to ``(B, q, w)``."""
    return torch.bmm(matrices, x.permute(2, 1, 0)).permute(2, 1, 0)


class EmbeddedInverse:
    """S K⁻¹ Sᵀ: A Aᵀ inverted as if there were no edges. Symmetric and positive definite; a preconditioner.

    Args:
        operator: for which ``serves`` holds.

    Raises:
        UnsupportedLayerError: it does not.
    """

    def __init__(self, operator: LinearMap) -> None:
        self.torus = CirculantEmbedding(operator)
        values, vectors = torch.linalg.eigh(self.torus.symbol @ self.torus.symbol_adjoint)
        values = values.clamp_min(FLOOR * float(values.max()))
        self.inverse = (vectors / values[:, None]) @ vectors.mH

    def __call__(self, b: Tensor) -> Tensor:
        """``(B, *out_shape)``, floating point, to the same shape and dtype."""
        torus = self.torus
        if self.inverse.dtype != b.dtype.to_complex():
            self.inverse = self.inverse.to(b.dtype.to_complex())
        return torus.rows.extract(torus.back(multiply(self.inverse, torus.transform(torus.rows.embed(b)))))


def _grid(conv: Convolution, larger: int) -> tuple[int, ...]:
    """The smallest torus, or a little larger one.

    Taps that leave it come back among padding pixels, which hold 0 like those they stand for.
    """
    ends = [
        max((o - 1) * s + d * (k - 1) + 1 - before, before + n, o * s)
        for o, s, d, k, (before, _), n in zip(
            conv.out_shape[1:], conv.stride, conv.dilation, conv.kernel, conv.padding, conv.in_shape[1:], strict=True
        )
    ]
    return tuple(-(-end // s) + larger for end, s in zip(ends, conv.stride, strict=True))
