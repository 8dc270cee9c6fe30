"""Gradients by the other backward pass are those of PyTorch, for every form of convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blindspace.attacks.input_gradients import InputGradients

CONVOLUTIONS = [
    nn.Conv2d(1, 16, 4, 2, 1),
    nn.Conv2d(3, 4, 3, bias=False),
    nn.Conv2d(2, 4, (3, 2), (1, 2), (2, 1), (1, 2)),
    nn.Conv2d(6, 4, 3, groups=2),
    nn.Conv2d(2, 4, 3, padding="same"),
    nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
    nn.Conv2d(5, 4, 3, 1, 1),
]


@pytest.mark.parametrize("convolution", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_are_those_of_pytorch(convolution: nn.Conv2d, dtype: torch.dtype, batch: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(batch, convolution.in_channels, 9, 8, generator=draw, dtype=dtype).requires_grad_()
    module = nn.Sequential(convolution.to(dtype), nn.Tanh())
    (expected,) = torch.autograd.grad(module(x).square().sum(), x)
    with InputGradients():
        (found,) = torch.autograd.grad(module(x).square().sum(), x)
    torch.testing.assert_close(found, expected)


def test_in_mixed_precision_the_gradient_is_that_of_the_image() -> None:
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    module = nn.Conv2d(1, 4, 3)
    (expected,) = torch.autograd.grad(module(x).square().sum(), x)
    with InputGradients(), torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(module(x).float().square().sum(), x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
