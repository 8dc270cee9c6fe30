"""Intersections and sums of subspaces."""

from __future__ import annotations

from ..maps import side_by_side
from ._nullspace import nullspace
from .subspace import Subspace, same_shape


def intersection(a: Subspace, b: Subspace) -> Subspace:
    """What lies in both: the nullspace of both annihilators stacked. N(A) ∩ N(B) = N([A; B]).

    Raises:
        ShapeError: they are of different shapes.
        TooLargeError: the stacked map is too large.
    """
    same_shape(a, b)
    return nullspace(side_by_side([a.annihilator(), b.annihilator()]))


def union(a: Subspace, b: Subspace) -> Subspace:
    """The sum, smallest subspace that holds both: the complement of what is orthogonal to both.

    Raises:
        ShapeError: they are of different shapes.
        TooLargeError: the stacked map is too large.
    """
    same_shape(a, b)
    return intersection(a.complement, b.complement).complement
