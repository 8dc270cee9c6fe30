"""Resizes of large photographs, whose modules apply maps that need values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blindspace.maps import from_module, operations
from blindspace.networks.preprocessing_modules import AffineMap, Resize

LARGE = (3, 700, 900)
"""More values than are run through a module as zeros."""


@pytest.mark.parametrize("convention", ["pil", "opencv", "torch"])
def test_a_large_photograph_is_resized(convention: str) -> None:
    mode = {"pil": "bicubic", "opencv": "linear", "torch": "bilinear"}[convention]
    operator = from_module(nn.Sequential(Resize(32, mode, convention=convention)), LARGE)
    assert operator.out_shape == (3, 32, 41)
    constant = torch.full((1, *LARGE), 0.25, dtype=torch.float64)
    torch.testing.assert_close(operator.forward(constant), torch.full((1, 3, 32, 41), 0.25, dtype=torch.float64))


def test_a_large_photograph_is_read_by_an_affine_map() -> None:
    operator = operations.resize(LARGE, (7, 9), "box", convention="pil")
    assert from_module(AffineMap(operator, torch.zeros(3, 7, 9)), LARGE).out_shape == (3, 7, 9)
