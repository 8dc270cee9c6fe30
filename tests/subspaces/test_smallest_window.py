"""The smallest window that holds a perturbation: against the singular values of the dense matrix in every window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import blindspace as bs
from blindspace.subspaces import smallest_window
from oracle import matrix_of

CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}
with torch.random.fork_rng():
    torch.manual_seed(0)
    CASES["patches"] = nn.Conv2d(3, 10, 8, 8), (3, 24, 24)
    CASES["overlapping"] = nn.Conv2d(3, 3, 5, 3, 2), (3, 15, 18)
    CASES["vector"] = nn.Linear(40, 12), (40,)
    CASES["samples"] = nn.Conv1d(1, 2, 9, 4), (1, 60)
    CASES["every other pixel"] = nn.Conv2d(1, 4, 1, 2), (1, 9, 9)


def null_dim(matrix: np.ndarray, inside: np.ndarray) -> int:
    columns = matrix[:, inside.ravel()]
    return int(columns.shape[1]) - int(np.linalg.matrix_rank(columns))


def inside(shape: tuple[int, ...], ends: tuple[tuple[int, int], ...]) -> np.ndarray:
    found = np.zeros(shape, dtype=bool)
    where: tuple[Any, ...] = (..., *(slice(*pair) for pair in ends))
    found[where] = True
    return found


@pytest.mark.parametrize("name", CASES)
def test_no_side_can_move_inwards(name: str) -> None:
    module, shape = CASES[name]
    space, matrix = bs.nullspace(module, shape), matrix_of(module, shape)
    found = smallest_window(space)
    assert found.ends is not None
    assert found.space is not None
    assert found.dim == null_dim(matrix, inside(shape, found.ends)) > 0
    assert found.values == inside(shape, found.ends).sum()
    for axis, (start, stop) in enumerate(found.ends):
        for side in ((start + 1, stop), (start, stop - 1)):
            smaller = (*found.ends[:axis], side, *found.ends[axis + 1 :])
            assert null_dim(matrix, inside(shape, smaller)) == 0
    sample = found.space.sample(1)[0]
    assert not sample[~torch.from_numpy(inside(shape, found.ends))].any()
    assert bool(space.contains(sample))
    unread = int((~matrix.any(0)).sum())
    assert found.unread == unread
    if name == "every other pixel":
        assert (found.values, unread) == (1, 81 - 25)


@pytest.mark.parametrize("name", ["patches", "overlapping", "vector"])
def test_smaller_squares_at_the_places_tested_are_empty(name: str) -> None:
    module, shape = CASES[name]
    matrix = matrix_of(module, shape)
    found = smallest_window(bs.nullspace(module, shape))
    assert found.empty
    for offset in (0.5, 0.0):
        ends = tuple(
            (int(offset * (n - found.empty)), int(offset * (n - found.empty)) + found.empty) for n in shape[-2:]
        )
        assert null_dim(matrix, inside(shape, ends)) == 0
    assert found.most_changed == found.values - found.dim + 1


def test_where_there_is_none() -> None:
    module = nn.Conv2d(1, 4, 3, padding=1)
    found = smallest_window(module, input_shape=(1, 8, 8))
    assert (found.ends, found.dim, found.sides, found.empty) == (None, 0, (), 0)
    assert found.to_dict()["certificate"] is None
    wide = smallest_window(nn.Linear(40, 12), 8, input_shape=(40,))
    assert (wide.ends, wide.empty) == (None, 8)
    assert wide.tested


def test_pixels_that_are_cropped_away_are_left_out() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.ZeroPad2d(-4), nn.Conv2d(3, 10, 4, 4))
    found = smallest_window(module, input_shape=(3, 24, 24))
    assert found.unread == 3 * (24**2 - 16**2)
    assert found.read == ((4, 20), (4, 20))
    assert found.ends is not None
    assert all(4 <= start < stop <= 20 for start, stop in found.ends)
    assert found.values > 3
