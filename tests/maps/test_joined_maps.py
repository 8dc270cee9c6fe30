"""Selections, sums, stacks and compositions: whatever structure they are folded into, the matrix stays the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from blindspace.errors import ShapeError
from blindspace.maps import (
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Gather,
    Identity,
    Jacobian,
    LinearMap,
    Padding,
    Rearrange,
    Summed,
    VStack,
    compose,
    gather,
    summed,
    vstack,
)
from blindspace.maps.properties import is_coisometric
from blindspace.solvers import choose
from blindspace.solvers.projectors.dense import DenseSolver
from blindspace.testing import check_map

SHAPE = (3, 6, 5)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def conv(
    kernel: int, stride: int, padding: int, out: int = 4, dilation: int = 1, shape: tuple[int, ...] = SHAPE
) -> Convolution:
    around = [(padding, padding)] * 2
    return Convolution(random(out, shape[0], kernel, kernel), shape, (stride,) * 2, around, (dilation,) * 2)


def check(operator: LinearMap) -> Tensor:
    """The dense matrix, after a check that the map keeps its contract."""
    check_map(operator, tolerance=1e-12)
    return operator.to_dense(limit=None)


@given(st.data())
@settings(max_examples=60)
def test_a_selection_reads_what_it_is_told(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    read = torch.tensor(data.draw(st.lists(st.integers(-1, n - 1), min_size=m, max_size=m)))
    operator = Gather((n,), (m,), read)
    expected = torch.zeros(m, n, dtype=torch.float64)
    for row, position in enumerate(read.tolist()):
        if position >= 0:
            expected[row, position] = 1
    assert torch.equal(check(operator), expected)
    assert is_coisometric(operator) == torch.equal(expected @ expected.T, torch.eye(m, dtype=torch.float64))
    space = choose(operator)
    assert space.dim == n - int(torch.linalg.matrix_rank(expected))
    x = random(2, n)
    torch.testing.assert_close(space.project(x), DenseSolver(operator).project(x), rtol=0, atol=1e-12)


def test_selections_say_it_simply_and_refuse() -> None:
    assert isinstance(gather((4,), (2, 2), torch.arange(4)), Rearrange)
    for read in (torch.tensor([4]), torch.tensor([-2]), torch.tensor([0, 1])):
        with pytest.raises(ShapeError, match="positions"):
            Gather((4,), (1,), read)


def test_a_jacobian_is_the_derivative() -> None:
    point = random(4)
    operator = Jacobian(lambda x: x.pow(3).cumsum(0).outer(x)[:, :2], (4,), point, "cubes")
    dense = check(operator)
    expected = torch.autograd.functional.jacobian(operator.function, point).reshape(8, 4)
    torch.testing.assert_close(dense, expected)
    assert "cubes" in repr(operator)
    assert operator.forward(torch.zeros(0, 4)).shape == (0, 4, 2)


SUMS: dict[str, tuple[Callable[[], list[LinearMap]], type[LinearMap]]] = {
    "kernels": (lambda: [conv(3, 2, 1), conv(1, 2, 0), conv(5, 2, 2)], Convolution),
    "kernels off the centre": (lambda: [conv(3, 1, 1), conv(1, 1, 0)], Convolution),
    "dilated kernels": (lambda: [conv(3, 1, 2, dilation=2), conv(1, 1, 0)], Convolution),
    "dilations that do not fit": (lambda: [conv(3, 1, 2, dilation=2), conv(3, 1, 1)], Summed),
    "matrices": (lambda: [Dense(random(4, 5), (2,)), Dense(random(4, 5, seed=1), (2,))], Dense),
    "scalings": (lambda: [Diagonal(random(3, 1, 1), SHAPE), Identity(SHAPE)], Diagonal),
    "to different places": (
        lambda: [
            compose(Padding(SHAPE, [(0, 0), (0, -3)]), Padding((3, 6, 2), [(0, 0), (0, 3)])),
            compose(Padding(SHAPE, [(0, 0), (-2, 0)]), Padding((3, 6, 3), [(0, 0), (2, 0)])),
        ],
        Rearrange,
    ),
    "scaled to different places": (
        lambda: [
            compose(
                Padding(SHAPE, [(0, 0), (0, -3)]),
                Diagonal(random(6, 1), (3, 6, 2)),
                Padding((3, 6, 2), [(0, 0), (0, 3)]),
            ),
            compose(Padding(SHAPE, [(0, 0), (-2, 0)]), Padding((3, 6, 3), [(0, 0), (2, 0)])),
        ],
        Diagonal,
    ),
    "to the same place": (
        lambda: [Gather((4,), (2,), torch.tensor([0, 1])), Gather((4,), (2,), torch.tensor([2, -1]))],
        Summed,
    ),
    "of two kinds": (lambda: [conv(3, 1, 1, 3), Identity(SHAPE)], Summed),
    "one": (lambda: [conv(3, 2, 1)], Convolution),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums(name: str) -> None:
    build, kind = SUMS[name]
    parts = build()
    whole = summed(parts)
    assert isinstance(whole, kind)
    torch.testing.assert_close(check(whole), check(Summed(parts)), rtol=0, atol=1e-12)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(1, 2)), min_size=2, max_size=3),
    st.integers(1, 3),
)
@settings(max_examples=80)
def test_sums_of_any_kernels(kernels: list[tuple[int, int, int]], stride: int) -> None:
    parts: list[LinearMap] = []
    for size, padding, dilation in kernels:
        if dilation * (size - 1) + 1 <= 5 + 2 * padding:
            parts.append(conv(size, stride, padding, 2, dilation))
    parts = [part for part in parts if part.out_shape == parts[0].out_shape]
    if parts:
        torch.testing.assert_close(check(summed(parts)), check(Summed(parts)), rtol=0, atol=1e-12)


STACKS: dict[str, tuple[Callable[[], list[LinearMap]], type[LinearMap]]] = {
    "convolutions of one geometry": (lambda: [conv(3, 2, 1, 2), conv(3, 2, 1, 5)], Convolution),
    "matrices": (lambda: [Dense(random(4, 5), (2,)), Dense(random(3, 5), (2,))], Dense),
    "of two kinds": (lambda: [conv(3, 2, 1, 2), Identity(SHAPE), conv(3, 2, 1, 5)], VStack),
}


@pytest.mark.parametrize("name", STACKS)
def test_stacks(name: str) -> None:
    build, kind = STACKS[name]
    parts = build()
    whole = vstack(parts)
    assert isinstance(whole, kind)
    dense, expected = check(whole), VStack(parts).to_dense(limit=None)
    torch.testing.assert_close(dense.T @ dense, expected.T @ expected)  # the same rows, in some order


FOLDS: dict[str, tuple[Callable[[], list[LinearMap]], list[type[LinearMap]]]] = {
    "padding before a convolution": (
        lambda: [Padding(SHAPE, [(0, 1), (2, 1)]), conv(3, 2, 1, shape=(3, 7, 8))],
        [Convolution],
    ),
    "cropping before a convolution": (
        lambda: [Padding(SHAPE, [(0, -1), (-1, 0)]), conv(3, 2, 1, shape=(3, 5, 4))],
        [Padding, Convolution],
    ),
    "crop after crop": (lambda: [Padding(SHAPE, [(-1, 0)]), Padding((3, 6, 4), [(-2, 0), (0, -1)])], [Padding]),
    "crop after padding": (lambda: [Padding(SHAPE, [(1, 1)]), Padding((3, 6, 7), [(-2, 0)])], [Padding, Padding]),
    "selections": (
        lambda: [Gather((6,), (4,), torch.tensor([5, -1, 0, 2])), Gather((4,), (3,), torch.tensor([-1, 0, 3]))],
        [Gather],
    ),
    "a selection after a reshape": (
        lambda: [Rearrange((6,), (3, 2), (2, 3), (1, 0)), Gather((3, 2), (2,), torch.tensor([1, 2]))],
        [Gather],
    ),
    "reshapes": (lambda: [Rearrange((6,), (2, 3)), Rearrange((2, 3), (3, 2))], [Rearrange]),
    "nothing": (lambda: [Identity(SHAPE), conv(3, 2, 1), Identity((4, 3, 3))], [Convolution]),
    "nothing at all": (lambda: [Identity(SHAPE), Identity(SHAPE)], [Identity]),
}


@pytest.mark.parametrize("name", FOLDS)
def test_compositions(name: str) -> None:
    build, kinds = FOLDS[name]
    parts = build()
    whole = compose(*parts)
    assert [type(part) for part in (whole.factors if isinstance(whole, Composed) else [whole])] == kinds
    expected = parts[0].to_dense(limit=None)
    for part in parts[1:]:
        expected = part.to_dense(limit=None) @ expected
    torch.testing.assert_close(check(whole), expected, rtol=0, atol=1e-12)


def test_what_a_selection_leaves_out_is_free() -> None:
    """N(A S) is what S leaves out, and what A does not see of the rest."""
    read = torch.randperm(90, generator=torch.Generator().manual_seed(0))[:48]
    for first in (Gather(SHAPE, (3, 4, 4), read), Padding(SHAPE, [(-1, -1), (0, -1)])):
        whole = compose(first, conv(3, 2, 1, 2, shape=(3, 4, 4)))
        solver, dense = choose(whole), DenseSolver(whole)
        assert solver.dim == dense.dim == 90 - 8
        x = random(3, *SHAPE)
        torch.testing.assert_close(solver.project(x), dense.project(x), rtol=0, atol=1e-12)


def test_shapes_must_fit() -> None:
    with pytest.raises(ShapeError, match="same shapes"):
        Summed([conv(3, 2, 1), conv(3, 1, 1)])
    with pytest.raises(ShapeError, match="no maps"):
        Summed([])
