"""Gradients with respect to the input alone, without what a library does for the gradients of weights too.

The backward pass of oneDNN (in PyTorch 2) is slow for a convolution of few channels, such as the first one of a network
of images: for 16 kernels of 4×4 on 28×28 grey pixels it takes five times as long as PyTorch's own one, more than all
the rest of a small network. Blocks of channels, for which oneDNN is made, are nearly empty there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FEW = 3
"""Largest number of input channels per group for which PyTorch's own backward pass is taken."""


class InputGradients(TorchFunctionMode):
    """Within this context, convolutions of few channels pass gradients to their inputs by PyTorch's own code.

    The gradients of weights are not computed, so nothing is to be trained within it.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch, a convolution perhaps in the other way."""
        if func is torch.conv2d and not kwargs and len(args) == 7:
            x, weight, padding = args[0], args[1], args[4]
            if weight.shape[1] <= FEW and x.ndim == 4 and x.requires_grad and not isinstance(padding, str):
                return _Convolution.apply(*args)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


class _Convolution(torch.autograd.Function):
    """A convolution whose backward pass is PyTorch's own, for the input alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = _pair(stride), _pair(padding), _pair(dilation), groups
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        outer = gradients[0].to(x.dtype).contiguous()
        settings = (None, stride, padding, dilation, False, (0, 0), groups, (True, False, False))
        before = torch.backends.mkldnn.set_flags(False)
        try:
            found = torch.ops.aten.convolution_backward(outer, x.contiguous(), weight.contiguous(), *settings)
        finally:
            torch.backends.mkldnn.set_flags(before[0])
        return found[0], *[None] * 6


def _pair(given: Any) -> tuple[int, int]:
    return (given, given) if isinstance(given, int) else tuple(given)
