"""A value that identifies a map by its content: the same in every process, and different for different maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .linear_map import LinearMap

DERIVED = {"_norm", "_casts", "device"}
"""Attributes of every map that do not change what it computes."""


class _UnknownError(Exception):
    """A value of a type whose behaviour does not follow from its parts."""


def content_key(value: object) -> Any:
    """A value as JSON can hold it: arrays by shape, dtype and SHA-256, maps by their class and attributes.

    Args:
        value: Plain values, arrays, tensors and maps, in any nesting of sequences and mappings.

    Returns:
        The key; None if a part is of unknown type, such as a function or a map defined outside the package.
    """
    try:
        return _plain(value)
    except _UnknownError:
        return None


def map_key(operator: LinearMap) -> dict[str, Any] | None:
    """The content key of a map; None if it is defined outside the package or holds a value of unknown type."""
    found: dict[str, Any] | None = content_key(operator)
    return found


def _plain(value: object) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case torch.dtype() | torch.device() | np.dtype():
            return str(value)
        case np.generic():
            return value.item()
        case Tensor() if value.layout == torch.strided and value.dtype != torch.bfloat16:
            return _plain(value.detach().cpu().numpy())
        case np.ndarray() if value.dtype.kind in "biufc":
            data = hashlib.sha256(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data).hexdigest()
            return {"dtype": value.dtype.str, "shape": list(value.shape), "sha256": data}
        case LinearMap():
            return _of_map(value)
        case Mapping():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple() | range():
            return [_plain(item) for item in value]
    raise _UnknownError


def _of_map(operator: LinearMap) -> dict[str, Any]:
    kind = type(operator)
    if kind.__module__.split(".")[0] != __name__.split(".")[0]:
        raise _UnknownError
    derived = DERIVED | {name for name in vars(operator) if isinstance(getattr(kind, name, None), cached_property)}
    values = {name: _plain(value) for name, value in vars(operator).items() if name not in derived}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **values}
