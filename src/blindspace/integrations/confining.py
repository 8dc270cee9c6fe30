"""Attacks of other libraries, confined to a subspace by what they attack rather than by how they step.

An attack that takes the sign of a gradient, clips or adds noise leaves every subspace, whatever gradient it is given.
So the attack is given another model: x ↦ f(x₀ + P (x − x₀)), with P the projector onto the subspace and x₀ the image
under attack. Its gradient is the projected one, and wherever the attack goes, what f has read is x₀ plus a perturbation
of the subspace. Of what the attack returns, x₀ + P (x − x₀) is taken, moved to the nearest point of the subspace in the
pixel range and the attack's ball (``subspaces.nearest``), and only that is judged and returned.
"""

from __future__ import annotations

from math import inf

from torch import Tensor

from ..errors import ShapeError
from ..subspaces import Norm, Subspace, nearest
from ..subspaces.box import share_outside
from ..subspaces.davis_yin import l2_norms


def along(space: Subspace, start: Tensor, x: Tensor) -> Tensor:
    """x₀ + P (x − x₀), differentiable.

    Args:
        space: The subspace.
        start: x₀, ``(B, *shape)``; one image serves any number of them.
        x: ``(B, *shape)``.

    Raises:
        ShapeError: There are several images x₀, and not one for each x.
    """
    if len(start) not in (1, len(x)):
        raise ShapeError(
            f"the attack asks about {len(x)} images where {len(start)} are attacked, so that it is not known which "
            "ones these are; give it one image at a time"
        )
    return start + space.project(x - start)


def settled(
    space: Subspace,
    start: Tensor,
    found: Tensor,
    bounds: tuple[float, float],
    radius: float = inf,
    norm: Norm = "linf",
) -> Tensor:
    """The images in x₀ + subspace, the pixel range and a ball around x₀ nearest to x₀ + P (x − x₀).

    Args:
        space: The subspace.
        start: x₀ in the pixel range, ``(B, *shape)``.
        found: x, of that shape.
        bounds: The pixel range.
        radius: Radius of the ball.
        norm: Norm of the ball.
    """
    moved = space.project(found.detach() - start)
    low, high = (bound - start for bound in bounds)
    best = nearest(moved, space, low.clamp(max=0), high.clamp(min=0), radius, norm).value
    return (start + best).clamp(*bounds)


def residual(space: Subspace, start: Tensor, images: Tensor) -> float:
    """Largest ‖(I − P)(x − x₀)‖ / ‖x − x₀‖ of a batch, measured."""
    changed = images - start
    moves = l2_norms(changed).flatten() > 0
    return float(share_outside(space, changed[moves]).max()) if bool(moves.any()) else 0.0
