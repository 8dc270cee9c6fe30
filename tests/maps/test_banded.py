"""Banded matrices applied by blocks of rows, compared with the whole matrix."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from blindspace.maps.banded import Banded
from blindspace.maps.operations import resize
from blindspace.maps.resizing.pytorch import torch_matrix


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def bands(draw: st.DrawFn) -> Tensor:
    """A matrix each of whose rows has one run of nonzeros, of any length and position; some rows and columns are 0."""
    out, size = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    width = draw(st.integers(0, 12) | st.integers(0, size))
    matrix = noise(out, size, seed=draw(st.integers(0, 9)))
    starts = torch.arange(out) * max(size - width, 0) // out
    if draw(st.booleans()):
        starts = starts.flip(0)
    at = torch.arange(size)
    return torch.where((at >= starts[:, None]) & (at < starts[:, None] + width), matrix, 0)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(bands(), st.integers(1, 3), st.integers(1, 5), st.integers(0, 3))
def test_the_product_by_blocks_is_that_of_the_whole_matrix(matrix: Tensor, before: int, after: int, batch: int) -> None:
    banded, n = Banded(matrix), matrix.shape[1]
    for x, axis in ((noise(batch, before, n, after), 2), (noise(batch, before, n), 2), (noise(batch, n, before), 1)):
        expected = torch.tensordot(matrix, x, ([1], [axis])).movedim(0, axis)
        y = banded.along(x, axis)
        assert torch.allclose(y, expected, rtol=0, atol=1e-12)
        onto = noise(*y.shape, seed=3)
        kept = onto.clone()
        assert torch.allclose(banded.along(x, axis, onto), onto + expected, rtol=0, atol=1e-12)
        assert torch.equal(onto, kept)
        swapped = x.transpose(0, 1).contiguous().transpose(0, 1)
        assert torch.allclose(banded.along(swapped, axis), expected, rtol=0, atol=1e-12)


def test_a_resize_is_split_into_blocks_and_a_mean_is_not() -> None:
    assert len(Banded(torch_matrix(480, 224, "bilinear", antialias=True)).blocks) == 14
    assert len(Banded(torch.full((40, 60), 1 / 60, dtype=torch.float64)).blocks) == 1
    assert Banded(torch.eye(40, dtype=torch.float64)).is_identity


def test_the_gradient_is_the_adjoint() -> None:
    operator = resize((2, 70, 60), (40, 64), "bicubic", antialias=True)
    x, y = noise(2, 2, 70, 60).requires_grad_(), noise(2, 2, 40, 64)
    (gradient,) = torch.autograd.grad((operator.forward(x) * y).sum(), x)
    torch.testing.assert_close(gradient, operator.adjoint(y), rtol=0, atol=1e-14)
