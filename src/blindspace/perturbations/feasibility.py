"""From nearly inside the pixel box to inside it to the last bit, without leaving the subspace.

Known as the Douglas-Rachford method for convex feasibility (Lions & Mercier 1979). It ends after finitely many steps
because it aims a little inside the box. Where the box is too tight for that, some values must not change at all, such
as those of a white wall: the values that stay outside are pinned to 0, and the subspace is restricted to the
perturbations that vanish there, exactly where a basis is stored: then the rest of the splitting is as quick as any.
0 lies in the box, so pinning too many values costs magnitude and nothing else.

Every comparison with the box allows for rounding, so that rounding decides nothing: white and black pixels where the
perturbation is 0 up to rounding count as inside on every processor, and are clamped at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..subspaces.box import within_support
from .repeated import BASIS_LIMIT, Repeated, with_basis

AIM, LATER_AIM = 1e-4, 1e-3
"""Distance inside the box at which the first round of splitting aims, and the later ones."""

ROUNDS = 4
"""Number of rounds: without pinned values, with those that stay outside, and with all that can be pinned."""

FIRST_STEPS = 60
"""Number of steps of the first round."""

VALUES_STEPS = 600_000
"""Number of values of an image times number of steps of each later round, …"""

FEWEST_STEPS, MOST_STEPS = 30, 200
"""… between these numbers of steps."""

PINNABLE = 1e-4
"""Only values closer than this to a limit on one side, such as white ones, are pinned."""

VALUES_CUTS = 1_500_000
"""Number of values of an image times number of conjugate gradient steps that restrict it to unpinned values, …"""

FEWEST_CUTS, MOST_CUTS = 60, 500
"""… between these numbers of steps."""

WATCHED, STALLED = 20, 0.9
"""After so many steps, the distance of a point from the box must have fallen to this share for it to be pursued."""

ENOUGH = 0.95
"""Share of the restricted perturbation that must fit into the box for no further round to be tried."""

HOPELESS = 1e-3
"""No further round is tried where at most this share of a perturbation is left."""

UNMOVED = 1e-13
"""Largest change of the pinned values by a perturbation of norm 1 that counts as rounding."""

ALL_MOVED = 1e-6
"""Smallest singular value above which the Gram matrix shows the rank: its rounding errors are some 1e-14."""

RESIDUAL = 1e-12
"""Share of a perturbation outside the subspace above which 0 is returned in its place."""

SLACK = 2.0**-50
"""Distance from the box, relative to the largest value of the perturbation, that counts as rounding."""


def into_box(project: Repeated, delta: Tensor, low: Tensor, high: Tensor, aim: float = AIM) -> Tensor:
    """A perturbation of the subspace near the one given, inside the box to the last bit.

    Args:
        project: The subspace of harmless perturbations.
        delta: Perturbations, float64 ``(B, *shape)``.
        low: Smallest change of each value, not above 0, as delta.
        high: Largest change of each value, not below 0, as delta.
        aim: Distance inside the box at which the first round aims.

    Returns:
        ``(B, *shape)``; 0, which lies in both sets, where nothing else was found.
    """
    low, high = within_support(project, low.expand_as(delta), high.expand_as(delta))
    result = torch.zeros_like(delta)
    still = torch.arange(len(delta), device=delta.device)
    point, state, pinned = project.project(delta), delta, torch.zeros_like(delta, dtype=torch.bool)
    later = min(max(VALUES_STEPS // max(delta[:1].numel(), 1), FEWEST_STEPS), MOST_STEPS)
    hopeless = HOPELESS * delta.flatten(1).norm(dim=1)
    for number in range(ROUNDS):
        aims = (LATER_AIM, later) if number else (aim, FIRST_STEPS)
        moving = None
        if number and project.rows is not None:
            moving = [moved_by(project.rows.to(delta.device), values) for values in pinned]
            low, high = (limit.masked_fill(pinned, 0.0) for limit in (low, high))
            point = project.project_without(point, moving)
        point, state = _split(project, point, state, low, high, pinned, *aims, moving)
        done = _is_inside(point, low, high)
        result[still[done]] = point[done].clamp(low[done], high[done])
        held = pinned.flatten(1).any(1) & ~done
        if bool(held.any()):
            cut = point[held]
            if moving is None:
                # The pinned values are 0 only nearly so far; making them 0 moves the rest, which is scaled towards 0.
                state[held] = point[held] = cut = _leaving(project, cut, pinned[held])
            cut = cut.masked_fill(pinned[held], 0.0)
            share = _share(cut, low[held], high[held])
            best = result[still[held]]
            drawn = (_as(share, cut) * cut).clamp(low[held], high[held])
            longer = drawn.flatten(1).norm(dim=1) > best.flatten(1).norm(dim=1)
            result[still[held]] = torch.where(_as(longer, cut), drawn, best)
            done[held] = (share >= ENOUGH) | (cut.flatten(1).norm(dim=1) <= hopeless[still[held]])
        if bool(done.all()):
            break
        pinned = pinned | ((torch.minimum(-low, high) < PINNABLE) & (_is_outside(point, low, high) | (number > 0)))
        still, point, state, pinned, low, high = (t[~done] for t in (still, point, state, pinned, low, high))
    left = project.reject(result).flatten(1).norm(dim=1)
    harmless = left <= RESIDUAL * result.flatten(1).norm(dim=1)
    return torch.where(_as(harmless, result), result, 0.0)


def where_saturated(
    project: Repeated,
    made: Tensor,
    images: Tensor,
    again: Callable[[Repeated, slice], Tensor],
    limit: int = BASIS_LIMIT,
) -> Tensor:
    """Try again, where nothing was found in the box, with black and white values fixed: all others can move both ways.

    Args:
        project: The subspace; nothing more is tried where a basis of it would be large.
        made: Perturbations found, ``(B, *shape)``.
        images: Images that they are added to, as made.
        again: Looks for a perturbation ``(1, *shape)`` of the image that ``slice`` names, in the subspace given.
        limit: Largest size of a basis in bytes.
    """
    nothing = torch.nonzero(~made.flatten(1).any(1)).flatten().tolist()
    project = with_basis(project, limit) if nothing else project
    if project.rows is None:
        return made
    made = made.clone()
    for n in nothing:
        made[n] = again(unmoved(project, (images[n] <= 0) | (images[n] >= 1)), slice(n, n + 1))[0]
    return made


def unmoved(project: Repeated, pinned: Tensor) -> Repeated:
    """The perturbations of the subspace that vanish at some values.

    Args:
        project: The subspace, with a basis.
        pinned: Whether each value must not change, bool, of the subspace's shape.
    """
    assert project.rows is not None
    rows = project.rows.to(pinned.device)
    moving = moved_by(rows, pinned)
    free = torch.linalg.qr(moving, mode="complete").Q[:, moving.shape[1] :].T @ rows
    return Repeated(project.space, free.masked_fill(pinned.flatten(), 0.0))


def moved_by(rows: Tensor, pinned: Tensor) -> Tensor:
    """An orthonormal basis of the combinations of some rows that move pinned values, ``(len(rows), k)``.

    Combinations that move them by little are among those: no iteration would ever remove what they do.

    Args:
        rows: Orthonormal rows ``(dim, n)``.
        pinned: Whether each value must not change, bool, n in all.
    """
    columns = rows[:, pinned.flatten()]
    if len(rows) < columns.shape[1]:
        factor, failed = torch.linalg.cholesky_ex(columns @ columns.T)
        if not bool(failed) and _smallest(factor) > ALL_MOVED:
            return torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        columns = torch.linalg.qr(columns.T, mode="r").R.T
    basis: Tensor
    basis, triangle = torch.linalg.qr(columns)
    if _smallest(triangle.T) > UNMOVED:  # mostly; a singular value decomposition takes many times as long
        return basis
    u, sigma, _ = torch.linalg.svd(triangle)
    moving: Tensor = basis @ u[:, sigma > UNMOVED]
    return moving


def _smallest(lower: Tensor) -> float:
    """A lower bound on the smallest singular value of a lower triangular matrix: 0 if that is singular, ∞ if empty.

    It is 1 / ‖L⁻¹‖ in the Frobenius norm, at most √k below that singular value.
    """
    identity = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
    size = float(torch.linalg.solve_triangular(lower, identity, upper=False).norm())
    if not math.isfinite(size):
        return 0.0
    return 1 / size if size else math.inf


def _split(
    project: Repeated,
    point: Tensor,
    state: Tensor,
    low: Tensor,
    high: Tensor,
    pinned: Tensor,
    aim: float,
    steps: int,
    moving: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Douglas-Rachford splitting until every point of the subspace is inside the box, or the steps are done.

    A point that hardly comes nearer to the box is given up before: its values that stay outside are known by then.

    Args:
        project: The subspace.
        point: Points of the subspace, ``(B, *shape)``; one inside the box stays.
        state: State of the splitting, as point.
        low: Lower limits of the box, as point.
        high: Upper limits of the box, as point.
        pinned: Whether each value is to become 0, bool, as point.
        aim: Distance inside the box at which the splitting aims.
        steps: Largest number of steps.
        moving: For each image what is left out of the subspace, as ``Repeated.project_without`` takes it.
    """
    inner_low = torch.minimum(low + aim, (low + high) / 2).masked_fill(pinned, 0.0)
    inner_high = torch.maximum(high - aim, (low + high) / 2).masked_fill(pinned, 0.0)
    ends, points = state.clone(), point.clone()
    still = torch.arange(len(point), device=point.device)
    before = point.new_full((len(point),), torch.inf)
    for step in range(steps + 1):
        over = _is_inside(point, low, high) | (step == steps)
        if step % WATCHED == 0:
            far = (point - point.clamp(low, high)).flatten(1).norm(dim=1)
            over, before = over | (far > STALLED * before), far
        if bool(over.any()):
            points[still[over]], ends[still[over]] = point[over], state[over]
            carried = (still, point, state, low, high, inner_low, inner_high, before)
            still, point, state, low, high, inner_low, inner_high, before = (t[~over] for t in carried)
            moving = moving and [basis for basis, ends_here in zip(moving, over.tolist(), strict=True) if not ends_here]
        if not len(still):
            break
        inside = state.clamp(inner_low, inner_high)
        mirrored = 2 * inside - state
        point = project.project(mirrored) if moving is None else project.project_without(mirrored, moving)
        state = state + point - inside
    return points, ends


