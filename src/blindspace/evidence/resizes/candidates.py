"""Resizes that a network may begin with, those alike joined, and pictures that one of them cannot tell apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...maps import Shape
from ...maps.resizing import Resizer

Size = tuple[int, int]

GREY = 128
"""Value of the picture that probes depart from, of 255: a pixel that every resize keeps."""

STEPS = 127
"""Largest change of a pixel, in steps of 1/255."""

ALIKE = 0.5
"""Maps whose results for eight-bit pictures differ by less than half a step are one candidate: rounding hides it."""

NEAR = 8.0
"""Maps that differ by more than this number of steps at most are not compared more closely."""

ROUNDING = 0.4
"""Root mean square by which the rounding of a library may move a result, in steps of 1/255."""

SAMPLED = 32
"""Rows and columns of a resized picture from which its norm is estimated."""

ROUNDS, CREST = 6, 1.25
"""How often a change is cut off at ``CREST`` times its root mean square and made harmless again."""


@dataclass(frozen=True)
class Candidate:
    """Resizers that are the same map between two sizes, up to what rounding to eight bits hides.

    Attributes:
        names: names of the resizers.
        size: (height, width) after the resize, in pixels.
        difference: most by which their results for a picture of eight bits can differ, in steps of 1/255.
        vertical: matrix ``(h, H)`` of the first of them, float64.
        horizontal: matrix ``(w, W)``.
    """

    names: tuple[str, ...]
    size: Size
    difference: float
    vertical: Tensor
    horizontal: Tensor

    @cached_property
    def bases(self) -> tuple[Tensor, Tensor]:
        """Orthonormal bases of the row spaces along both axes, as columns."""
        return _row_space(self.vertical), _row_space(self.horizontal)

    @cached_property
    def sample(self) -> tuple[Tensor, Tensor]:
        """Some rows of both matrices, evenly spaced."""
        return _some(self.vertical), _some(self.horizontal)

    def unseen(self, change: Tensor) -> Tensor:
        """The part of changes ``(C, H, W)`` in the nullspace of the map: what remains without the row space's."""
        rows, columns = self.bases
        seen: Tensor = rows @ (rows.T @ change @ columns) @ columns.T
        return change - seen

    def moved(self, change: Tensor) -> float:
        """Root mean square of a change ``(C, H, W)`` after the resize, from a sample of its pixels."""
        vertical, horizontal = self.sample
        return float((vertical @ change @ horizontal.T).square().mean().sqrt())

    def against(self, rival: Candidate, noise: Tensor) -> Tensor:
        """A change that this map cannot see and another one sees much of, ``(C, H, W)``.

        Two steps of the power method towards the largest ‖R' δ‖ on the nullspace, from noise ``(C, H, W)``.
        """
        change = self.unseen(noise)
        for _ in range(2):
            read = rival.vertical @ change @ rival.horizontal.T
            change = self.unseen(rival.vertical.T @ read @ rival.horizontal)
        return change

    def beside(self, waves: int, noise: Tensor) -> Tensor:
        """A change that this map cannot see and maps next to it see much of, ``(C, H, W)``.

        Those maps have the kernel of this one with so many half waves of a sine added along one of the axes: one or
        three are a wider kernel, two a kernel that is moved, more are its lobes. Two steps of the power method, from
        noise ``(C, H, W)``.
        """
        rows, columns = _waves(self.vertical, waves), _waves(self.horizontal, waves)
        change = self.unseen(noise)
        for _ in range(2):
            upright = rows.T @ (rows @ change @ self.horizontal.T) @ self.horizontal
            level = self.vertical.T @ (self.vertical @ change @ columns.T) @ columns
            change = self.unseen(upright + level)
        return change

    def read_as(self, result: Tensor) -> Tensor:
        """The smallest change ``(C, H, W)`` that this map reads as a given one, ``(C, h, w)``."""
        change: Tensor = torch.linalg.pinv(self.vertical) @ result @ torch.linalg.pinv(self.horizontal).T
        return change


