"""The largest harmless perturbation inside the pixel range: an image that people cannot recognise (section 5.1).

Known as norm maximisation over a polytope. The paper maximises ‖x̂ − x‖² over x̂ in x + N(A) with penalties on pixels
outside [0, 1]. Here nothing is left to penalties: every x̂ lies in [0, 1] to the last bit and in x + N(A) to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..errors import ShapeError, integer
from ..networks.arguments import Space, as_pixels, as_space
from ..progress import Progress
from ..subspaces import Subspace
from ..subspaces._arguments import generator_or_none
from ..subspaces._mask_argument import MaskLike
from ..subspaces.box import within_support
from .douglas_rachford import ascend, largest_bound
from .feasibility import into_box, where_saturated
from .repeated import Repeated, repeated
from .sample import refuse_zero_space
from .vertex_step import LARGEST_PART, vertex_step

AT_ONCE = 16 << 20
"""Largest size in bytes of the images of one batch."""

VALUES_STEPS = 2_200_000
"""Number of values of an image times default number of steps, …"""

FEWEST, MOST = 100, 720
"""… between these numbers of steps."""

TIE = 1e-9
"""Another start must lead to a norm larger by more than this share to be preferred to an earlier one."""


@dataclass(frozen=True)
class Largest(Shown):
    """Images as far from the given ones as was found.

    Attributes:
        images: x̂, ``(B, *shape)``, float64, inside [0, 1] to the last bit; x itself where nothing else was found.
        msc: Mean squared change ‖x̂ − x‖² / n of each image, float64 ``(B,)``.
        bound: Upper bound on the mean squared change of any harmless x̂ in [0, 1], ``(B,)``; not known to be attained.
        residual: ‖A (x̂ − x)‖ / (‖A‖ ‖x̂ − x‖) of each image, ``(B,)``; 0 where x̂ = x.
        gap: Maximum of ⟨x̂ − x, δ⟩ / n over all harmless δ in the box less its value at x̂ − x, by linear programming,
            ``(B,)``: 0 at a local maximum; None if no vertex steps were taken.
        iterations: Number of steps from each start.
        starts: Number of starts, of which the best was kept.
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
    space: Space,
    images: Tensor,
    generator: torch.Generator | None = None,
    generators: Sequence[torch.Generator] | None = None,
    iterations: int | None = None,
    starts: int = 1,
    vertex_steps: int = 0,
    progress: Progress | None = None,
    at_once: int = AT_ONCE,
    largest_part: int = LARGEST_PART,
    mask: MaskLike | None = None,
) -> Largest:
    """Search for harmless perturbations as large as possible inside [0, 1] (section 5.1).

    From a random start annealed Douglas-Rachford splitting ascends (``douglas_rachford.py``), its result is brought
    inside the box exactly (``feasibility.py``), and linear programmes, if asked for, go on from there to a vertex from
    which none leads higher (``vertex_step.py``). The result for an image depends on the image and its random start
    alone: on one machine the bits are the same in any batch, and other processors and numbers of threads agree with it
    to about 1e-13, save for an image in some 100,000 (see ``douglas_rachford.py``).

    Args:
        space: Harmless perturbations: a subspace, or whatever ``nullspace`` accepts.
        images: x, ``(B, *space.shape)`` or one image ``space.shape``, any floating dtype, in [0, 1].
        generator: Random generator of all starts; torch's own if None.
        generators: One random generator per image instead, so that its start does not depend on the other images.
        iterations: Number of steps of one projection each; if None as many as ``VALUES_STEPS`` allows for an image of
            that size, between ``FEWEST`` and ``MOST``. More steps find somewhat larger perturbations.
        starts: Number of random starts, of which the best is kept.
        vertex_steps: Largest number of linear programmes per image; for small images, or fronts that read small
            patches.
        progress: Called with steps done, steps in all and what is done.
        at_once: Largest size in bytes of the images of one batch.
        largest_part: Largest number of values of one linear programme.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Raises:
        ShapeError: The images have another shape, or the number of generators is another.
        ValueRangeError: A pixel is NaN or outside [0, 1], the subspace is {0}, or a count is too small.
        TooLargeError: A linear programme would have more than ``largest_part`` values.

    Examples:
        >>> import torch, blindspace as bs
        >>> layer = torch.nn.Conv2d(1, 4, 4, stride=4)
        >>> found = bs.largest(bs.nullspace(layer, (1, 8, 8)), torch.rand(2, 1, 8, 8))
        >>> bool(((found.images >= 0) & (found.images <= 1)).all())
        True
    """
    space = as_space(space, images=images, mask=mask)
    x = as_pixels(images, space.shape)
    if generators is not None and len(generators) != len(x):
        raise ShapeError(f"{len(x)} images need as many generators, got {len(generators)}")
    steps = min(max(VALUES_STEPS // space.ambient_dim, FEWEST), MOST)
    steps = steps if iterations is None else integer(iterations, "the number of iterations", 1)
    starts, vertex_steps = integer(starts, "the number of starts", 1), integer(vertex_steps, "vertex_steps", 0)
    for source in [generator] if generators is None else generators:
        generator_or_none(source)
    refuse_zero_space(space, 1.0)
    project = repeated(space)
    parts = x.split(max(at_once // (8 * space.ambient_dim), 1)) if len(x) else []
    drawers = iter([generator] * len(x) if generators is None else generators)
    results: list[Largest] = []
    for number, part in enumerate(parts):
        own = [next(drawers) for _ in part]
        found = torch.zeros_like(part)
        for attempt in range(starts):
            done = (number * starts + attempt) * steps

            def report(step: int, done: int = done) -> None:
                if progress is not None:
                    progress(done + step, len(parts) * starts * steps, "largest perturbation")

            drawn = torch.stack([torch.randn(space.shape, generator=g, dtype=torch.float64) for g in own])
            start = drawn.to(part.device)
            low, high = within_support(project, -part, 1 - part)
            made = into_box(project, ascend(project, start, low, high, steps, report), low, high)

            def again(inner: Repeated, n: slice, start: Tensor = start, part: Tensor = part) -> Tensor:
                low, high = within_support(inner, -part[n], 1 - part[n])
                return into_box(inner, ascend(inner, start[n], low, high, steps), low, high)

            found = _larger(found, where_saturated(project, made, part, again))
        gap = None
        if vertex_steps:
            step = vertex_step(project, found, *within_support(project, -part, 1 - part), vertex_steps, largest_part)
            found, gap = step.value, step.gap / space.ambient_dim
        results.append(_measured(project, part, found, gap, steps, starts))
    return _together(results) if results else _measured(project, x, torch.zeros_like(x), None, steps, starts)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    """The one of each pair with the larger norm; the first if they are equal up to rounding."""
    keep = a.flatten(1).norm(dim=1) >= (1 - TIE) * b.flatten(1).norm(dim=1)
    return torch.where(keep.view(-1, *[1] * (a.ndim - 1)), a, b)


def _measured(space: Subspace, x: Tensor, delta: Tensor, gap: Tensor | None, iterations: int, starts: int) -> Largest:
    """Figures of the images themselves, as they are rounded."""
    changed = (x + delta).clamp(0, 1)
    delta = changed - x
    size = delta.flatten(1).norm(dim=1)
    annihilator = space.annihilator()
    error = annihilator.forward(delta).flatten(1).norm(dim=1)
    scale = annihilator.norm() * size
    return Largest(
        images=changed,
        msc=size.square() / space.ambient_dim,
        bound=largest_bound(space, *within_support(space, -x, 1 - x)) / space.ambient_dim,
        residual=torch.where(size > 0, error / scale.clamp(min=torch.finfo(x.dtype).tiny), 0.0),
        gap=gap,
        iterations=iterations,
        starts=starts,
    )


def _together(results: list[Largest]) -> Largest:
    """The results of all batches as one."""
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
