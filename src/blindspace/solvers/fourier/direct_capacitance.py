"""The capacitance system solved directly: frequency by frequency along one axis, and by one dense matrix for the rest.

The unknowns H that lie beside the image along any axis but the last form a strip along the last axis, on which M is
block circulant. They are eliminated frequency by frequency; left is the Schur complement (block elimination; Golub &
Van Loan, Matrix Computations, section 4.5) of the unknowns V that lie beside the image along the last axis alone:

    M_HH e_H + M_HV e_V = r_H,   (M_VV − M_VH M_HH⁻¹ M_HV) e_V = r_V − M_VH M_HH⁻¹ r_H.

In two dimensions V is half of all unknowns, so that its dense matrix takes a quarter of the whole one. But M is
applied twice for it, which costs more than the whole inverse if there are few unknowns. Then V is all of them.
"""

from __future__ import annotations

from math import prod
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ..dense_algebra.quasidefinite import QuasidefiniteInverse, inverse_factor, inverse_of, lower_panels
from ..factor_cache import kept
from .capacitance import CapacitanceSystem, Strip, border_operations
from .circulant_embedding import WORST, CirculantEmbedding
from .symbol_products import transform_operations

VERSION = 5  # Version of the factors on disk, increased whenever they change
ROUNDING = 100.0  # Factor by which each pivot of the capacitance matrix must exceed ε cond(K)
PROOF = "Cholesky of the capacitance matrix in Fourier space"  # What proves full row rank
COLUMNS = 1024  # Columns of a symmetric product computed at a time
SLOWER = 2.75  # Time of an operation of transforms and small matrices over that of a dense product, at the least
SOLUTIONS = 1000  # Solutions over which the set-up is spread where the cheaper form is chosen


