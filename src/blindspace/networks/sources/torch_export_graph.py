"""The graph of a .pt2 file as a module that executes it, operation by operation.

Only operations that compute on tensors may be named by a file. torch has others that read and write files, such as
``aten::from_file`` and ``aten::save``, or take addresses; a list of what is allowed excludes them all.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UnsupportedLayerError
from .batches import Batch
from .torch_export_regions import Autocast, laid_out

_TENSORS = """
abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d add addbmm
addcdiv addcmul addmm alias all alpha_dropout amax amin any arange argmax argmin as_strided atan atan2 avg_pool1d
avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm broadcast_to cat ceil celu
channel_shuffle chunk clamp clamp_max clamp_min clone col2im concat constant_pad_nd contiguous conv1d conv2d conv3d
conv_transpose1d conv_transpose2d conv_transpose3d convolution copy cos cumsum detach diagonal div dropout einsum elu
embedding empty_like eq erf exp expand expand_as expm1 feature_dropout flatten flip floor floor_divide full full_like
gather ge gelu glu grid_sampler_2d group_norm gt hardsigmoid hardswish hardtanh im2col index index_select
instance_norm isinf isnan layer_norm le leaky_relu lerp lift_fresh lift_fresh_copy linalg_vector_norm linear log log1p
log2 log_sigmoid log_softmax logical_and logical_not logical_or logsumexp lt masked_fill matmul max max_pool1d
max_pool2d max_pool2d_with_indices max_pool3d maximum mean min minimum mish mm movedim mul mv narrow native_batch_norm
native_group_norm native_layer_norm ne neg new_empty new_full new_ones new_zeros norm ones ones_like pad permute
pixel_shuffle pixel_unshuffle pow prelu prod reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu relu6
remainder repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape rms_norm roll rsqrt
rsub scalar_tensor scaled_dot_product_attention select selu sigmoid sign silu sin slice softmax softplus split
split_with_sizes sqrt square squeeze stack std sub sum swapaxes
sym_numel sym_size sym_stride t tan tanh tensor_split threshold tile to topk transpose tril triu true_divide type_as
unbind unflatten unfold unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean view view_as where zeros zeros_like
_adaptive_avg_pool2d _adaptive_avg_pool3d _log_softmax
_native_batch_norm_legit_no_training _safe_softmax _scaled_dot_product_attention_math
_scaled_dot_product_flash_attention_for_cpu _softmax _to_copy _unsafe_index _unsafe_view _upsample_bicubic2d_aa
_upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
"""

ALLOWED = frozenset(_TENSORS.split())
"""Names of allowed operations of torch, without the underscore of in-place variants."""

_SIZES = "add sub mul floordiv truediv mod neg pow eq ne lt le gt ge getitem"

ARITHMETIC = frozenset(_SIZES.split())
"""Allowed functions of Python's ``operator``, on sizes and on the parts of a result."""

_TORCH = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")


def operation(target: Any) -> Any:
    """The operation that a .pt2 file names.

    Args:
        target: Name of the operation in the file, such as ``torch.ops.aten.conv2d.default``.

    Returns:
        An operation of torch, or one of ``operator``.

    Raises:
        UnsupportedLayerError: The operation is not allowed.
    """
    module, _, name = str(target).rpartition(".")
    if module == "_operator" and name in ARITHMETIC:
        return getattr(operator, name)
    match = _TORCH.fullmatch(str(target))
    if match is not None and (match[1] in ALLOWED or match[1].removesuffix("_") in ALLOWED):
        packet = getattr(torch.ops.aten, match[1], None)
        found = getattr(packet, match[2], None)
        if isinstance(found, torch._ops.OpOverload):
            return found
    raise UnsupportedLayerError(f"the operation {target} is not among those that a .pt2 file may use here")


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
"""Dtypes by their number in the file format."""

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
    """A reference to a value of the graph."""

    name: str


@dataclass(frozen=True)
class InputDtype:
    """The dtype of the network's input: the file says float32 where the exported code meant the input's dtype."""


@dataclass(frozen=True)
class BatchSize:
    """The number of inputs times the rows of each: the file says that of the example input."""

    rows: int


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        function: An operation of torch, or a layer that performs it.
        args: Positional arguments, with ``Named`` for values of the graph.
        kwargs: Keyword arguments, likewise.
        outputs: Names of its results.
        sequence: Whether it has several results, or one that is a sequence.
        autocast: The autocast that it runs under; None outside of any.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[str, ...]
    sequence: bool
    autocast: Autocast | None = None

    @cached_property
    def reads(self) -> list[str]:
        """Names of the values that it reads."""
        return _names((self.args, self.kwargs))


