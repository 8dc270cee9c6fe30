"""The graph of a .pt2 file as a module that goes through it, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UnsupportedLayerError
from .exported_operations import operation

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""By the numbers that the file format has for them."""

_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}

_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings")

_LAYERS = {"linear": nn.Linear, "conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d}


@dataclass(frozen=True)
class Named:
    """Stands for a value of the graph."""

    name: str


@dataclass(frozen=True)
class InputDtype:
    """Stands for the precision that the network runs in: the file says float32 where it means its input's."""


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        function: an operation of torch, or a layer that does it.
        args: with ``Named`` for values.
        kwargs: likewise.
        outputs: the names its results get.
        sequence: whether it has several results, or one that is a sequence.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[str, ...]
    sequence: bool

    @cached_property
    def reads(self) -> list[str]:
        """The values it needs."""
        return _names((self.args, self.kwargs))


class Exported(nn.Module):
    """A network that torch.export saved.

    Args:
        nodes: of the graph, in order, as the file has them.
        tensors: weights and constants, by the names of the graph.
        input: name of the one input.
        outputs: names of what it returns.
        dtype: of the input.
        one_by_one: whether it was exported for a batch of 1 alone.

    Raises:
        UnsupportedLayerError: an operation is not allowed, or has an argument of a kind that is not read here.
    """

    def __init__(
        self,
        nodes: Sequence[Mapping[str, Any]],
        tensors: Mapping[str, Tensor],
        input: str,
        outputs: Sequence[str],
        dtype: torch.dtype,
        one_by_one: bool,
    ) -> None:
        super().__init__()
        self.input, self.outputs, self.one_by_one = input, tuple(outputs), one_by_one
        # What writes nothing only checks sizes and types, and would refuse float64.
        self.steps = [self._step(node, tensors, dtype) for node in nodes if node["outputs"]]
        self._last = {name: index for index, step in enumerate(self.steps) for name in step.reads}
        self.slots: dict[str, str] = {}
        for name, tensor in tensors.items():
            if name not in self._last and name not in self.outputs:
                continue  # a layer has it
            self.slots[name] = f"tensor_{len(self.slots)}"
            if tensor.is_floating_point():
                self.register_parameter(self.slots[name], nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(self.slots[name], tensor)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, *input_shape)`` to the output, or all outputs side by side, ``(B, total)``, where there are several."""
        if self.one_by_one and len(x) != 1:
            return torch.cat([self._run(image) for image in x.split(1)])
        return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        values: dict[str, Any] = {name: getattr(self, slot) for name, slot in self.slots.items()}
        values[self.input] = x

        def filled(given: Any) -> Any:
            match given:
                case Named(name):
                    return values[name]
                case InputDtype():
                    return x.dtype
                case list():
                    return [filled(each) for each in given]
            return given

        for index, step in enumerate(self.steps):
            args = [filled(each) for each in step.args]
            result = step.function(*args, **{key: filled(each) for key, each in step.kwargs.items()})
            results = result if step.sequence else (result,)
            values.update(zip(step.outputs, results, strict=False))
            for name in step.reads:
                if self._last[name] == index and name not in self.outputs:
                    values.pop(name, None)  # of large batches not everything fits into memory
        found = [values[name] for name in self.outputs]
        return found[0] if len(found) == 1 else torch.cat([each.flatten(1) for each in found], 1)

    def _step(self, node: Mapping[str, Any], tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Step:
        function = operation(node["target"])
        given = {each["name"]: _argument(each["arg"], dtype) for each in node["inputs"]}
        outputs, sequence = _outputs(node["outputs"])
        layer = _layer(function, given, tensors)
        if layer is not None:
            self._place(_path(node), layer)
            return Step(layer, (given["input"],), {}, outputs, sequence)
        if not isinstance(function, torch._ops.OpOverload):
            return Step(function, tuple(given.values()), {}, outputs, sequence)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for index, argument in enumerate(function._schema.arguments):
            if argument.name in given:
                if index == len(args) and not argument.kwarg_only:
                    args.append(given[argument.name])
                else:
                    kwargs[argument.name] = given[argument.name]
        return Step(function, tuple(args), kwargs, outputs, sequence)

    def _place(self, path: str, layer: nn.Module) -> None:
        """Under the name the layer had in the network that was exported, if that is still free."""
        *parents, name = path.split(".")
        place: nn.Module = self
        for parent in parents:
            if not isinstance(getattr(place, parent, None), nn.Module):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        count = 1
        free = name
        while hasattr(place, free):
            count += 1
            free = f"{name}_{count}"
        place.add_module(free, layer)


def _path(node: Mapping[str, Any]) -> str:
    """The module that an operation came from; the operation's own name where that is not told."""
    stack = str((node.get("metadata") or {}).get("nn_module_stack") or "")
    path = stack.split(";")[-1].split(",")
    parts = path[1].split(".") if len(path) > 1 else []
    usable = parts and all(part and part.replace("_", "").isalnum() and not hasattr(nn.Module, part) for part in parts)
    return ".".join(parts) if usable else "layer"


def _layer(function: Any, given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module | None:
    """An operation with weights of its own as the layer it was, so that it is known as one."""
    name = function._schema.name.removeprefix("aten::") if isinstance(function, torch._ops.OpOverload) else ""
    weight = tensors.get(getattr(given.get("weight"), "name", ""))
    bias = tensors.get(getattr(given.get("bias"), "name", ""))
    if name not in _LAYERS or weight is None or (given.get("bias") is not None and bias is None):
        return None
    options = {key: given[key] for key in ("stride", "padding", "dilation", "groups") if key in given}
    if _names(options):
        return None  # worked out while the network runs
    sizes: tuple[Any, ...] = (weight.shape[1], weight.shape[0])
    if name != "linear":
        sizes = (weight.shape[1] * options.get("groups", 1), weight.shape[0], tuple(weight.shape[2:]))
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    layer: Any = nn.utils.skip_init(_LAYERS[name], *sizes, bias=bias is not None, **options)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    made: nn.Module = layer
    return made


def named(given: Mapping[str, Any]) -> str:
    """The name of a tensor that the file refers to."""
    return str(given["as_tensor"]["name"])


def _argument(given: Mapping[str, Any], dtype: torch.dtype) -> Any:
    """One argument, from the JSON of the file format."""
    kind, value = next((key, value) for key, value in given.items() if value is not None)
    if kind in _PLAIN:
        return value
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return Named(str(value["name"]))
        case "as_tensors":
            return [Named(str(each["name"])) for each in value]
        case "as_optional_tensor":
            return _argument(value, dtype)
        case "as_optional_tensors":
            return [_argument(each, dtype) for each in value]
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return _size(value)
        case "as_sym_ints" | "as_sym_floats" | "as_sym_bools":
            return [_size(each) for each in value]
        case "as_scalar_type":
            found = DTYPES[value]
            return InputDtype() if found == dtype else found
        case "as_memory_format":
            return _MEMORY_FORMATS[value]
        case "as_layout":
            return torch.strided
        case "as_device":
            return torch.device("cpu")
    raise UnsupportedLayerError(f"an argument of the kind {kind} is not read from .pt2 files here")


def _size(given: Mapping[str, Any]) -> Any:
    """A number that is known only when the network runs, or one that is given."""
    if "as_name" in given:
        return Named(str(given["as_name"]))
    return next(value for value in given.values() if isinstance(value, int | float | bool))


def _outputs(given: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], bool]:
    """The names of what an operation returns, and whether that is a sequence."""
    names: list[str] = []
    for each in given:
        for kind, value in each.items():
            if kind == "as_tensors":
                names += [str(tensor["name"]) for tensor in value]
            elif isinstance(value, dict):
                names.append(str(value.get("name", value.get("as_name", ""))))
    return tuple(names), len(names) > 1 or any("as_tensors" in each for each in given)


def _names(given: Any) -> list[str]:
    """The values that arguments stand for."""
    if isinstance(given, Named):
        return [given.name]
    if isinstance(given, dict):
        given = list(given.values())
    return [name for each in given for name in _names(each)] if isinstance(given, list | tuple) else []