def _leaving(project: Repeated, v: Tensor, pinned: Tensor) -> Tensor:
    """The perturbation of the subspace nearest to v that is 0 at the pinned values, by conjugate gradients.

    It is P v − P y, where y is 0 but at the pinned values and P y equals P v there.
    """
    tiny = torch.finfo(v.dtype).tiny
    result = project.project(v)
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
        parallel = project.project(direction)
        found = found - _as(squared / (direction * parallel).flatten(1).sum(1).clamp(min=tiny), found) * parallel
        rest = torch.where(pinned, found, 0.0)
        before, squared = squared, rest.flatten(1).square().sum(1)
        direction = rest + _as(squared / before, found) * direction
    result[still] = found
    return result


def _share(v: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The largest t ≤ 1 with t v inside the box up to rounding, ``(B,)``."""
    room = torch.where(v > 0, high, low) / v
    return torch.where(_is_outside(v, low, high), room, 1.0).flatten(1).amin(1)


def _is_outside(v: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Whether each value is outside the box by more than rounding, bool, as v."""
    slack = _as(SLACK * v.flatten(1).abs().amax(1), v) if v.numel() else 0.0
    outside: Tensor = (v < low - slack) | (v > high + slack)
    return outside


def _is_inside(v: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ~_is_outside(v, low, high).flatten(1).any(1)


def _as(per_image: Tensor, v: Tensor) -> Tensor:
    """``(B,)`` shaped to go with ``(B, *shape)``."""
    return per_image.view(-1, *[1] * (v.ndim - 1))
