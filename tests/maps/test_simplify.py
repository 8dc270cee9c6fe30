"""Compositions, sums and stacks: whatever structure they are rewritten to, the matrix stays the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import pytest
import torch
from hypothesis import assume, given, settings
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
    Kronecker,
    LinearMap,
    Padding,
    Rearrange,
    Summed,
    VStack,
    compose,
    summed,
    vstack,
)
from blindspace.maps.operations import resize
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


def grouped() -> Convolution:
    return Convolution(random(4, 3, 3, 3), (6, 8, 8), (2, 2), [(1, 1), (1, 1)], (1, 1), groups=2)


def product_of(factors: list[LinearMap]) -> Tensor:
    """The dense matrix of a composition, by products of the dense matrices of its factors."""
    return reduce(lambda product, factor: factor.to_dense() @ product, factors[1:], factors[0].to_dense())


def check(operator: LinearMap) -> Tensor:
    """The dense matrix, after a check that the map keeps its contract."""
    check_map(operator, tolerance=1e-12)
    return operator.to_dense(limit=None)


SUMS: dict[str, tuple[Callable[[], list[LinearMap]], type[LinearMap]]] = {
    "kernels": (lambda: [conv(3, 2, 1), conv(1, 2, 0), conv(5, 2, 2)], Convolution),
    "kernels off the centre": (lambda: [conv(3, 1, 1), conv(1, 1, 0)], Convolution),
    "dilated kernels": (lambda: [conv(3, 1, 2, dilation=2), conv(1, 1, 0)], Convolution),
    "dilations that do not fit": (lambda: [conv(3, 1, 2, dilation=2), conv(3, 1, 1)], Summed),
    "matrices": (lambda: [Dense(random(4, 5), (2,)), Dense(random(4, 5, seed=1), (2,))], Dense),
    "scalings": (lambda: [Diagonal(random(3, 1, 1), SHAPE), Identity(SHAPE)], Diagonal),
    "moves to different places": (
        lambda: [
            compose(Padding(SHAPE, [(0, 0), (0, -3)]), Padding((3, 6, 2), [(0, 0), (0, 3)])),
            compose(Padding(SHAPE, [(0, 0), (-2, 0)]), Padding((3, 6, 3), [(0, 0), (2, 0)])),
        ],
        Rearrange,
    ),
    "scaled moves to different places": (
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
    "moves to the same place": (
        lambda: [Gather((4,), (2,), torch.tensor([0, 1])), Gather((4,), (2,), torch.tensor([2, -1]))],
        Summed,
    ),
    "of two kinds": (lambda: [conv(3, 1, 1, 3), Identity(SHAPE)], Summed),
    "a single part": (lambda: [conv(3, 2, 1)], Convolution),
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
    torch.testing.assert_close(dense.T @ dense, expected.T @ expected)  # the same rows in some order


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
    "gathering maps": (
        lambda: [Gather((6,), (4,), torch.tensor([5, -1, 0, 2])), Gather((4,), (3,), torch.tensor([-1, 0, 3]))],
        [Gather],
    ),
    "a gathering map after a permutation": (
        lambda: [Rearrange((6,), (3, 2), (2, 3), (1, 0)), Gather((3, 2), (2,), torch.tensor([1, 2]))],
        [Gather],
    ),
    "reshapes": (lambda: [Rearrange((6,), (2, 3)), Rearrange((2, 3), (3, 2))], [Rearrange]),
    "identities around a convolution": (lambda: [Identity(SHAPE), conv(3, 2, 1), Identity((4, 3, 3))], [Convolution]),
    "two identities": (lambda: [Identity(SHAPE), Identity(SHAPE)], [Identity]),
}


@pytest.mark.parametrize("name", FOLDS)
def test_compositions(name: str) -> None:
    build, kinds = FOLDS[name]
    parts = build()
    whole = compose(*parts)
    assert [type(part) for part in whole.factors] == kinds
    torch.testing.assert_close(check(whole), product_of(parts), rtol=0, atol=1e-12)


def test_values_that_are_not_gathered_lie_in_the_nullspace() -> None:
    """N(A S) holds the values that S drops and the preimage of N(A)."""
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


def scale(*shape: int, to: tuple[int, ...]) -> Diagonal:
    return Diagonal(random(*shape), to)


@pytest.mark.parametrize(
    ("factors", "folded"),
    [
        ([scale(3, 1, 1, to=(3, 8, 8)), conv(3, 2, 1, shape=(3, 8, 8))], Convolution),
        ([scale(6, 1, 1, to=(6, 8, 8)), grouped()], Convolution),
        ([conv(3, 2, 1, shape=(3, 8, 8)), scale(4, 1, 1, to=(4, 4, 4))], Convolution),
        ([scale(1, to=(3, 8, 8)), conv(3, 2, 1, shape=(3, 8, 8)), scale(4, 1, 1, to=(4, 4, 4))], Convolution),
        ([scale(3, 1, 1, to=(3, 5, 5)), scale(3, 5, 5, to=(3, 5, 5))], Diagonal),
        ([scale(9, to=(2, 9)), Dense(random(4, 9), (2,)), scale(4, to=(2, 4))], Dense),
        ([scale(3, 8, 8, to=(3, 8, 8)), conv(3, 2, 1, shape=(3, 8, 8))], Composed),
        ([scale(2, 1, to=(2, 9)), Dense(random(4, 9), (2,))], Composed),
        ([conv(3, 2, 1, shape=(3, 8, 8)), scale(4, 4, 4, to=(4, 4, 4))], Composed),
    ],
)
def test_compose_folds_scalings_where_they_fit(factors: list[LinearMap], folded: type[LinearMap]) -> None:
    whole = compose(*factors)
    assert type(whole) is folded
    torch.testing.assert_close(check(whole), product_of(factors), rtol=0, atol=1e-12)


@st.composite
def chains(draw: st.DrawFn) -> list[LinearMap]:
    """A sequence of maps that fold in many ways."""
    shape: tuple[int, ...] = (2, draw(st.integers(3, 9)), draw(st.integers(3, 9)))
    chain: list[LinearMap] = []
    for _ in range(draw(st.integers(2, 6))):
        match draw(st.sampled_from(["resize", "rows", "crop", "pad", "scale", "pixels", "conv"])):
            case "resize":
                part: LinearMap = resize(shape, (draw(st.integers(2, 9)), draw(st.integers(2, 9))), antialias=True)
            case "rows":
                part = Kronecker([random(draw(st.integers(1, 6)), shape[2], seed=1)], shape)
            case "crop":
                part = Padding(
                    shape, [(-draw(st.integers(0, n // 3)), -draw(st.integers(0, n // 3))) for n in shape[1:]]
                )
            case "pad":
                part = Padding(shape, [(1, -1), (0, 1)], draw(st.sampled_from(["zeros", "replicate", "circular"])))
            case "scale":
                part = Diagonal(random(*draw(st.sampled_from([(shape[0], 1, 1), (1,), (1, 1, 1)])), seed=2), shape)
            case "pixels":
                part = Diagonal(random(shape[2], seed=3), shape)
            case _:
                part = conv(3, 2, 1, shape=shape)
        if min(part.out_shape[1:]) < 2:
            break
        chain.append(part)
        shape = part.out_shape
    assume(chain)
    return chain


@settings(max_examples=300, deadline=None, derandomize=True)
@given(chains())
def test_folding_changes_no_value(chain: list[LinearMap]) -> None:
    product, folded = product_of(chain), compose(*chain)
    assert torch.allclose(folded.to_dense(), product, rtol=0, atol=1e-12 * float(product.abs().max() + 1))
    x = random(2, *chain[0].in_shape)
    y = (x.flatten(1) @ product.T).reshape(2, *chain[-1].out_shape)
    assert torch.allclose(folded.forward(x), y, rtol=0, atol=1e-11 * float(y.abs().max() + 1))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(chains())
def test_composing_again_changes_nothing(chain: list[LinearMap]) -> None:
    folded = compose(*chain)
    kinds = [type(part) for part in folded.factors]
    assert kinds == [type(part) for part in compose(folded).factors]
    assert len(kinds) <= len(chain)


def preprocessing(*order: str) -> list[LinearMap]:
    shape: tuple[int, ...] = (3, 20, 24)
    chain: list[LinearMap] = []
    for name in order:
        if name == "resize":
            part: LinearMap = resize(shape, (14, 15), "bicubic", convention="pil")
        elif name == "crop":
            part = Padding(shape, [(-2, -2), (-1, -2)])
        else:
            part = Diagonal(random(3, 1, 1), shape) if name == "normalise" else conv(3, 2, 1, shape=shape)
        chain.append(part)
        shape = part.out_shape
    return chain


@pytest.mark.parametrize(
    "order",
    [
        ("resize", "crop", "normalise", "conv"),
        ("normalise", "resize", "crop", "conv"),
        ("resize", "normalise", "crop", "conv"),
        ("crop", "normalise", "resize", "conv"),
    ],
    ids="-".join,
)
def test_preprocessing_and_stem_are_one_resize_and_one_convolution(order: tuple[str, ...]) -> None:
    chain = preprocessing(*order)
    first, second = compose(*chain).factors
    assert isinstance(first, Kronecker)
    assert isinstance(second, Convolution)
    assert [len(matrix) for matrix in first.matrices] == list(chain[-1].in_shape[1:])


def test_resizes_multiply_unless_the_product_would_hide_the_rank() -> None:
    down, further = resize((1, 20, 20), (12, 12)), resize((1, 12, 12), (7, 7))
    assert isinstance(compose(down, further), Kronecker)
    assert isinstance(compose(resize((1, 12, 12), (20, 20)), down), Kronecker)
    up = resize((1, 12, 12), (20, 20))
    assert [type(part) for part in compose(down, up).factors] == [Kronecker, Kronecker]


def test_padding_after_a_resize_is_not_folded_into_it() -> None:
    chain = [resize((2, 8, 8), (4, 4)), Padding((2, 4, 4), [(1, 1), (0, -1)])]
    assert [type(part) for part in compose(*chain).factors] == [Kronecker, Padding]
    assert isinstance(compose(Padding((2, 8, 8), [(1, 1), (2, -1)], "reflect"), resize((2, 10, 9), (4, 4))), Kronecker)


def test_a_scaling_that_varies_along_a_resized_axis_does_not_move() -> None:
    chain = [Diagonal(random(8, 1), (2, 8, 8)), resize((2, 8, 8), (4, 4))]
    assert [type(part) for part in compose(*chain).factors] == [Diagonal, Kronecker]


def test_neighbours_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 8, 8\).*shapes differ"):
        compose(Diagonal(random(2, 1, 1), (2, 8, 8)), resize((2, 9, 8), (4, 4)))
