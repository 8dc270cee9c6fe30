"""Resizes that a network may begin with, those alike joined, and pictures that one of them cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

SAMPLED = 48
"""Rows and columns of a resized picture from which its norm is estimated."""

ROUNDS, CREST = 6, 1.25
"""How often a change is cut off at ``CREST`` times its root mean square and made harmless again."""


@dataclass(frozen=True)
class Candidate:
    """Resizers that are the same map between two sizes, up to half a step of eight bits.

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

    def evened(self, change: Tensor) -> Tensor:
        """A change that this map cannot see with less high peaks, so that the range permits a larger norm."""
        for _ in range(ROUNDS):
            most = CREST * change.square().mean().sqrt()
            change = self.unseen(change.clamp(-most, most))
        return change


def _row_space(matrix: Tensor) -> Tensor:
    _, sigma, rows = torch.linalg.svd(matrix, full_matrices=False)
    basis: Tensor = rows[sigma > 1e-9 * sigma[0]].T.contiguous()
    return basis


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
    before, found = in_shape[-2:], []
    for size in sizes:
        groups: list[tuple[list[Resizer], tuple[Tensor, Tensor], list[float]]] = []
        for each in resizers:
            pair = each.matrices(before, size)
            for members, first, apart in groups:
                difference = STEPS * _difference(pair, first)
                if difference < ALIKE:
                    members.append(each)
                    apart.append(difference)
                    break
            else:
                groups.append(([each], pair, [0.0]))
        for members, pair, apart in groups:
            names = tuple(each.name for each in members)
            found.append(Candidate(names, size, max(apart), *pair))
    return found


def _difference(pair: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """A bound of the largest difference of two results, for pictures with values in −1…1.

    V X Hᵀ − V' X H'ᵀ = (V − V') X Hᵀ + V' X (H − H')ᵀ, each in the norm of maximal row sums.
    """
    rows, columns = ((a - b).abs().sum(1).max() for a, b in zip(pair, other, strict=True))
    return float(rows * pair[1].abs().sum(1).max() + columns * other[0].abs().sum(1).max())


def picture_of(change: Tensor) -> Tensor:
    """A change as whole steps of 1/255 around grey, as large as the range permits, float64."""
    return (change * (STEPS / change.abs().max())).round()
