"""A smaller map with the same singular values, up to a factor and some zeros.

Factors that keep lengths up to one number, at either end of a composed map, only multiply the singular values. Of an
inner factor M that brings many values to few, M = L Q with orthonormal rows Q, L alone has the same A Aᵀ.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...maps import Composed, Dense, Diagonal, Kronecker, LinearMap, compose
from ...maps._gather import MOVES, positions
from ...maps.linear_map import Adjoint


class Core(NamedTuple):
    """What is left of a map.

    Attributes:
        operator: without the factors that keep lengths.
        gain: what its singular values are to be multiplied with.
    """

    operator: LinearMap
    gain: float


def core(operator: LinearMap) -> Core:
    """The map without the factors at either end that keep lengths, and with no more inputs than its inner one needs.

    Args:
        operator: any.
    """
    if isinstance(operator, Adjoint):
        inner, gain = core(operator.of)
        return Core(inner.T, gain)
    whole = compose(operator)
    factors = whole.factors if isinstance(whole, Composed) else [whole]
    gain = 1.0
    while len(factors) > 1 and (factor := _keeps_lengths(factors[-1])):
        factors, gain = factors[:-1], gain * factor
    while len(factors) > 1 and (factor := _keeps_lengths(factors[0].T)):
        factors, gain = factors[1:], gain * factor
    if len(factors) > 1:
        factors = [_shortened(factors[0]), *factors[1:]]
    return Core(compose(*factors), gain)


def _keeps_lengths(operator: LinearMap) -> float | None:
    """The number c for which ‖A x‖ = c ‖x‖ for every x, of a map that scales or moves values; None where there is none.

    Args:
        operator: such a map or the adjoint of one.
    """
    inner = operator.of if isinstance(operator, Adjoint) else operator
    if isinstance(inner, Diagonal):
        sizes = inner.weight.abs().flatten()
    elif not isinstance(inner, MOVES):
        return None
    elif isinstance(operator, Adjoint):  # A Aᵀ is diagonal only where no value is read twice
        read = positions(inner)
        assert read is not None
        return 1.0 if int(read.min()) >= 0 and len(torch.unique(read)) == len(read) else None
    else:
        sizes = inner.adjoint(torch.ones(1, *inner.out_shape, dtype=torch.float64)).flatten().sqrt()
    return float(sizes[0]) if float(sizes[0]) > 0 and bool((sizes == sizes[0]).all()) else None


def _shortened(operator: LinearMap) -> LinearMap:
    """A map of matrices of no more columns than rows, with the same A Aᵀ."""
    if isinstance(operator, Dense):
        return Dense(_lower(operator.matrix), operator.leading)
    if isinstance(operator, Kronecker):
        matrices = [_lower(matrix) for matrix in operator.matrices]
        kept = operator.in_shape[: operator.axes.start]
        return Kronecker(matrices, (*kept, *(matrix.shape[1] for matrix in matrices)))
    return operator


def _lower(matrix: Tensor) -> Tensor:
    """L of M = L Q; a matrix M that has no more columns than rows as it is."""
    return matrix if matrix.shape[1] <= matrix.shape[0] else torch.linalg.qr(matrix.T, mode="r").R.T.contiguous()
