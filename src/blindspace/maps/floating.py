"""Floating-point tensors from what users have at hand: tensors, NumPy arrays, and lists of either."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ShapeError

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def as_floating(given: object, what: str, wanted: str = "(B, *shape)") -> Tensor:
    """A floating-point tensor that everything here can compute with.

    Args:
        given: A strided tensor of 16, 32 or 64 bits; a NumPy array of floating-point numbers of any memory layout and
            byte order; or a list of such tensors or arrays of one shape.
        what: What it is called in the message.
        wanted: Its shape in the message.

    Returns:
        A tensor itself, with its gradient, if it is contiguous; else a contiguous copy, as another order in memory is
        another order of sums, whose rounding long searches amplify. An array shares its memory where that is possible.

    Raises:
        ShapeError: It is something else, such as bytes.
    """
    found = given if isinstance(given, Tensor) else _tensor(given)
    usable = isinstance(found, Tensor) and found.dtype in DTYPES and found.layout == torch.strided
    if not isinstance(found, Tensor) or not usable or found.is_nested or found.is_meta:
        raise ShapeError(f"the {what} must be a floating-point tensor {wanted}, got {_described(given, found)}")
    return found.contiguous()


def within(x: Tensor, low: float, high: float) -> bool:
    """Whether all values of a floating-point tensor lie in a range; NaN lies in none."""
    if not x.numel():
        return True
    ends = x.aminmax()  # one pass without temporaries
    return bool(ends.min >= low) and bool(ends.max <= high)


def _tensor(given: object) -> Tensor | None:
    """A tensor from an array or a list; None if it is of another kind."""
    if isinstance(given, list | tuple) and given and all(isinstance(part, Tensor | np.ndarray) for part in given):
        parts = [part if isinstance(part, Tensor) else _tensor(part) for part in given]
        usable = [part for part in parts if part is not None and part.layout == torch.strided and not part.is_nested]
        alike = len({(part.shape, part.dtype, part.device) for part in usable}) == 1
        return torch.stack(usable) if alike and len(usable) == len(parts) else None
    if not isinstance(given, np.ndarray) or isinstance(given, np.ma.MaskedArray):
        return None
    if given.dtype.kind == "f":
        return _from_array(given.astype(np.float64) if given.dtype.itemsize > 8 else given)
    return _from_array(given) if given.dtype.kind in "iub" and given.dtype.itemsize <= 8 else None


def _from_array(array: np.ndarray[Any, Any]) -> Tensor:
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _described(given: object, found: Tensor | None) -> str:
    """What was given, for a message."""
    if isinstance(found, Tensor) and found.dtype in DTYPES:
        return f"a tensor {'without values' if found.is_meta else 'in another layout than the dense one'}"
    if isinstance(found, Tensor):
        whole = not found.dtype.is_complex and not found.dtype.is_floating_point and not found.is_quantized
        return f"{found.dtype}" + ("; divide bytes by 255" if whole else "")
    return type(given).__name__
