"""The smallest window that a subspace fits a perturbation into: harmless patterns of least extent, with certificates.

A window holds a perturbation of the subspace if the subspace confined to it (``Subspace.within``) has a dimension
above 0, which is certified. A window that contains such a window holds one too, so that sides are found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..errors import ValueRangeError, integer
from ..maps import Operator
from ..progress import Progress
from ..solvers import Certificate
from .subspace import Subspace, nullspace

VALUES = 1024
"""Largest number of values of a window that is tested."""

Ends = tuple[tuple[int, int], ...]
"""First index of a window, and the one behind the last, along each axis of pixels."""


@dataclass(frozen=True)
class Window(Shown):
    """The smallest window found that holds a perturbation of a subspace.

    Attributes:
        ends: First row or column, and the one behind the last, along each axis of pixels; None if no window that was
            tested holds one.
        values: Number of values in it.
        dim: Dimension of the subspace confined to it.
        certificate: Certificate of that dimension; None without a window.
        space: The subspace confined to it; None without a window.
        empty: Longest side of which no window that was tested holds a perturbation; 0 if there is none.
        read: The window of the pixels that the map reads at all, which was searched.
        unread: Number of values that the map does not read at all; each of them alone is a perturbation of the
            subspace.
        tested: Number of windows whose dimension was certified.
        places: Where windows were tested, in words.

    Examples:
        >>> import torch, blindspace as bs
        >>> found = bs.smallest_window(torch.nn.Conv2d(3, 10, 8, 8), input_shape=(3, 24, 24))
        >>> found.sides, found.dim, found.most_changed
        ((2, 2), 2, 11)
    """

    ends: Ends | None
    values: int
    dim: int
    certificate: Certificate | None
    space: Subspace | None = field(repr=False, compare=False)
    empty: int
    read: Ends
    unread: int
    tested: int
    places: str

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the window in pixels; empty without one."""
        return () if self.ends is None else tuple(stop - start for start, stop in self.ends)

    @property
    def most_changed(self) -> int:
        """A number of values that suffices: some perturbation in the window is 0 at ``dim − 1`` values of one's choice.

        It is the number of values minus these, which is the rank there plus 1; 0 without a window.
        """
        return self.values - self.dim + 1 if self.dim else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ends": None if self.ends is None else [list(pair) for pair in self.ends],
            "sides": list(self.sides),
            "values": self.values,
            "dim": self.dim,
            "most_changed": self.most_changed,
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
            "empty": self.empty,
            "read": [list(pair) for pair in self.read],
            "unread": self.unread,
            "tested": self.tested,
            "places": self.places,
        }