class Exported(nn.Module):
    """A network saved by torch.export.

    Args:
        nodes: Nodes of the graph in the order of the file.
        tensors: Weights and constants by their name in the graph.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        dtype: Dtype of the first input.
        batch: The size that stands for the number of inputs where sizes begin with it; none does if None.

    Raises:
        UnsupportedLayerError: An operation is not allowed, or has an argument of an unsupported kind.
    """

    def __init__(
        self,
        nodes: Sequence[Mapping[str, Any]],
        tensors: Mapping[str, Tensor],
        inputs: Sequence[str],
        outputs: Sequence[str],
        dtype: torch.dtype,
        batch: Batch | None = None,
    ) -> None:
        super().__init__()
        self.batch = batch or Batch(0)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        # Operations without outputs only check sizes and types, and would refuse float64.
        self.steps = [
            replace(self._step(node, tensors, dtype), autocast=autocast)
            for node, autocast in laid_out(nodes)
            if node["outputs"]
        ]
        self._last = {name: index for index, step in enumerate(self.steps) for name in step.reads}
        self.slots: dict[str, str] = {}
        for name, tensor in tensors.items():
            if name not in self._last and name not in self.outputs:
                continue  # It belongs to a layer.
            self.slots[name] = f"tensor_{len(self.slots)}"
            if tensor.is_floating_point():
                self.register_parameter(self.slots[name], nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(self.slots[name], tensor)

    def forward(self, *given: Tensor, **named: Tensor) -> Tensor | dict[str, Tensor]:
        """The output for inputs ``(B, …)``, or the outputs by name."""
        found = self._run(dict(zip(self.inputs, given, strict=False)) | named)
        return found[self.outputs[0]] if len(found) == 1 else found

    def _run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values: dict[str, Any] = {name: getattr(self, slot) for name, slot in self.slots.items()}
        values.update(inputs)
        dtype, batch = inputs[self.inputs[0]].dtype, len(inputs[self.inputs[0]])

        def filled(given: Any) -> Any:
            match given:
                case Named(name):
                    return values[name]
                case InputDtype():
                    return dtype
                case BatchSize(rows):
                    return batch * rows
                case list():
                    return [filled(each) for each in given]
            return given

        for index, step in enumerate(self.steps):
            args = [filled(each) for each in step.args]
            with nullcontext() if step.autocast is None else step.autocast(DTYPES):
                result = step.function(*args, **{key: filled(each) for key, each in step.kwargs.items()})
            results = result if step.sequence else (result,)
            values.update(zip(step.outputs, results, strict=False))
            for name in step.reads:
                if self._last[name] == index and name not in self.outputs:
                    values.pop(name, None)  # Values of large batches are freed as soon as possible.
        return {name: values[name] for name in self.outputs}

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
            if rows := self.batch.rows(function._schema.name, given.get(argument.name)):
                given[argument.name] = [BatchSize(rows), *given[argument.name][1:]]
            if argument.name in given:
                if index == len(args) and not argument.kwarg_only:
                    args.append(given[argument.name])
                else:
                    kwargs[argument.name] = given[argument.name]
        return Step(function, tuple(args), kwargs, outputs, sequence)

    def _place(self, path: str, layer: nn.Module) -> None:
        """Register a layer under its name in the exported network, with a number appended if that is taken."""
        *parents, name = path.split(".")
        place: nn.Module = self
        for parent in parents:
            if not isinstance(getattr(place, parent, None), nn.Module):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        names = chain([name], (f"{name}_{number}" for number in count(2)))
        place.add_module(next(free for free in names if not hasattr(place, free)), layer)


def _path(node: Mapping[str, Any]) -> str:
    """Path of the module that an operation came from; "layer" if it is unknown."""
    stack = str((node.get("metadata") or {}).get("nn_module_stack") or "")
    path = stack.split(";")[-1].split(",")
    parts = path[1].split(".") if len(path) > 1 else []
    usable = parts and all(part and part.replace("_", "").isalnum() and not hasattr(nn.Module, part) for part in parts)
    return ".".join(parts) if usable else "layer"


def _layer(function: Any, given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module | None:
    """The layer of an operation that has its own weights; None if it has none."""
    name = function._schema.name.removeprefix("aten::") if isinstance(function, torch._ops.OpOverload) else ""
    weight = tensors.get(getattr(given.get("weight"), "name", ""))
    bias = tensors.get(getattr(given.get("bias"), "name", ""))
    if name not in _LAYERS or weight is None or (given.get("bias") is not None and bias is None):
        return None
    options = {key: given[key] for key in ("stride", "padding", "dilation", "groups") if key in given}
    if _names(options):
        return None  # They are computed at run time.
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
    """The name of a tensor in the file."""
    return str(given["as_tensor"]["name"])


def _argument(given: Mapping[str, Any], dtype: torch.dtype) -> Any:
    """One argument from the JSON of the file format."""
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
    raise UnsupportedLayerError(f"an argument of the kind {kind} is not supported in .pt2 files")


def _size(given: Mapping[str, Any]) -> Any:
    """A number from the file, or a reference to one that is known only at run time."""
    if "as_name" in given:
        return Named(str(given["as_name"]))
    return next(value for value in given.values() if isinstance(value, int | float | bool))


def _outputs(given: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], bool]:
    """The names of the results of an operation, and whether they are a sequence."""
    names: list[str] = []
    for each in given:
        for kind, value in each.items():
            if kind == "as_tensors":
                names += [str(tensor["name"]) for tensor in value]
            elif isinstance(value, dict):
                names.append(str(value.get("name", value.get("as_name", ""))))
    return tuple(names), len(names) > 1 or any("as_tensors" in each for each in given)


def _names(given: Any) -> list[str]:
    """The values that arguments refer to."""
    if isinstance(given, Named):
        return [given.name]
    if isinstance(given, dict):
        given = list(given.values())
    return [name for each in given for name in _names(each)] if isinstance(given, list | tuple) else []
