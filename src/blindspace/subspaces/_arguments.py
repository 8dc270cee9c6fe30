"""Checks of arguments that are tensors or sources of randomness."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import BlindspaceError, ShapeError, shown


def described(value: object) -> str:
    """Describe what was given in place of a tensor: dtype and shape of a tensor, the type of anything else."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def floating(value: Tensor, name: str, axes: int = 1) -> Tensor:
    """Return ``value`` if it is a floating-point tensor with at least ``axes`` axes; ``name`` is for the message."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim < axes:
        raise ShapeError(f"{name} must be a floating-point tensor (B, *shape), got {described(value)}")
    return value


def as_dtype(dtype: object) -> torch.dtype:
    """Return ``dtype`` if it is a floating torch dtype."""
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
        return dtype
    raise BlindspaceError(f"dtype must be a floating torch dtype, such as torch.float32, got {shown(dtype)}")


def generator_or_none(value: object) -> torch.Generator | None:
    """Return ``value`` if it is a source of randomness or None."""
    if value is None or isinstance(value, torch.Generator):
        return value
    raise BlindspaceError(f"generator must be a torch.Generator or None, got a {type(value).__name__}")
