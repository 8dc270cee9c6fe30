"""One linear map from whatever a user has at hand: a map, an affine torch module, a network or a subspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from torch import nn

from ..errors import BlindspaceError, ShapeError
from .linear_map import LinearMap, as_shape
from .modules import from_module


@runtime_checkable
class SupportsLinearMap(Protocol):
    """An object that stands for a linear map: a network for its affine front, a subspace for its annihilator."""

    def linear_map(self) -> LinearMap:
        """The linear map that the object stands for."""


Operator: TypeAlias = LinearMap | nn.Module | SupportsLinearMap
"""Everything that ``as_linear_map`` accepts."""


def as_linear_map(operator: Operator, input_shape: Sequence[int] | None = None) -> LinearMap:
    """The linear map that an object stands for, with its parameters on the CPU, where solvers factorise it.

    Args:
        operator: A ``LinearMap``; an object with a method ``linear_map()``, such as a ``Network`` or a ``Subspace``; or
            an affine torch module, whose parameters are copied to float64.
        input_shape: Shape of one input without the batch axis. A module needs it; for others it is only compared.

    Raises:
        BlindspaceError: The object is of none of these types.
        ShapeError: A module comes without its input shape or cannot read it, or a map has another input shape.
        UnsupportedLayerError: The module is not affine.
        ValueRangeError: A parameter of the module is not finite.
    """
    if isinstance(operator, LinearMap):
        found = operator
    elif not isinstance(operator, type) and isinstance(operator, SupportsLinearMap):
        found = operator.linear_map()
    elif isinstance(operator, nn.Module):
        if input_shape is None:
            raise ShapeError(f"{type(operator).__name__} needs the shape of its input, such as input_shape=(3, 32, 32)")
        return from_module(operator, input_shape)
    else:
        given = f"the class {operator.__name__}" if isinstance(operator, type) else type(operator).__name__
        raise BlindspaceError(
            "a linear operator is a LinearMap, a torch module with its input_shape, a Network or a Subspace; "
            f"got {given}"
        )
    if input_shape is not None and as_shape(input_shape) != found.in_shape:
        raise ShapeError(f"{found} reads inputs of shape {found.in_shape}, not {as_shape(input_shape)}")
    return found.to("cpu")
