"""The whole matrix at once: for any map small enough."""

from __future__ import annotations

from torch import Tensor

from ..errors import TooLargeError
from ..maps import LinearMap
from .basis import projector
from .solver import Solver

MEMORY_LIMIT = 8 << 30
"""Bytes above which the dense solver refuses."""


class DenseSolver(Solver):
    """Orthonormal basis of the nullspace or row space of the whole matrix.

    Args:
        map: any.
        limit: bytes the factorisation may take.

    Raises:
        TooLargeError: it would take more; the message holds the figures.
    """

    name = "dense"

    def __init__(self, map: LinearMap, limit: int = MEMORY_LIMIT) -> None:
        super().__init__(map)
        needed = memory(map)
        if needed > limit:
            raise TooLargeError(
                f"the dense solver needs about {needed / 2**30:.1f} GiB for {map} "
                f"({map.out_dim} × {map.in_dim}), above the limit of {limit / 2**30:.1f} GiB; "
                "take a smaller input shape, or a layer whose kernel is no larger than its stride"
            )
        self.projector = projector(map.to_scipy())
        self.certificate = self.projector.certificate
        self.reason = f"{map.out_dim} × {map.in_dim} is small enough for the whole matrix"

    def _project(self, x: Tensor) -> Tensor:
        flat = self.projector.rows(x.reshape(len(x), self.map.in_dim))
        if self.projector.row is not None:
            flat = self.projector.rows(flat)  # takes out what rounding left of a large row space
        return flat.reshape(x.shape)


def memory(map: LinearMap) -> int:
    """Bytes that the dense solver needs at its peak, estimated: the matrix, three Gram matrices and two bases."""
    small = min(map.in_dim, map.out_dim)
    basis = map.in_dim * min(small, max(map.in_dim - small, 1))
    return 8 * (map.in_dim * map.out_dim + 3 * small * small + 2 * basis)
