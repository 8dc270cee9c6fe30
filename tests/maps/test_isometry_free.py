"""The isometry-free factor of a map has its singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from blindspace.maps import Dense, Diagonal, Padding, from_module, isometry_free
from oracle import map_of, true_sigma


@pytest.mark.parametrize("name", ["norm-conv-1x1", "pad-patches-norm", "unshuffle-1x1", "transpose2d-up"])
def test_the_core_of_a_map_has_its_singular_values(name: str) -> None:
    operator = map_of(name)
    factor = Diagonal(torch.full((1,), -0.3, dtype=torch.float64), operator.out_shape)
    padded = Padding(operator.out_shape, [(2, 1)]) @ factor @ operator
    free = isometry_free(padded)
    inner, gain = free.operator, free.gain
    assert inner.out_shape == operator.out_shape
    assert gain == pytest.approx(0.3 if name == "transpose2d-up" else 1.0)  # the others take it into their weights
    largest = torch.linalg.svdvals(inner.to_dense())
    assert torch.allclose(gain * largest, torch.linalg.svdvals(padded.to_dense())[: len(largest)], atol=1e-13)


@pytest.mark.parametrize("mode", ["zeros", "circular", "replicate"])
def test_padding_in_front_is_no_core(mode: str) -> None:
    """It keeps lengths, or reads values twice, but what follows does not see every direction of its output."""
    matrix = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    operator = Dense(matrix, (2,)) @ Padding((2, 6), [(2, 1)], mode)
    free = isometry_free(operator)
    inner, gain = free.operator, free.gain
    assert torch.allclose(gain * torch.linalg.svdvals(inner.to_dense()), torch.linalg.svdvals(operator.to_dense()))
    cropped = Dense(matrix, (2,)) @ Padding((2, 12), [(-2, -1)], mode)
    assert isometry_free(cropped).operator.in_shape == (2, 9)  # whole rows of the identity are left out


def test_the_core_reads_no_more_than_it_needs() -> None:
    """The resize in front is left with as many inputs as outputs, by an LQ decomposition of each axis."""
    free = isometry_free(map_of("resize-conv"))
    inner, gain = free.operator, free.gain
    assert inner.in_shape == (3, 9, 10)
    sigma = gain * torch.linalg.svdvals(inner.to_dense()).numpy()
    assert np.abs(sigma - true_sigma("resize-conv")[: len(sigma)]).max() <= 1e-13
    wide = Dense(torch.randn(4, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64), (3,))
    both = from_module(nn.Conv1d(3, 2, 2), (3, 4)) @ wide  # a pool would become one matrix with it
    inner = isometry_free(both).operator
    assert inner.in_shape == (3, 4)
    assert torch.allclose(torch.linalg.svdvals(inner.to_dense()), torch.linalg.svdvals(both.to_dense()))
