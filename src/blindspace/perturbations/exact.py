"""From nearly inside the pixel box to inside it to the last bit, without leaving the subspace.

Douglas-Rachford splitting does it in finitely many steps, as it aims a little inside the box. Where the box is too
tight for that, some values must not change at all, such as those of a white wall: those that stay outside are pinned to
0, and the space is cut down to what leaves them be. 0 lies in the box, so pinning too much costs size and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .repeated import Project, with_basis

AIM, LATER_AIM = 1e-4, 1e-3
"""How far inside the box the first round of splitting aims, and the later ones."""

ROUNDS = 6
"""After the first, more is pinned from round to round."""

FIRST_STEPS = 60
"""Of the first round."""

VALUES_STEPS = 600_000
"""Values of an image times steps of each later round, …"""

FEWEST_STEPS, MOST_STEPS = 30, 200
"""… between these."""

PINNABLE = 1e-4
"""A value nearer than this to a limit on one side, such as a white one, may be pinned."""

VALUES_CUTS = 1_500_000
"""Values of an image times steps of conjugate gradients that cut the space down to what leaves pinned values be, …"""

FEWEST_CUTS, MOST_CUTS = 60, 500
"""… between these."""

ENOUGH = 0.95
"""Share of what is left by that which must lie inside the box for no further round to be tried."""

HOPELESS = 1e-3
"""Where no more than this share of a perturbation is left, no further round is tried."""

UNMOVED = 1e-13
"""What a perturbation of norm 1 may do to the pinned values and count as rounding."""

RESIDUAL = 1e-12
"""Share of a perturbation outside the space above which it is given up for 0."""


def into_box(project: Project, delta: Tensor, low: Tensor, high: Tensor, aim: float = AIM) -> Tensor:
    """A perturbation of the space near the one given, inside the box to the last bit.

    Args:
        project: onto the space of harmless perturbations.
        delta: float64 ``(B, *shape)``.
        low: smallest change of each value, not above 0, as delta.
        high: largest change, not below 0, as delta.
        aim: how far inside the box the first attempt aims, above what is outside it.

    Returns:
        ``(B, *shape)``; 0, which lies in both, where nothing else was found.
    """
    result = torch.zeros_like(delta)
    still = torch.arange(len(delta), device=delta.device)
    point, state, pinned = project(delta), delta, torch.zeros_like(delta, dtype=torch.bool)
    later = min(max(VALUES_STEPS // max(delta[:1].numel(), 1), FEWEST_STEPS), MOST_STEPS)
    hopeless = HOPELESS * delta.flatten(1).norm(dim=1)
    for number in range(ROUNDS):
        how = (LATER_AIM, later) if number else (aim, FIRST_STEPS)
        point, state = _split(project, point, state, low, high, pinned, *how)
        done = _is_inside(point, low, high)
        result[still[done]] = point[done]
        held = pinned.flatten(1).any(1) & ~done
        if bool(held.any()):
            # What was pinned is 0 only nearly so far; making it so moves the rest, which goes back towards 0.
            cut = _leaving(project, point[held], pinned[held])
            state[held] = point[held] = cut
            cut = cut.masked_fill(pinned[held], 0.0)
            share = _share(cut, low[held], high[held])
            best = result[still[held]]
            drawn = (_as(share, cut) * cut).clamp(low[held], high[held])
            longer = drawn.flatten(1).norm(dim=1) > best.flatten(1).norm(dim=1)
            result[still[held]] = torch.where(_as(longer, cut), drawn, best)
            done[held] = (share >= ENOUGH) | (cut.flatten(1).norm(dim=1) <= hopeless[still[held]])
        if bool(done.all()):
            break
        outside = (point < low) | (point > high)
        pinned = pinned | (outside & (torch.minimum(-low, high) < PINNABLE))
        still, point, state, pinned, low, high = (t[~done] for t in (still, point, state, pinned, low, high))
    left = (result - project(result)).flatten(1).norm(dim=1)
    harmless = left <= RESIDUAL * result.flatten(1).norm(dim=1)
    return torch.where(_as(harmless, result), result, 0.0)


def _split(
    project: Project, point: Tensor, state: Tensor, low: Tensor, high: Tensor, pinned: Tensor, aim: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Douglas-Rachford splitting until every point of the space is inside the box, or the steps are done.

    Args:
        project: onto the space.
        point: in the space, ``(B, *shape)``; one inside the box stays.
        state: of the splitting, as point.
        low: of the box, as point.
        high: of the box, as point.
        pinned: values to bring to 0, bool, as point.
        aim: how far inside.
        steps: at most.
    """
    inner_low = torch.minimum(low + aim, (low + high) / 2).masked_fill(pinned, 0.0)
    inner_high = torch.maximum(high - aim, (low + high) / 2).masked_fill(pinned, 0.0)
    for _ in range(steps):
        done = _is_inside(point, low, high)
        if bool(done.all()):
            break
        inside = state.clamp(inner_low, inner_high)
        parallel = project(2 * inside - state)
        state = state + parallel - inside
        point = torch.where(_as(done, point), point, parallel)
    return point, state