def _row_space(matrix: Tensor) -> Tensor:
    _, sigma, rows = torch.linalg.svd(matrix, full_matrices=False)
    basis: Tensor = rows[sigma > 1e-9 * sigma[0]].T.contiguous()
    return basis


def _waves(matrix: Tensor, count: int) -> Tensor:
    """So many half waves of a sine over the pixels that each row of a matrix reads, and one more at each end."""
    read = matrix.abs() > 1e-6 * matrix.abs().max()
    first, last = read.int().argmax(1), matrix.shape[1] - 1 - read.flip(1).int().argmax(1)
    at = (torch.arange(matrix.shape[1], dtype=matrix.dtype) - first[:, None] + 2) / (last - first + 4)[:, None]
    waves = torch.where((at > 0) & (at < 1), (math.pi * count * at).sin(), 0.0)
    made: Tensor = waves * (matrix.norm() / waves.norm())
    return made


def _some(matrix: Tensor) -> Tensor:
    at = torch.linspace(0, len(matrix) - 1, min(SAMPLED, len(matrix))).round().long()
    return matrix[at]


def candidates(resizers: Iterable[Resizer], in_shape: Shape, sizes: Sequence[Size]) -> list[Candidate]:
    """All resizers at all sizes, those joined whose maps are alike.

    Args:
        resizers: the resizers.
        in_shape: shape ``(C, H, W)`` of a picture.
        sizes: (height, width) after the resize.
    """
    signs = torch.randint(0, 2, tuple(in_shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found: list[Candidate] = []
    for size in sizes:
        groups: list[Candidate] = []
        for each in resizers:
            one = Candidate((each.name,), size, 0.0, *each.matrices(in_shape[-2:], size))
            for k, other in enumerate(groups):
                difference = STEPS * _difference(one, other)
                if difference < ALIKE or (difference < NEAR and _hidden(one, other, 2 * signs - 1)):
                    largest = max(other.difference, difference)
                    groups[k] = replace(other, names=(*other.names, each.name), difference=largest)
                    break
            else:
                groups.append(one)
        found += groups
    return found


def _hidden(one: Candidate, other: Candidate, noise: Tensor) -> bool:
    """Whether rounding hides what each of two maps reads of a change that the other cannot see."""
    return all(
        b.moved(picture_of(evened(a.against(b, noise), a), a)) < ROUNDING for a, b in ((one, other), (other, one))
    )


def _difference(one: Candidate, other: Candidate) -> float:
    """A bound of the largest difference of two results, for pictures with values in −1…1.

    V X Hᵀ − V' X H'ᵀ = (V − V') X Hᵀ + V' X (H − H')ᵀ, each in the norm of maximal row sums.
    """
    rows = (one.vertical - other.vertical).abs().sum(1).max() * one.horizontal.abs().sum(1).max()
    columns = (one.horizontal - other.horizontal).abs().sum(1).max() * other.vertical.abs().sum(1).max()
    return float(rows + columns)


def evened(change: Tensor, *unseeing: Candidate) -> Tensor:
    """A change ``(C, H, W)`` that some maps cannot see with less high peaks, so that the range permits a larger norm.

    Of several maps the last one sees nothing of it and the others little: their projections take turns.
    """
    for _ in range(ROUNDS):
        most = CREST * change.square().mean().sqrt()
        change = change.clamp(-most, most)
        for each in unseeing:
            change = each.unseen(change)
    return change


def picture_of(change: Tensor, *unclipped: Candidate, most: float = STEPS) -> Tensor:
    """A change as whole steps of 1/255 around grey, float64: so large that its largest step is ``most``.

    After one pass of each of some maps no step is larger than that either. A library that resizes bytes along one axis
    first clips what leaves the range in between, and then a change in the nullspace is seen.
    """
    passes = [change, *(y for each in unclipped for y in (each.vertical @ change, change @ each.horizontal.T))]
    return (change * (most / max(float(each.abs().max()) for each in passes))).round()
