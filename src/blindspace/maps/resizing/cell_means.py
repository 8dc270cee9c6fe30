"""The mean over the part of an axis under each output pixel: what people see of a picture from further away."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def cell_means(size: int, out: int) -> Tensor:
    """The matrix ``(out, size)`` of the means over cells, pixels at their borders by the share inside, in float64."""
    if size == out:
        return torch.eye(size, dtype=torch.float64)
    pixel, border = np.arange(size + 1.0), np.linspace(0, size, out + 1)
    overlap = np.minimum(border[1:, None], pixel[None, 1:]) - np.maximum(border[:-1, None], pixel[None, :-1])
    weights = overlap.clip(min=0)
    return torch.from_numpy(weights / weights.sum(1, keepdims=True))
