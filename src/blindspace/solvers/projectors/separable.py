"""Axis by axis: if A = M₁ ⊗ M₂ ⊗ …, the row space of A is the product of those of the small matrices.

The projector onto the row space is R = R₁ ⊗ R₂ ⊗ … with Rᵢ that of Mᵢ, and P = I − R. So a resize of a photograph is
never formed as a matrix, and an axis along which Mᵢ is injective, Rᵢ = I, costs nothing (Van Loan, The ubiquitous
Kronecker product, 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Kronecker, LinearMap
from ..base import Cost, Solver, register
from ..dense_algebra.orthonormal_basis import CANCELLED, projector
from ..dense_algebra.products import norms, power_of_two
from ..rank.certificate import GAP, KINDS, MARGIN, Certificate

TAME = 4.0
"""Condition of Mᵢ up to which its own rows serve as a basis: Rᵢ = Mᵢᵀ (Mᵢ Mᵢᵀ)⁻¹ Mᵢ is then exact to rounding."""

NEGLIGIBLE = 2.0**-58
"""Share of the largest entry below which entries of the inverse are dropped. Away from its diagonal the inverse of a
well-conditioned band matrix decays exponentially (Demko, Moss & Smith 1984); entries this small are below rounding in
float64, and without them the inverse is a band matrix, too, and quicker to apply. Far from the diagonal they are
subnormal in float32, where each product with them takes many times as long."""


@dataclass(frozen=True)
class Axis:
    """The projector onto one matrix's row space as readᵀ · inner · read, with read ``(r, n)`` and inner ``(r, r)``."""

    certificate: Certificate
    read: Tensor
    inner: Tensor


@register
class SeparableSolver(Solver):
    """One small factorisation per axis of a ``Kronecker`` map."""

    name = "separable"
    scope = "resizes, crops and pools along the axes"
    how = "one small matrix per axis"

    def __init__(self, operator: Kronecker) -> None:
        super().__init__(operator)
        self.kronecker = operator
        self.axes = [_axis(matrix) for matrix in operator.matrices]
        self.certificate = _product([axis.certificate for axis in self.axes], operator)
        self.read = Kronecker([axis.read for axis in self.axes], operator.in_shape)
        self.inner = Kronecker([axis.inner for axis in self.axes], self.read.out_shape)
        sizes = " and ".join(f"{len(matrix)} × {matrix.shape[1]}" for matrix in operator.matrices)
        ranks = " and ".join(str(axis.certificate.rank) for axis in self.axes)
        self.reason = f"one small matrix per axis: {sizes}, of rank {ranks}"

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map is a Kronecker product of one matrix per axis."""
        return isinstance(operator, Kronecker)

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """For each axis the matrix, three Gram matrices and two bases."""
        assert isinstance(operator, Kronecker)
        sizes = [tuple(matrix.shape) for matrix in operator.matrices]
        return Cost(sum(8 * (3 * m * n + 3 * min(m, n) ** 2) for m, n in sizes), 30)

    def _project(self, x: Tensor) -> Tensor:
        y, taken = self._reject(x)
        # "Twice is enough": if nearly all of x was removed, the rounding of that part shows in what is left.
        left = norms(y) ** 2
        if bool((left < CANCELLED**2 * (left + taken)).any()):
            y, _ = self._reject(y)
        return y

    def _reject(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x minus its part in the row space, and the squared norm of that part, ``(B,)``, from the values read."""
        values = self.read._forward(x)
        inner = self.inner._forward(values)
        taken = (values * inner).flatten(1).sum(1)
        return self.read._add_adjoint(x, -inner), taken

    def _diagonal(self) -> Tensor:
        """1 − the product of the diagonals of the row-space projectors of the axes, alike in all channels."""
        read = torch.ones((), dtype=torch.float64)
        for axis in self.axes:
            read = read[..., None] * (axis.read * (axis.inner @ axis.read)).sum(0)
        return (1 - read).expand(self.operator.in_shape)

    def _gram_inverse(self, b: Tensor) -> Tensor:
        return self._inverse._forward(b)

    def rough_gram_inverse(self, b: Tensor) -> Tensor:
        """By the same matrices, in the dtype of b."""
        return self._inverse._forward(b)

    @cached_property
    def _inverse(self) -> Kronecker:
        """The inverses of Mᵢ Mᵢᵀ, one per axis."""
        for matrix, axis in zip(self.kronecker.matrices, self.axes, strict=True):
            if axis.certificate.rank < len(matrix):
                raise UnsupportedLayerError(
                    f"A Aᵀ of {self.operator} has no inverse: {axis.certificate.rank} of {len(matrix)} rows along an "
                    "axis are independent"
                )
        return Kronecker([_gram_inverse(matrix) for matrix in self.kronecker.matrices], self.operator.out_shape)