def _leaving(project: Project, v: Tensor, pinned: Tensor) -> Tensor:
    """The perturbation of the space nearest to v that is 0 at the pinned values."""
    if project.basis is None:
        return _leaving_by_iteration(project, v, pinned)
    found = [unmoved(project, values)(one[None]) for one, values in zip(v, pinned, strict=True)]
    return torch.cat(found).masked_fill(pinned, 0.0)


def where_saturated(
    project: Project, made: Tensor, images: Tensor, again: Callable[[Project, slice], Tensor]
) -> Tensor:
    """Where nothing was found in the box, what moves no black or white value: all others have room both ways.

    Args:
        project: onto the space; where a basis of it would be large nothing more is tried.
        made: perturbations found, ``(B, *shape)``.
        images: that they are added to, as made.
        again: looks for one of the image ``slice`` names, in the space given, ``(1, *shape)``.
    """
    nothing = torch.nonzero(~made.flatten(1).any(1)).flatten().tolist()
    project = with_basis(project) if nothing else project
    if project.basis is None:
        return made
    made = made.clone()
    for n in nothing:
        made[n] = again(unmoved(project, (images[n] <= 0) | (images[n] >= 1)), slice(n, n + 1))[0]
    return made


def unmoved(project: Project, pinned: Tensor) -> Project:
    """The projector onto those perturbations of the space that leave some values be.

    Args:
        project: onto the space, with a basis.
        pinned: the values, bool, of the space's shape.
    """
    assert project.basis is not None
    basis = project.basis.to(pinned.device)
    u, sigma, _ = torch.linalg.svd(basis[:, pinned.flatten()], full_matrices=True)
    # What moves them by little is left out too: no iteration would ever be rid of it.
    free = u[:, int((sigma > UNMOVED).sum()) :].T @ basis
    return Project(project.space, free.masked_fill(pinned.flatten(), 0.0))


def _leaving_by_iteration(project: Project, v: Tensor, pinned: Tensor) -> Tensor:
    """The same by conjugate gradients: P v − P y, where y is 0 but at the pinned values and P y there equal to P v."""
    tiny = torch.finfo(v.dtype).tiny
    result = project(v)
    found = result.clone()
    rest = torch.where(pinned, found, 0.0)
    direction, squared = rest, rest.flatten(1).square().sum(1)
    enough = (torch.finfo(v.dtype).eps * found.flatten(1).norm(dim=1)).square() / 4
    still = torch.arange(len(v), device=v.device)
    for _ in range(min(max(VALUES_CUTS // max(v[0].numel(), 1), FEWEST_CUTS), MOST_CUTS)):
        open_ = squared > enough
        if not bool(open_.all()):
            result[still] = found
            kept = (still, found, direction, squared, enough, pinned)
            still, found, direction, squared, enough, pinned = (t[open_] for t in kept)
        if not len(still):
            break
        parallel = project(direction)
        found = found - _as(squared / (direction * parallel).flatten(1).sum(1).clamp(min=tiny), found) * parallel
        rest = torch.where(pinned, found, 0.0)
        before, squared = squared, rest.flatten(1).square().sum(1)
        direction = rest + _as(squared / before, found) * direction
    result[still] = found
    return result


def _share(v: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The largest t ≤ 1 with t v inside the box, ``(B,)``."""
    room = torch.where(v > 0, high, low) / v
    return torch.where((v < low) | (v > high), room, 1.0).flatten(1).amin(1)


def _is_inside(v: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ((v >= low) & (v <= high)).flatten(1).all(1)


def _as(per_image: Tensor, v: Tensor) -> Tensor:
    """``(B,)`` shaped to go with ``(B, *shape)``."""
    return per_image.view(-1, *[1] * (v.ndim - 1))
