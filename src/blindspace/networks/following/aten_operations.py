"""The linear maps of torch's operations (ATen) that are affine in the values they read.

An operation with a builder in ``maps/operations.py`` gets that map; one that only moves values is run on their numbers;
any other is its own map. Each map is checked against the operation itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import BlindspaceError, UnsupportedLayerError
from ...maps import Diagonal, LinearMap, Shape, compose, operations
from ..affine_graph import Value
from .aten_affine import PASSED_ON, VIEWS, added_to, is_affine, is_move, name_of
from .aten_call import Call, shape_of
from .aten_function import Function, Maps, Operand, coordinates, precision_of
from .aten_rules import RULES

__all__ = ["PASSED_ON", "RULES", "Reads", "linear_part"]

Reads = list[tuple[Value, LinearMap]]
"""The values whose sum an output is, a constant aside, each with the map that it goes through."""


def linear_part(call: Call) -> list[Reads] | None:
    """For every output of an operation, the values it reads and through which maps; None if not known to be affine.

    An output that reads none of them is constant.

    Args:
        call: The operation, before it runs.
    """
    if not is_affine(call) or not all(value.affine for value in call.values.values()):
        return None
    try:
        with torch.inference_mode(False), torch.no_grad():  # no derivative can be taken of tensors made in that mode
            function = Function(call)
            found = _moved(call, function) if is_move(call) else _mapped(call, function)
            if not (name_of(call) in VIEWS or function.does(found)):
                return None
    except BlindspaceError:
        return None  # torch refuses the operation in float64, or its numbers are not finite
    values = {place: operand.value for place, operand in function.operands.items()}
    return [[(values[place], operator) for place, operator in maps.items()] for maps in found]


def _mapped(call: Call, function: Function) -> list[Maps]:
    """The map of each operand to the first output: by a rule where one serves, else the operation itself.

    Further outputs, such as a factorisation of a constant matrix, do not depend on the operands.
    """
    first, *others = function.run({})
    found: Maps = {}
    for place, operand in function.operands.items():
        operator = _by_rule(call, operand)
        if operator is None:
            operator = function.linear_part(place, call.name, added_to(call, operand.argument))
        found[place] = operations.reshaped(operator, operand.value.shape, shape_of(first))
    return [found, *({} for _ in others)]


def _by_rule(call: Call, operand: Operand) -> LinearMap | None:
    rule = RULES.get(name_of(call))
    scalars = any(isinstance(given, complex) for given in call.given.values())
    if rule is None or scalars or any(tensor.is_complex() for tensor in call.tensors):
        return None
    try:
        return rule(call, operand.argument, operand.tensor, operand.value.shape)
    except BlindspaceError:
        return None  # shapes or options that the builder does not serve


# --- moves -------------------------------------------------------------------------------------------------


def _moved(call: Call, function: Function) -> list[Maps]:
    """The operation run on the numbers of the values, each operand by itself."""
    if _writes_twice(call, function):
        raise UnsupportedLayerError(f"{call.name} leaves open which of several values is kept")
    start = [coordinates(output) for output in function.run({})]  # what constants write
    found: list[Maps] = [{} for _ in start]
    for place, operand in function.operands.items():
        shape = operand.value.shape
        known = _by_rule(call, operand)
        written = function.run({place: operations.numbered(shape)}) if known is None else []
        for i, maps in enumerate(found):
            if known is not None:
                maps[place] = operations.reshaped(known, shape, tuple(start[i].shape))
            elif not torch.equal(start[i], after := coordinates(written[i])):
                maps[place] = _move(shape, start[i], after)
    return found


def _move(in_shape: Shape, before: Tensor, after: Tensor) -> LinearMap:
    """The map to an output that holds numbers of values, or their negatives, where it changes."""
    numbers = torch.where(before == after, torch.zeros_like(after), after - before)
    operator = operations.move(in_shape, numbers.abs())
    negative = (numbers < 0).double()
    return compose(operator, Diagonal(1 - 2 * negative, operator.out_shape)) if negative.any() else operator


def _writes_twice(call: Call, function: Function) -> bool:
    """Whether several values are written to one position, and it is left open which of them is kept."""
    if "accumulate" not in call.given:
        return False
    source = "values" if "values" in call.given else "source"
    ones, zeros = (
        torch.full_like(call.given[name], number, dtype=precision_of(call.given[name].dtype, torch.float64))
        for name, number in ((source, 1), ("self", 0))
    )
    (counts,) = function.run({}, {source: ones, "self": zeros, "accumulate": True})
    return bool((coordinates(counts) > 1).any())