def _axis(matrix: Tensor) -> Axis:
    found = projector(matrix.numpy())
    certificate = found.certificate
    out, size = matrix.shape
    if certificate.rank == size:
        return Axis(certificate, _eye(size), _eye(size))
    if certificate.rank == out and certificate.condition <= TAME:
        matrix = matrix / power_of_two(float(matrix.abs().max()))  # so that tiny weights do not vanish in float32
        inverse = _gram_inverse(matrix)
        # The rows are orthogonal, such as those of pooling without overlap.
        if bool((inverse == inverse.diagonal().diag()).all()):
            return Axis(certificate, matrix * inverse.diagonal().sqrt()[:, None], _eye(out))
        return Axis(certificate, matrix, inverse)
    if found.row is not None:
        row = torch.zeros(found.row.shape[1], size, dtype=torch.float64)
        row[:, found.read] = found.row.T
        return Axis(certificate, row, _eye(len(row)))
    assert found.null is not None
    seen = torch.zeros(size, size, dtype=torch.float64)
    seen[found.read[:, None], found.read] = _eye(len(found.read)) - found.null @ found.null.T
    return Axis(certificate, _eye(size), seen)


def _eye(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def _gram_inverse(matrix: Tensor) -> Tensor:
    """(M Mᵀ)⁻¹ by Cholesky, without negligible entries."""
    scale = power_of_two(float(matrix.abs().max()))
    scaled = matrix / scale
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(scaled @ scaled.T))
    inverse[inverse.abs() < NEGLIGIBLE * inverse.abs().max()] = 0
    return inverse / scale / scale


def _product(axes: list[Certificate], operator: Kronecker) -> Certificate:
    """The certificate of the whole map, whose singular values are the products of those of the axes.

    The kind is that of the worst axis; it is undecided, too, if the products have no gap although each axis has one.
    """
    largest = [axis.sigma_max for axis in axes]
    sigma_max = prod(largest)
    above = prod(axis.sigma_above or 0.0 for axis in axes)
    below = [
        prod(largest[:i]) * axis.sigma_below * prod(largest[i + 1 :])
        for i, axis in enumerate(axes)
        if axis.sigma_below is not None
    ]
    nonzero = np.array([[int(side.any(1).sum()) for side in (m, m.T)] for m in operator.matrices])
    tolerance = float(max(nonzero.prod(0)) * operator.leading * np.finfo(np.float64).eps * sigma_max)
    kind = max((axis.kind for axis in axes), key=KINDS.index)
    if above and (above < MARGIN * tolerance or any(above < GAP * sigma for sigma in below)):
        kind = "undecided"
    proved = [axis.proved_rank for axis in axes]
    return Certificate(
        rank=prod(axis.rank for axis in axes) * operator.leading,
        kind=kind,
        method=f"each axis by itself: {max(axes, key=lambda axis: axis.rank).method}",
        tolerance=tolerance,
        sigma_max=sigma_max,
        sigma_above=above or None,
        sigma_below=max(below, default=None),
        exact_rank=None if None in proved else prod(rank for rank in proved if rank is not None) * operator.leading,
    )
