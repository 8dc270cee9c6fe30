"""The largest harmless perturbation inside the pixel range: an image that people cannot recognise (section 5.1).

The paper maximises ‖x̂ − x‖² over x̂ in x + N(A) with penalties on pixels outside [0, 1]. Here nothing is left to
penalties: every x̂ lies in [0, 1] to the last bit and in x + N(A) to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..maps.linear_map import checked
from ..subspaces import Subspace
from .douglas_rachford import ascend, largest_bound
from .exact import into_box, where_saturated
from .repeated import Project, repeated
from .sample import refuse_zero_space
from .vertex_step import vertex_step

Progress = Callable[[int, int, str], None]

AT_ONCE = 16 << 20
"""Bytes of images worked on at a time."""

VALUES_STEPS = 3_000_000
"""Values of an image times steps taken by default, …"""

FEWEST, MOST = 100, 1000
"""… between these."""


@dataclass(frozen=True)
class Largest:
    """Images as far from those given as was found.

    Attributes:
        images: x̂, ``(B, *shape)``, float64, inside [0, 1] to the last bit; x itself where nothing else was found.
        msc: mean squared change ‖x̂ − x‖² / n of each, float64 ``(B,)``.
        bound: what the mean squared change of no harmless x̂ in [0, 1] exceeds, ``(B,)``; not known to be reached.
        residual: ‖A (x̂ − x)‖ / (‖A‖ ‖x̂ − x‖) of each, ``(B,)``; 0 where x̂ = x.
        gap: how much more ⟨x̂ − x, δ⟩ / n can be for another δ in the box, by linear programming, ``(B,)``: 0 at a
            local maximum; None where no vertex step was asked for.
        iterations: steps taken from each start.
        starts: of which the best was kept.
    """

    images: Tensor
    msc: Tensor
    bound: Tensor
    residual: Tensor
    gap: Tensor | None
    iterations: int
    starts: int

    def to_dict(self) -> dict[str, Any]:
        """The figures, without the images, as plain values for JSON."""
        return {
            "msc": self.msc.tolist(),
            "bound": self.bound.tolist(),
            "residual": self.residual.tolist(),
            "gap": None if self.gap is None else self.gap.tolist(),
            "iterations": self.iterations,
            "starts": self.starts,
        }


def largest(
    space: Subspace,
    images: Tensor,
    generator: torch.Generator | None = None,
    generators: Sequence[torch.Generator] | None = None,
    iterations: int | None = None,
    starts: int = 1,
    vertex_steps: int = 0,
    progress: Progress | None = None,
) -> Largest:
    """Harmless perturbations as large as can be found inside [0, 1] (section 5.1).

    From a random start an annealed Douglas-Rachford splitting climbs (``ascent.py``), what it ends in is brought
    inside the box exactly (``exact.py``), and steps of linear programming, where asked for, go on to a vertex from
    which none leads higher (``vertex.py``).

    Args:
        space: of harmless perturbations.
        images: x, ``(B, *space.shape)``, any floating dtype, in [0, 1].
        generator: of all starts; torch's own if None.
        generators: one an image instead, so that its start is its own whatever else is in the batch. Products of
            matrices round differently in batches of other sizes, and a long climb makes more of it.
        iterations: steps of the climb, of one projection each; if None as many as ``VALUES_STEPS`` allows an image of
            that size, between ``FEWEST`` and ``MOST``. More make it somewhat larger.
        starts: how many to take the best of.
        vertex_steps: linear programmes at most; for small images, or fronts that read small patches.
        progress: called with steps done, steps in all and what is done.

    Raises:
        ShapeError: the images are of another shape, or the generators not as many.
        ValueRangeError: a pixel is NaN or outside [0, 1], the space is {0}, or a count is too small.
        TooLargeError: the linear programmes would be too large.
    """
    x = checked(images, space.shape, "images").double()
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueRangeError("a pixel is NaN or outside [0, 1]; scale the images first")
    if generators is not None and len(generators) != len(x):
        raise ShapeError(f"{len(x)} images need as many generators, got {len(generators)}")
    steps = min(max(VALUES_STEPS // space.ambient_dim, FEWEST), MOST) if iterations is None else iterations
    if steps < 1 or starts < 1 or vertex_steps < 0:
        raise ValueRangeError(
            f"iterations and starts must be at least 1 and vertex_steps at least 0, got {steps}, {starts} and "
            f"{vertex_steps}"
        )
    refuse_zero_space(space, 1.0)
    project = repeated(space)
    parts = x.split(max(AT_ONCE // (8 * space.ambient_dim), 1)) if len(x) else []
    drawers = [generator] * len(x) if generators is None else list(generators)
    results: list[Largest] = []
    first = 0
    for number, part in enumerate(parts):
        own = drawers[first : first + len(part)]
        first += len(part)
        found = torch.zeros_like(part)
        for attempt in range(starts):
            done = (number * starts + attempt) * steps

            def report(step: int, done: int = done) -> None:
                if progress is not None:
                    progress(done + step, len(parts) * starts * steps, "largest perturbation")

            drawn = torch.stack([torch.randn(space.shape, generator=g, dtype=torch.float64) for g in own])
            start = drawn.to(part.device)
            climbed = ascend(project, start, -part, 1 - part, steps, report)
            made = into_box(project, climbed, -part, 1 - part)

            def again(inner: Project, n: slice, start: Tensor = start, part: Tensor = part) -> Tensor:
                low, high = -part[n], 1 - part[n]
                return into_box(inner, ascend(inner, start[n], low, high, steps, lambda step: None), low, high)

            found = _larger(found, where_saturated(project, made, part, again))
        gap = None
        if vertex_steps:
            step = vertex_step(space, found, -part, 1 - part, vertex_steps)
            found, gap = step.value, step.gap / space.ambient_dim
        results.append(_measured(space, part, found, gap, steps, starts))
    return _together(results) if results else _measured(space, x, torch.zeros_like(x), None, steps, starts)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    """Of each pair the one of the larger norm."""
    keep = a.flatten(1).norm(dim=1) >= b.flatten(1).norm(dim=1)
    return torch.where(keep.view(-1, *[1] * (a.ndim - 1)), a, b)


def _measured(space: Subspace, x: Tensor, delta: Tensor, gap: Tensor | None, iterations: int, starts: int) -> Largest:
    """What was reached, of the images themselves as they are rounded."""
    changed = (x + delta).clamp(0, 1)
    delta = changed - x
    size = delta.flatten(1).norm(dim=1)
    annihilator = space.annihilator()
    error = annihilator.forward(delta).flatten(1).norm(dim=1)
    scale = annihilator.norm() * size
    return Largest(
        images=changed,
        msc=size.square() / space.ambient_dim,
        bound=largest_bound(space, -x, 1 - x) / space.ambient_dim,
        residual=torch.where(size > 0, error / scale.clamp(min=torch.finfo(x.dtype).tiny), 0.0),
        gap=gap,
        iterations=iterations,
        starts=starts,
    )


def _together(results: list[Largest]) -> Largest:
    """Those of all parts as one."""
    gaps = [result.gap for result in results if result.gap is not None]
    return Largest(
        images=torch.cat([result.images for result in results]),
        msc=torch.cat([result.msc for result in results]),
        bound=torch.cat([result.bound for result in results]),
        residual=torch.cat([result.residual for result in results]),
        gap=torch.cat(gaps) if gaps else None,
        iterations=results[0].iterations,
        starts=results[0].starts,
    )
