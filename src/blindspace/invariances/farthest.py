"""A long perturbation within a subspace and the box: a norm is made large there as by the power method."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..subspaces import Subspace, nearest

ROUNDS = 12
"""Number of times that a perturbation is made longer."""


def farthest(
    v: Tensor,
    space: Subspace,
    low: Tensor,
    high: Tensor,
    length: float,
    part: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """A point of a subspace and a box near the direction of v that is about as long as asked for, if there is one.

    The nearest point to v comes first; as long as it is too short, that to a multiple of the point follows, which is no
    shorter: a linear functional grows on a convex set, as in the maximisation of a norm by the power method.

    Args:
        v: The direction, ``(1, *shape)``.
        space: The subspace.
        low: Lower bounds, at most 0.
        high: Upper bounds, at least 0.
        length: The length that is asked for; 0 for the nearest point.
        part: The part of a perturbation, ``(n,)``, whose length counts; all of it if None.
    """

    def counted(point: Tensor) -> Tensor:
        return point if part is None else part(point.flatten()).view_as(point)

    found = nearest(v, space, low, high, tolerance=1e-6, iterations=300).value
    size = float(counted(found).norm())
    for _ in range(ROUNDS):
        if size >= length or not size:
            break
        further = nearest(2 * length / size * counted(found), space, low, high, tolerance=1e-6, iterations=300).value
        new = float(counted(further).norm())
        if new < 1.01 * size:
            break
        found, size = further, new
    return found * min(1.0, length / size) if length and size else found