class DirectCapacitance(CapacitanceSystem):
    """The capacitance matrix inverted once; the dense part is kept on disk if that took long.

    M is quasi-definite if A Aᵀ is positive definite, and then all Cholesky factorisations by which it is inverted
    exist; that they do proves full row rank. All of it is computed in torch, as the threads of two libraries would wait
    for each other.

    Args:
        embedding: The circulant embedding of A.
        precision: The dtype to invert in; single takes half the bytes, and its pivots may prove less.

    Raises:
        UnsupportedLayerError: A does not have full row rank to working precision.
    """

    def __init__(self, embedding: CirculantEmbedding, precision: torch.dtype = torch.float64) -> None:
        super().__init__(embedding)
        self.precision = precision
        eliminated, _ = elimination(embedding)
        places = torch.arange(len(eliminated))
        self._h, self._v = places[eliminated], places[~eliminated]
        self.rest = self.indices(self._v)
        self.eliminated: Strip | None = None
        factored: Strip | None = None
        pivots: list[Tensor] = []
        if len(self._h):
            along = [len(embedding.grid) - 1]
            strip = self.strip(self._h, along, *self.blocks(self.first_column(self._h, along)))
            factor, pivots = inverse_factor(strip.spectrum, strip.surplus)
            # A product with M_HH⁻¹ reads half as much as those with two factors; refinement mends its rounding.
            self.eliminated = strip._replace(spectrum=inverse_of(factor, strip.surplus)).to(precision)
            factored = strip._replace(spectrum=factor).to(precision)
        self._require(pivots)
        made_from = {
            "solver": "fourier",
            "version": VERSION,
            "map": embedding.operator,
            "grid": embedding.grid,
            "precision": str(precision),
            "inverted": len(self.rest),
        }
        arrays = {
            name: torch.from_numpy(array) for name, array in kept(made_from, lambda: self._invert(factored)).items()
        }
        self.rest_inverse = QuasidefiniteInverse(len(self.rest), int((self.rest < self.z).sum()), arrays["factor"])
        self.proof = PROOF if self._proved([*pivots, arrays["pivots_z"], arrays["pivots_f"]]) else None

    @staticmethod
    def memory(embedding: CirculantEmbedding, precision: torch.dtype = torch.float64) -> int:
        """Bytes taken at the peak: the matrix of V with its coupling to H or its inverse, and all entries of M."""
        eliminated, unknowns = elimination(embedding)
        h = int(unknowns[eliminated].sum())
        v = int(unknowns.sum()) - h
        entries = 3 * embedding.size(embedding.operator) * embedding.columns.channels**2
        return precision.itemsize * (v * v + max(v * v, v * h) + entries)

    def _invert(self, factored: Strip | None) -> dict[str, np.ndarray]:
        """The inverse factor of the Schur complement, with G of M_HH⁻¹ = Gᵀ J G as a strip if there is one."""
        matrix, coupling = self.blocks((self._v, self._v), (self._h, self._v), dtype=self.precision)
        if factored is not None and len(self.rest):
            cells, d = factored.unknowns.shape
            coupling = coupling[torch.searchsorted(self.indices(self._h), factored.unknowns.flatten())]
            signs = torch.where(torch.arange(d) < factored.surplus, 1.0, -1.0).to(self.precision).repeat(cells)[:, None]
            for some in torch.arange(len(matrix)).split(COLUMNS):
                coupling[:, some] = factored @ coupling[:, some]
            for start in range(0, len(matrix), COLUMNS):  # the lower half alone
                some = signs * coupling[:, start : start + COLUMNS]
                matrix[start:, start : start + COLUMNS].addmm_(coupling[:, start:].mT, some, alpha=-1)
            del some
        del coupling
        factor, pivots = inverse_factor(matrix, int((self.rest < self.z).sum()))
        self._require(pivots)
        return {"factor": lower_panels(factor).numpy(), "pivots_z": pivots[0].numpy(), "pivots_f": pivots[1].numpy()}

    def _require(self, pivots: list[Tensor]) -> None:
        if self.precision == torch.float64 and not self._proved(pivots):
            raise UnsupportedLayerError("it does not have full row rank to working precision")

    def _proved(self, pivots: list[Tensor]) -> bool:
        """Whether the squared pivots exceed the rounding errors of the entries, which are those of K⁻¹."""
        values = self.embedding.gram_values
        rounding = ROUNDING * torch.finfo(self.precision).eps * float(values.max() / values.min())
        least = max(WORST, rounding)
        return all(float(each.min()) > least * float(each.max()) for each in pivots if each.numel())

    def to(self, dtype: torch.dtype) -> Self:
        """The same system in another precision, inverses included."""
        other = super().to(dtype)
        other.eliminated = None if self.eliminated is None else self.eliminated.to(dtype)
        other.rest_inverse = self.rest_inverse.to(dtype)
        return other

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r to rounding; the tolerance does not matter."""
        e = torch.zeros_like(r)
        if self.eliminated is None:
            e[self.rest] = self.rest_inverse @ r[self.rest]
            return e
        strip = self.eliminated.unknowns.flatten()
        e[strip] = self.eliminated @ r[strip]
        if not len(self.rest):
            return e
        *first, final = range(len(self.embedding.grid))
        last = [final]
        rest = torch.zeros_like(r)
        rest[self.rest] = self.rest_inverse @ (r[self.rest] - self.apply(e, first, last)[self.rest])
        rest[strip] = e[strip] - self.eliminated @ self.apply(rest, last, first)[strip]
        return rest


def elimination(embedding: CirculantEmbedding) -> tuple[Tensor, Tensor]:
    """Which boundary places are eliminated, bool ``(places,)``, and the number of unknowns at every place.

    These are the places that lie beside the image along any axis but the last; none if the whole inverse costs less.
    """
    ends, axes = (embedding.rows, embedding.columns), range(len(embedding.grid) - 1)
    beside = torch.cat(
        [
            torch.stack([torch.zeros_like(end.boundary, dtype=torch.bool), *(end.beside(a) for a in axes)]).any(0)
            for end in ends
        ]
    )
    unknowns = torch.cat([torch.full_like(end.boundary, end.shape[0]) for end in ends])
    h, n = int(unknowns[beside].sum()), int(unknowns.sum())
    whole, less = operations(embedding, 0, n), operations(embedding, h, n - h)
    return (beside if less < whole else torch.zeros_like(beside)), unknowns


def operations(embedding: CirculantEmbedding, h: int, v: int) -> float:
    """What a solution costs if h of the unknowns are eliminated and v are left, with its share of the set-up.

    The unit is a real multiplication or addition of a dense product. Set-up counts the factor's inverse, v³ · 2/3, and
    the Schur complement, v² h; a solution the products with both triangles, and for the elimination two products with
    M and two with M_HH⁻¹.
    """
    dense = 2 * v**2 + (2 / 3 * v**3 + v**2 * h) / SOLUTIONS
    if not h:
        return dense
    cells, p = embedding.grid[-1], embedding.rows.channels
    gram = 2 * transform_operations(embedding, p) + 16 * p * p * (prod(embedding.grid) / 2)
    strip = 8 * (h / cells) ** 2 * (cells // 2 + 1)
    return dense + SLOWER * 2 * (gram + 2 * border_operations(embedding) + strip)
