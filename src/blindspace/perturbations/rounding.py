"""Eight-bit files: rounding an image so that what the network reads moves as little as possible.

Known as the closest vector problem with box constraints, solved approximately by Babai's nearest plane (1986; see
``error_feedback.py``). PNG keeps 256 levels. Plain rounding of a protected image x̂ leaves the nullspace by half a level
per value; here the levels are chosen jointly, so that A (r − x) nearly vanishes while r stays within a level or so of x̂
and inside the pixel range. Images are rounded block by block: patches that share no output are blocks by themselves,
small images are one block, large ones are cut into tiles, each of which compensates for the errors of those before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError, integer
from ..maps import LinearMap
from ..maps.floating import within
from ..maps.linear_map import checked
from ..networks.arguments import Space, as_space
from ..progress import Progress
from ..subspaces import Confined, Subspace
from ..subspaces._mask_argument import MaskLike
from .blocks import SIDE, WHOLE, Index, blocks_of, gram_of, narrowest, stages_of, through
from .error_feedback import TIE, Quadratic, improved, nearest_whole, quadratic, rounded

ORDERS = 16
"""Number of different blocks of one size that get an order of their own; tiles of a resize can all be different."""

KEPT = 1 << 30
"""Largest size in bytes of the factorisations kept with a map for the next call."""

LOOKAHEAD = 2
"""Power of the share of an output's inputs rounded so far by which the output is weighted
(measured on 3×3 and 7×7 stems: 0, 1, 2 and 4 give 3.8, 4.1, 4.3 and 4.3, and 1.6, 1.8, 1.8 and 1.3 times less)."""

FEEDBACK: tuple[float, ...] = (1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class Rounding:
    """What rounding did to each image; ``to_dict`` holds maximum and mean.

    Attributes:
        change: ‖A (r − x)‖ of each image, ``(B,)``.
        plain: The same for rounding every value to the nearest level, ``(B,)``.
        drift: Root mean square of r − x̂ of each image, in levels, ``(B,)``.
    """

    change: Tensor
    plain: Tensor
    drift: Tensor

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {name: {"max": float(v.max()), "mean": float(v.mean())} for name, v in self._columns() if len(v)}

    def _columns(self) -> list[tuple[str, Tensor]]:
        return list(asdict(self).items())


def round_to_levels(
    space: Space,
    images: Tensor,
    perturbed: Tensor,
    levels: int = 256,
    feedback: Sequence[float] = FEEDBACK,
    progress: Progress | None = None,
    whole: int = WHOLE,
    side: int = SIDE,
    mask: MaskLike | None = None,
) -> Tensor:
    """Round perturbed images to ``levels`` values so that A (r − x) is small; never worse than plain rounding.

    Minimises ‖A (r − x)‖² + λ ‖r − x̂‖² over the levels, one value after another with error feedback (see
    ``error_feedback.py``), for each λ in turn, and keeps for each image the result with the least ‖A (r − x)‖.

    Args:
        space: Harmless perturbations: a subspace, or whatever ``nullspace`` accepts; A is its annihilator.
        images: x, ``(B, *shape)``.
        perturbed: x̂, in [0, 1], as images.
        levels: Number of levels, from 2 to 65536; 256 for PNG.
        feedback: Values of λ, as shares of the mean squared column of A; the smaller, the less the network sees and the
            further values drift.
        progress: Called with steps done, steps in all and what is done.
        whole: Largest number of connected values that are rounded as one block.
        side: Side in pixels of the tiles that larger images are cut into.
        mask: A mask outside which every value becomes the level nearest to x, as ``Subspace.within`` takes it; None for
            that of the space, if it has one.

    Returns:
        float64, as images: k / (levels − 1) with whole k, inside [0, 1]. It is computed on the CPU, wherever they lie.

    Raises:
        ShapeError: The images have another shape than the space.
        ValueRangeError: A perturbed image leaves [0, 1], or levels or feedback are out of range.
    """
    space = as_space(space, images=images, mask=mask)
    images = checked(images, space.shape, "image").detach()
    perturbed = checked(perturbed, space.shape, "perturbed image").detach().cpu()
    device, images = images.device, images.cpu()
    top = _check(images, perturbed, levels)
    if isinstance(space, Confined):
        read, place = space.embedding.adjoint, space.embedding.forward
        x, values = read(images.double()), read(perturbed.double())
        inside = place(round_to_levels(space.inner, x, values, levels, feedback, progress, whole, side))
        outside = nearest_whole(images.double() * top).clamp(0, top) / top
        return torch.where(space.support, inside, outside).to(device)
    if not feedback or not all(0 < share < float("inf") for share in feedback):
        raise ValueRangeError(f"feedback must be shares above 0, such as {FEEDBACK}, got {tuple(feedback)}")
    a = space.annihilator()
    x, values = images.double() * top, perturbed.double() * top
    best = nearest_whole(values).clamp(0, top)
    if not len(values):
        return (best / top).to(device)
    plan = _plan(a, whole, side)
    least = _change(a, best - x)
    steps = len(feedback) * len(plan.stages)
    begun = values.clone()
    begun.flatten(1)[:, plan.unread] = best.flatten(1)[:, plan.unread]
    first = plan.pull(0, begun - x) if plan.stages else None
    for i, share in enumerate(feedback):
        rounded_to = begun.clone()
        for k in range(len(plan.stages)):
            pull = first if first is not None and k == 0 else plan.pull(k, rounded_to - x)
            plan.round_stage(k, share, pull, values, rounded_to, top)
            if progress is not None:
                progress(i * len(plan.stages) + k + 1, steps, "rounding")
        change = _change(a, rounded_to - x)
        better = change < least * (1 - TIE)
        best[better], least = rounded_to[better], torch.where(better, change, least)
    return (plan.improve(min(feedback), x, values, best, top) / top).to(device)


def rounding(space: Subspace, images: Tensor, perturbed: Tensor, rounded: Tensor, levels: int = 256) -> Rounding:
    """Measure the effect of rounding.

    Args:
        space: The harmless perturbations.
        images: x, ``(B, *shape)``.
        perturbed: x̂, in [0, 1], as images.
        rounded: r, as images.
        levels: Number of levels.

    Raises:
        ShapeError: A shape is another.
        ValueRangeError: A perturbed image leaves [0, 1], or levels are out of range.
    """
    names = ("image", "perturbed image", "rounded image")
    images, perturbed, rounded = (
        checked(each, space.shape, name).detach()
        for each, name in zip((images, perturbed, rounded), names, strict=True)
    )
    top = _check(images, perturbed, levels)
    a, x = space.annihilator(), images.double()
    drift = (rounded.double() - perturbed.double()) * top
    return Rounding(
        _change(a, rounded.double() - x),
        _change(a, nearest_whole(perturbed.double() * top) / top - x),
        drift.flatten(1).square().mean(1).sqrt(),
    )


def _check(images: Tensor, perturbed: Tensor, levels: int) -> int:
    """The largest level."""
    if len(images) != len(perturbed):
        raise ShapeError(f"{len(images)} images and {len(perturbed)} perturbed ones are no pairs; give as many of each")
    if not 2 <= integer(levels, "the number of levels", 0) <= 65536:
        raise ValueRangeError(f"an image can be rounded to 2 to 65536 levels, got {levels}")
    if not within(perturbed, 0.0, 1.0) or not bool(images.isfinite().all()):
        raise ValueRangeError("a perturbed image leaves [0, 1], or an image is not finite; files hold pixels in [0, 1]")
    return levels - 1


def _change(a: LinearMap, error: Tensor) -> Tensor:
    """‖A e‖ of each image."""
    size: Tensor = a.forward(error).flatten(1).norm(dim=1)
    return size


_plans: WeakKeyDictionary[LinearMap, dict[tuple[int, int], _Plan]] = WeakKeyDictionary()


def _plan(a: LinearMap, whole: int = WHOLE, side: int = SIDE) -> _Plan:
    known = _plans.setdefault(a, {})
    if (whole, side) not in known:
        known[whole, side] = _Plan(a, whole, side)
    return known[whole, side]


class Pull(NamedTuple):
    """What outputs want of the values that they read.

    Attributes:
        slope: AᵀW A (r − x) of each image, ``(B, n)``.
        size: ‖√W A (r − x)‖ of each image, ``(B,)``.
    """

    slope: Tensor
    size: Tensor


class _Plan:
    """The blocks of an image for a map, and their factorisations.

    Attributes:
        unread: Flat indices of the values that no output reads.
        stages: Blocks, as flat indices of values, that share no output and are rounded at once, stage after stage.
    """

    def __init__(self, a: LinearMap, whole: int, side: int) -> None:
        # A copy, which shares the weights: kept with the map, a plan that refers to it would keep it alive for ever.
        self.operator = copy(a if a.in_dim <= whole else narrowest(a))
        factors = self.operator.factors
        self._matrices = [scipy.sparse.csc_array(factor.to_scipy()) for factor in factors]
        self._patterns = [abs(matrix) for matrix in self._matrices]
        self.unread, blocks = blocks_of(self._matrices, a.in_shape, whole, side)
        self.stages = [[blocks[i] for i in group] for group in stages_of(self._patterns, blocks)]
        self._weights = self._share_read()
        self._keys: dict[tuple[int, int], str] = {}
        self._orders: dict[int, dict[str, Tensor]] = {}
        self._grams: dict[str, Tensor] = {}
        self._factored: dict[tuple[str, float], Quadratic] = {}
        self._bytes = 0

    def pull(self, stage: int, error: Tensor) -> Pull:
        """What the outputs that read a stage want of it, given the errors r − x so far."""
        weight = self._weights[stage]
        read = self.operator.forward(error)
        slope = self.operator.adjoint(read * weight.reshape(self.operator.out_shape)).flatten(1)
        return Pull(slope, (read.flatten(1) * weight.sqrt()).norm(dim=1))

    def round_stage(self, stage: int, share: float, pull: Pull, values: Tensor, whole: Tensor, top: int) -> None:
        """Round the blocks of one stage, in place in ``whole``, given those of the stages before and their pull."""

        def chosen(form: Quadratic, v: Tensor, _: Tensor, slope: Tensor) -> Tensor:
            r = rounded(form, v, slope, top)
            # With several stages the later ones were fitted to the earlier ones, which must not change any more.
            return r if len(self.stages) == 1 else improved(form.matrix, v, slope, r, top)

        self._block_by_block(stage, share, pull, values, whole, chosen)

    def improve(self, share: float, x: Tensor, values: Tensor, whole: Tensor, top: int) -> Tensor:
        """Single steps that lower ‖A (r − x)‖, if there is one stage; r itself otherwise."""
        if len(self.stages) != 1:
            return whole
        result = whole.clone()

        def chosen(form: Quadratic, v: Tensor, r: Tensor, slope: Tensor) -> Tensor:
            # The slope is that at r.
            return improved(form.matrix, r, slope, r, top)

        self._block_by_block(0, share, self.pull(0, result - x), values, result, chosen)
        return result

    def _block_by_block(
        self,
        stage: int,
        share: float,
        pull: Pull,
        values: Tensor,
        whole: Tensor,
        chosen: Callable[[Quadratic, Tensor, Tensor, Tensor], Tensor],
    ) -> None:
        """Replace the blocks of a stage in ``whole`` by what ``chosen`` makes of their form, v, r and slope at r."""
        flat, given = whole.flatten(1), values.flatten(1)
        alike: dict[str, list[Index]] = {}
        for number, block in enumerate(self.stages[stage]):
            alike.setdefault(self._key(stage, number), []).append(block)
        for key, blocks in alike.items():
            form = self._form(key, share, blocks[0], self._weights[stage])
            places = torch.from_numpy(np.stack(blocks))
            v, r, b = (rows[:, places].transpose(0, 1).flatten(0, 1) for rows in (given, flat, pull.slope))
            if form is not None:
                # H = AᵀWA + λI moves no value by more than ‖√W A (r − x)‖ / (2 √λ): here by less than a tie.
                b[(pull.size <= TIE * form.shift**0.5).repeat(len(blocks))] = 0.0
            # Where all outputs that read a block have weight 0 there is no form.
            r = nearest_whole(v) if form is None else chosen(form, v, r, b)
            flat[:, places] = r.unflatten(0, (len(blocks), -1)).transpose(0, 1)
        whole.copy_(flat.reshape(whole.shape))

    def _share_read(self) -> list[Tensor]:
        """The weights ``(out_dim,)`` of the outputs in each stage."""
        read = np.zeros(self.operator.in_dim)
        total = np.maximum(through(self._patterns, np.ones(self.operator.in_dim)), np.finfo(np.float64).tiny)
        weights = []
        for blocks in self.stages:
            read[np.concatenate(blocks)] = 1
            weights.append(torch.from_numpy((through(self._patterns, read) / total) ** LOOKAHEAD))
        return weights

    def _between(self, block: Index) -> tuple[Index, list[scipy.sparse.csr_array]]:
        """The outputs that read a block, and the part of every factor between them, in one order without zeros."""
        parts, reached = [], block
        for matrix in self._matrices:
            part = scipy.sparse.csr_array(matrix[:, reached])
            part.sum_duplicates()
            part.eliminate_zeros()
            reached = np.flatnonzero(np.diff(part.indptr))
            parts.append(part[reached])
        return reached, parts

    def _key(self, stage: int, number: int) -> str:
        """A key that is equal for blocks that can share a factorisation."""
        if (stage, number) not in self._keys:
            rows, parts = self._between(self.stages[stage][number])
            # Blocks of a resize are equal except in the last bits.
            digest = hashlib.sha256(self._weights[stage].numpy()[rows].astype(np.float32).tobytes())
            for part in parts:
                digest.update(repr(part.shape).encode())
                for array in (part.indptr.astype(np.int64), part.indices.astype(np.int64)):
                    digest.update(array.tobytes())
                digest.update(part.data.astype(np.float32).tobytes())
            self._keys[stage, number] = digest.hexdigest()
        return self._keys[stage, number]

    def _form(self, key: str, share: float, block: Index, weight: Tensor) -> Quadratic | None:
        if (key, share) in self._factored:
            return self._factored[key, share]
        gram = self._gram(key, block, weight)
        mean = float(gram.trace()) / len(block)
        if mean == 0:
            return None
        form = quadratic(gram, self._order(key, len(block)), shift=share * mean)
        self._orders.setdefault(len(block), {}).setdefault(key, form.order)
        size = 16 * len(block) ** 2
        if self._bytes + size <= KEPT:
            self._bytes += size
            self._factored[key, share] = form
        return form

    def _gram(self, key: str, block: Index, weight: Tensor) -> Tensor:
        """AᵀWA of a block, which serves every λ."""
        if key in self._grams:
            return self._grams[key]
        rows, parts = self._between(block)
        parts[-1] = scipy.sparse.diags_array(weight.numpy()[rows] ** 0.5) @ parts[-1]
        gram = torch.from_numpy(gram_of(parts))
        size = 8 * len(block) ** 2
        if self._bytes + size <= KEPT:
            self._bytes += size
            self._grams[key] = gram
        return gram

    def _order(self, key: str, size: int) -> Tensor | None:
        """The order of a block if it is known; the first known one where there are many different blocks of a size."""
        known = self._orders.get(size, {})
        if key in known:
            return known[key]
        return next(iter(known.values())) if len(known) >= ORDERS else None
