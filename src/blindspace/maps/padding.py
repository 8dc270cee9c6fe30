"""Padding and cropping: along each spatial axis, every output position reads one input position, or 0."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError
from .linear_map import LinearMap, Shape, as_shape

_NUMPY_MODES = {"circular": "wrap", "reflect": "reflect", "replicate": "edge"}

PADDING_MODES = ("zeros", *_NUMPY_MODES)
"""torch's names of the ways to continue an image beyond its border."""


def read_positions(size: int, before: int, after: int, mode: str = "zeros") -> Tensor:
    """The input position that each position of a padded axis reads, −1 for 0; int64 ``(before + size + after,)``.

    Args:
        size: Size of the axis in pixels.
        before: Number of pixels added in front; a negative number crops.
        after: Number of pixels added behind; a negative number crops.
        mode: One of ``PADDING_MODES``.

    Raises:
        ShapeError: No pixel would be left, or the mode needs more pixels than there are.
        UnknownNameError: There is no such mode.
    """
    if size + before + after < 1:
        raise ShapeError(f"cropping {-before} and {-after} pixels leaves nothing of an axis of {size}")
    kept = np.arange(max(0, -before), size - max(0, -after))
    add = (max(0, before), max(0, after))
    if mode == "zeros":
        positions = np.pad(kept, add, constant_values=-1)
    elif mode in _NUMPY_MODES:
        longest = len(kept) - 1 if mode == "reflect" else len(kept) if mode == "circular" else max(add)
        if max(add) > longest:
            raise ShapeError(f"{mode} padding by {max(add)} needs more than the {len(kept)} pixels of the axis")
        positions = np.pad(kept, add, mode=_NUMPY_MODES[mode])  # type: ignore[call-overload]
    else:
        raise UnknownNameError(f"no padding mode is called {mode!r}; there are {', '.join(PADDING_MODES)}")
    return torch.from_numpy(positions)


class Padding(LinearMap):
    """Padding or, by negative amounts, cropping of the last axes of ``(C, *spatial)``.

    Args:
        in_shape: Shape of one input, ``(C, *spatial)`` or any other with more axes than ``amounts``.
        amounts: Numbers of pixels (before, after) for each of the last axes, in the order of the axes.
        mode: One of ``PADDING_MODES``.

    Raises:
        ShapeError: No pixel would be left of an axis, or it is too short for the mode.
        UnknownNameError: There is no such mode.
    """

    def __init__(self, in_shape: Shape, amounts: Sequence[tuple[int, int]], mode: str = "zeros") -> None:
        in_shape = as_shape(in_shape)
        if len(in_shape) <= len(amounts):
            raise ShapeError(f"padding {len(amounts)} axes needs an input (C, *spatial), got {in_shape}")
        self.axes = range(len(in_shape) - len(amounts), len(in_shape))
        self.reads = [
            read_positions(in_shape[axis], before, after, mode)
            for axis, (before, after) in zip(self.axes, amounts, strict=True)
        ]
        out_shape = (*in_shape[: self.axes.start], *(len(read) for read in self.reads))
        super().__init__(in_shape, out_shape)
        self.amounts = tuple(amounts)
        self.mode = mode

    def _forward(self, x: Tensor) -> Tensor:
        for axis, read in zip(self.axes, self.reads, strict=True):
            x = _gather(x, axis + 1, read.to(x.device))
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        for axis, read in zip(self.axes, self.reads, strict=True):
            y = _scatter_add(y, axis + 1, read.to(y.device), self.in_shape[axis])
        return y

    def _to_scipy(self) -> scipy.sparse.csr_array:
        factors = [scipy.sparse.eye_array(int(np.prod(self.in_shape[: self.axes.start])))]
        for axis, read in zip(self.axes, self.reads, strict=True):
            rows = np.flatnonzero(read.numpy() >= 0)
            entries = (np.ones(len(rows)), (rows, read.numpy()[rows]))
            factors.append(scipy.sparse.csr_array(entries, shape=(len(read), self.in_shape[axis])))
        return scipy.sparse.csr_array(reduce(scipy.sparse.kron, factors))


def _gather(x: Tensor, axis: int, read: Tensor) -> Tensor:
    """x with position ``read[i]`` along ``axis`` moved to position i, and 0 where ``read[i]`` is negative."""
    y = x.index_select(axis, read.clamp(min=0))
    outside = read < 0
    if outside.any():
        y = y.index_fill(axis, outside.nonzero().flatten(), 0)
    return y


def _scatter_add(y: Tensor, axis: int, read: Tensor, size: int) -> Tensor:
    """The adjoint of ``_gather``."""
    inside = (read >= 0).nonzero().flatten()
    x = y.new_zeros(*y.shape[:axis], size, *y.shape[axis + 1 :])
    return x.index_add(axis, read[inside], y.index_select(axis, inside))
