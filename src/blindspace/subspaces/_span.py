"""The span of given vectors."""

from __future__ import annotations

from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..maps import Composed, Dense, Rearrange
from ._nullspace import nullspace
from .subspace import Subspace


def span(vectors: Tensor) -> Subspace:
    """All linear combinations of vectors, which need not be independent.

    Args:
        vectors: ``(k, *shape)``, floating point.

    Returns:
        The subspace, with the numerical rank of the vectors as its dimension.

    Raises:
        ShapeError: there is no vector, or it has no axes.
        ValueRangeError: a value is NaN or infinite.
    """
    if vectors.ndim < 2 or not len(vectors) or not vectors.is_floating_point():
        raise ShapeError(f"span needs floating-point vectors (k, *shape), k ≥ 1, got {tuple(vectors.shape)}")
    if not bool(vectors.isfinite().all()):
        raise ValueRangeError("span: a vector holds NaN or infinite values")
    shape = tuple(vectors.shape[1:])
    rows = Dense(vectors.flatten(1))
    return nullspace(rows if len(shape) == 1 else Composed(rows, Rearrange(shape, rows.in_shape))).complement