def smallest_window(
    space: Subspace | Operator,
    values: int = VALUES,
    *,
    input_shape: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Window:
    """Find a small window that holds a perturbation of a subspace: the smallest pattern that a network cannot see.

    Windows are squares of growing sides in the corner, at the side and in the middle of the pixels that are read at
    all; the first square that holds a perturbation is then made smaller from each side until no side can move further.
    Elsewhere there may be smaller ones.

    Args:
        space: The subspace; a network or a map stands for its nullspace. The last axes are those of pixels: two if
            there are three axes or more, else one.
        values: Largest number of values of a window that is tested.
        input_shape: Shape of one input, needed if ``space`` is a torch module.
        progress: Called before each window.

    Raises:
        ValueRangeError: There is one subspace per image, or ``values`` is not at least 1.

    Examples:
        >>> import torch, blindspace as bs
        >>> found = bs.smallest_window(torch.nn.Linear(40, 12), input_shape=(40,))
        >>> found.values, found.dim
        (13, 1)
    """
    values = integer(values, "the number of values", 1)
    space = nullspace(space, input_shape)
    if space.per_image:
        raise ValueRangeError(f"{space} holds one subspace per image; take that of one image, as tangents[0]")
    used = _read(space)
    axes = _axes(space.shape)
    read = _bounds(used, axes)
    search = _Search(space, read, axes, progress or (lambda done, total, what: None))
    best, empty = _square(search, values) if space.dim else (None, 0)
    if best is not None:
        best = _shrunk(search, best)
    found = None if best is None else search.confined(best)
    return Window(
        ends=best,
        values=0 if best is None else search.size(best),
        dim=0 if found is None else found.dim,
        certificate=None if found is None else found.certificate,
        space=found,
        empty=empty,
        read=read,
        unread=int((~used).sum()),
        tested=search.tested,
        places="in the corner, at the sides and in the middle" if len(axes) > 1 else "at the ends and in the middle",
    )


def _axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of pixels."""
    if len(shape) > 2:
        return len(shape) - 2, len(shape) - 1
    return (0,) if len(shape) == 1 or shape[1] == 1 else (1,)


def _read(space: Subspace) -> Tensor:
    """Whether the map reads each value, bool ``shape``: a random combination of its rows is 0 where all of them are."""
    a = space.annihilator()
    rows = torch.randn(1, *a.out_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return a.adjoint(rows)[0] != 0


def _bounds(used: Tensor, axes: tuple[int, ...]) -> Ends:
    """The smallest window with all values that are read; the whole if none is."""
    found = []
    for axis in axes:
        there = used.any(tuple(n for n in range(used.ndim) if n != axis)) if used.ndim > 1 else used
        places = there.nonzero().flatten().tolist() or [0, len(there) - 1]
        found.append((places[0], places[-1] + 1))
    return tuple(found)


class _Search:
    """Windows of one subspace, each tested once."""

    def __init__(self, space: Subspace, read: Ends, axes: tuple[int, ...], tell: Progress) -> None:
        self.space, self.read, self.axes, self.tell = space, read, axes, tell
        self.energy = space.diagonal()
        self.tested = 0
        self._known: dict[Ends, bool] = {}

    def size(self, ends: Ends) -> int:
        """Number of values in a window."""
        others = (n for axis, n in enumerate(self.space.shape) if axis not in self.axes)
        return prod(others) * prod(stop - start for start, stop in ends)

    def confined(self, ends: Ends) -> Subspace:
        """The subspace confined to a window."""
        return self.space.within(self._inside(ends))

    def holds(self, ends: Ends) -> bool:
        """Whether a window holds a perturbation of the subspace.

        The dimension of the confined subspace is at most the energy in the window, the trace of the projector there.
        """
        if ends not in self._known:
            if self.energy is not None and float(self.energy[self._inside(ends)].sum()) < 1 - 1e-6:
                self._known[ends] = False
            else:
                self.tested += 1
                self.tell(self.tested, self.tested + 1, "windows")
                self._known[ends] = self.confined(ends).dim > 0
        return self._known[ends]

    def _inside(self, ends: Ends) -> Tensor:
        inside = torch.zeros(self.space.shape, dtype=torch.bool)
        where = [slice(None)] * len(self.space.shape)
        for axis, (start, stop) in zip(self.axes, ends, strict=True):
            where[axis] = slice(start, stop)
        inside[tuple(where)] = True
        return inside

    def squares(self, side: int) -> list[Ends]:
        """Squares of a side in the corner, at the sides and in the middle of what is read, the middle one first."""
        found = []
        for places in product((0.5, 0.0), repeat=len(self.axes)):
            ends = []
            for (start, stop), place in zip(self.read, places, strict=True):
                short = min(side, stop - start)
                first = start + int(place * (stop - start - short))
                ends.append((first, first + short))
            found.append(tuple(ends))
        return list(dict.fromkeys(found))


def _square(search: _Search, values: int) -> tuple[Ends | None, int]:
    """The smallest square that holds a perturbation, and the longest side of which none does."""

    def first(side: int) -> Ends | None:
        return next((ends for ends in search.squares(side) if search.holds(ends)), None)

    longest = max(stop - start for start, stop in search.read)
    empty, side = 0, 1
    found: Ends | None = None
    while search.size(search.squares(side)[0]) <= values and empty < longest:
        found = first(side)
        if found is not None:
            break
        empty, side = side, min(2 * side, longest)
    if found is None:
        return None, empty
    while side - empty > 1:
        middle = (side + empty) // 2
        smaller = first(middle)
        if smaller is None:
            empty = middle
        else:
            side, found = middle, smaller
    return found, empty


def _shrunk(search: _Search, ends: Ends) -> Ends:
    """A window within another one that holds a perturbation, none of whose sides can move any further inwards."""
    for axis, at_end in product(range(len(ends)), (False, True)):
        start, stop = ends[axis]
        by = _most(partial(_holds_moved, search, ends, axis, at_end), stop - start - 1)
        ends = _moved(ends, axis, at_end, by)
    return ends


def _holds_moved(search: _Search, ends: Ends, axis: int, at_end: bool, by: int) -> bool:
    return search.holds(_moved(ends, axis, at_end, by))


def _moved(ends: Ends, axis: int, at_end: bool, by: int) -> Ends:
    """A window with one side moved inwards."""
    start, stop = ends[axis]
    side = (start, stop - by) if at_end else (start + by, stop)
    return (*ends[:axis], side, *ends[axis + 1 :])


def _most(holds: Callable[[int], bool], most: int) -> int:
    """The largest number from 0 to ``most`` at which a condition holds that holds at 0 and, once lost, is lost."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
