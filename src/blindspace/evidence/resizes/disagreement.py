"""How far what a network reads after a resize differs from what people see at that scale, at the resizer's own phase.

Resized by R, an image x becomes R x; people who look at it from further away see the average of each cell, R̄ x. In a
clean image R x − R̄ x has as much energy when the image is moved by a part of a cell first, however it was compressed,
sharpened or resized before, because none of that knows where the grid lies. Where values were put on the grid, only the
resizer's own phase meets them. The score is the logarithm of the energy at that phase less its median at others: free
of scale, and learnt from nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.sparse
from torch import Tensor

from ...maps.resizing import RESIZERS, Resizer
from ...maps.resizing.cell_means import cell_means

Array = npt.NDArray[np.float32]
Size = tuple[int, int]
Axes = tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]

EVEN = 1.2
"""Σ w² of the weights of one output pixel, relative to that of the average of its cell, up to which a resizer reads so
evenly that nobody can hide from it what people do not see: 1 for the average, 2/3 for an antialiased bilinear one."""

FLOOR = (1 / 255) ** 2
"""Energy added to every disagreement: less than a step of eight bits says nothing."""

DIGITS = 1e-4
"""Weights of two resizers that differ by less are the same for eight-bit images."""


@dataclass(frozen=True)
class Disagreement:
    """The score of one resize of one image.

    Attributes:
        resizers: Names of the resizers that read the image so, the same map at this size.
        size: (height, width) after the resize, in pixels.
        score: Logarithm of the disagreement's energy relative to its median at other phases, in the colour channel
            where that is largest.
    """

    resizers: tuple[str, ...]
    size: Size
    score: float


def scores(image: npt.NDArray[np.floating], resizers: Sequence[Resizer], size: Size) -> list[Disagreement]:
    """The score of every different resize of an image to one size, the highest first.

    Args:
        image: ``(C, H, W)`` in [0, 1].
        resizers: Those that are compared; resizers whose maps are alike are joined, even ones left out.
        size: (height, width) after the resize, in pixels.
    """
    x = np.ascontiguousarray(np.moveaxis(np.asarray(image, np.float32), 0, -1))
    before = (x.shape[0], x.shape[1])
    groups = different(resizers, before, size)
    if not groups:
        return []
    cell = [n / m for n, m in zip(before, size, strict=True)]
    energies: list[dict[Size, Array]] = [{} for _ in groups]
    for down in _steps(cell[0]):
        lines = [_rows(axes[0], x, down) for _, axes in groups]
        even = _rows(_averages(before[0], size[0]), x, down)
        for right in _steps(cell[1]):
            seen = _columns(_averages(before[1], size[1]), even, right)
            for (_, axes), line, energy in zip(groups, lines, energies, strict=True):
                apart = _columns(axes[1], line, right) - seen
                inner = apart[:-1, :-1] if min(size) > 1 else apart  # what was moved in has no neighbours of its own
                energy[down, right] = np.log(np.square(inner).mean((0, 1)) + np.float32(FLOOR))
    found = [Disagreement(names, size, _score(energy)) for (names, _), energy in zip(groups, energies, strict=True)]
    return sorted(found, key=lambda each: -each.score)


def views(image: npt.NDArray[np.floating], resizer: Resizer, size: Size) -> tuple[Array, Array]:
    """What the network reads of an image ``(C, H, W)``, R x, and what people see, R̄ x, each ``(C, *size)``."""
    x = np.ascontiguousarray(np.moveaxis(np.asarray(image, np.float32), 0, -1))
    before = (x.shape[0], x.shape[1])
    network = [_sparse(matrix) for matrix in resizer.matrices(before, size)]
    people = list(map(_averages, before, size))
    made = [_columns(axes[1], _rows(axes[0], x, 0), 0).transpose(2, 1, 0) for axes in (network, people)]
    return made[0].copy(), made[1].copy()


def different(resizers: Iterable[Resizer], before: Size, after: Size) -> list[tuple[tuple[str, ...], Axes]]:
    """Resizers whose maps are alike between two sizes, by name, with their matrices, but those that read evenly."""
    groups: dict[bytes, tuple[list[str], Axes]] = {}
    for each in resizers:
        axes = _uneven(each.name, before, after)
        if axes is not None:
            content = b"".join(_content(axis) for axis in axes)
            groups.setdefault(content, ([], axes))[0].append(each.name)
    return [(tuple(names), axes) for names, axes in groups.values()]


@lru_cache(maxsize=256)
def _uneven(name: str, before: Size, after: Size) -> Axes | None:
    """A resizer's matrices; None if along both axes they weigh the pixels of a cell so evenly that nothing hides."""
    vertical, horizontal = RESIZERS[name].matrices(before, after)
    if max(_unevenness(vertical), _unevenness(horizontal)) <= EVEN:
        return None
    return _sparse(vertical), _sparse(horizontal)


def _unevenness(matrix: Tensor) -> float:
    out, n = matrix.shape
    return float(matrix.square().sum()) / out * max(n / out, 1.0)


def _content(axis: scipy.sparse.csr_array) -> bytes:
    whole = axis.copy()  # its arrays are changed
    whole.data = np.rint(axis.data / DIGITS).astype(np.int64)
    whole.eliminate_zeros()
    return b"".join(part.tobytes() for part in (whole.data, whole.indices, whole.indptr))


def _sparse(matrix: Tensor) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(matrix.float().numpy())


@lru_cache(maxsize=32)
def _averages(n: int, out: int) -> scipy.sparse.csr_array:
    return _sparse(cell_means(n, out))


def _steps(ratio: float) -> tuple[int, ...]:
    """By how many pixels the image is moved along one axis: not at all, and by about thirds of a cell."""
    return (0, round(ratio / 3), round(2 * ratio / 3)) if ratio >= 3 else (0, 1)


def _moved(axis: scipy.sparse.csr_array, step: int) -> scipy.sparse.csr_array:
    """The matrix that reads the pixels ``step`` further on, the last one instead of those beyond it."""
    if not step:
        return axis
    return scipy.sparse.csr_array(
        (axis.data, (axis.indices + step).clip(max=axis.shape[1] - 1), axis.indptr), axis.shape
    )


def _rows(axis: scipy.sparse.csr_array, x: Array, step: int) -> Array:
    """Rows of ``(H, W, C)`` resized, the columns first: ``(W, h, C)``."""
    made: Array = (_moved(axis, step) @ x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])
    return np.ascontiguousarray(made.transpose(1, 0, 2))


def _columns(axis: scipy.sparse.csr_array, x: Array, step: int) -> Array:
    """Columns of ``(W, h, C)`` resized: ``(w, h, C)``."""
    made: Array = (_moved(axis, step) @ x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])
    return made


def _score(energies: dict[Size, Array]) -> float:
    others = [energy for step, energy in energies.items() if step != (0, 0)]
    return float((energies[0, 0] - np.median(others, axis=0)).max())
