"""ONNX networks: read from a file, run by onnxruntime only, and used like any other network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import BlindspaceError, FileError, PrecisionError, ShapeError, UnsupportedLayerError, first_line
from ...maps import Identity, LinearMap, Shape, compose, from_module
from ..affine_graph import Recording, value_shape
from ..devices import CPU, on_device
from ..last_operation import MOVES
from ..network import Network
from ..outputs import Found, side_by_side
from ..precisions import in_float64
from .files import LARGEST, read_model
from .forms import brought_into_form
from .in_torch import AGREES, InTorch
from .inputs import chosen, described_input, full_shape, held, network_input, spelled, type_name
from .recorder import record_onnx
from .runs import part_of
from .session import LEVEL, Array, readable_outputs, session
from .unrounded import unrounded

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

DTYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64}
"""Precisions that a network may run in, by ONNX's number of the type of its input."""

ALIKE = 1e-3
"""Relative difference that two images in one batch may make to their outputs if a network is to run in batches."""


COARSE = {10: torch.float16, 16: torch.bfloat16}
"""Precisions coarser than float32, by ONNX's number."""


class OnnxModule(nn.Module):
    """An ONNX network as a torch module: ``(B, *input_shape)`` to its outputs, without gradients.

    Args:
        opened: The runtime's session.
        given: Name of the input.
        dtype: Precision of the input.
        batched: Whether the input has a batch axis of any size; else the images run one by one.
        tensor: Shape of the tensor that the network reads for one image.
        beside: Values of its other inputs.
        named: Whether the user has named the outputs.
    """

    def __init__(
        self,
        opened: Any,
        given: str,
        dtype: torch.dtype,
        batched: bool,
        tensor: Shape,
        beside: Mapping[str, Array] | None = None,
        named: bool = False,
    ) -> None:
        super().__init__()
        self.opened, self.given, self.dtype, self.batched, self.tensor = opened, given, dtype, batched, tensor
        self.beside, self.named = dict(beside or {}), named
        self.names = readable_outputs(opened)

    def forward(self, x: Tensor) -> Tensor:
        """The only output, ``(B, …)``, or all outputs flattened and side by side, ``(B, total)``.

        Raises:
            UnsupportedLayerError: A gradient is required, or the runtime fails.
            FileError: No output is a tensor of numbers.
        """
        if x.requires_grad and torch.is_grad_enabled():
            raise UnsupportedLayerError(
                "an ONNX network has no gradients here, which the attack needs; use random perturbations or the "
                "network in PyTorch"
            )
        if not len(x):
            return self.forward(x.new_zeros(1, *x.shape[1:]))[:0]
        return side_by_side(self.found(x).compared, len(x)).to(self.dtype)

    def found(self, x: Tensor) -> Found:
        """The outputs that are tensors of numbers, by name, each ``(B, …)``. As ``forward``."""
        images = x.detach().cpu().to(self.dtype).numpy()
        if self.batched:
            outputs = self._run(images)
        else:
            alone = [self._run(image.reshape(self.tensor)) for image in images]
            outputs = {name: _stacked([run[name] for run in alone]) for name in alone[0]}
        return Found({name: self._tensor(y).to(x.device) for name, y in outputs.items()}, self.named)

    def _tensor(self, output: Array) -> Tensor:
        """An output in the network's own precision; whole numbers stay so."""
        if output.dtype.kind == "f":
            return torch.from_numpy(np.ascontiguousarray(output)).to(self.dtype)
        return torch.from_numpy(output.astype(np.int64))

    def _run(self, images: Array) -> dict[str, Array]:
        try:
            outputs = self.opened.run(self.names, {self.given: images, **self.beside}) if self.names else []
        except Exception as error:  # the runtime's errors have no common base class
            raise UnsupportedLayerError(
                f"onnxruntime cannot run the network on an input {images.shape}: {first_line(error)}"
            ) from error
        found: dict[str, Any] = {}
        for name, output in zip(self.names, outputs, strict=True):
            parts = output if isinstance(output, list) else []
            found.update({part_of(name, index): part for index, part in enumerate(parts)} if parts else {name: output})
        tensors = {name: y for name, y in found.items() if isinstance(y, np.ndarray) and y.dtype.kind in "fiub"}
        if not tensors:
            raise FileError("the network writes no tensor of numbers that could be compared")
        return tensors


REMEDIES: tuple[dict[str, str], ...] = (
    {"session.qdq_matmulnbits_accuracy_level": "1"},
    {LEVEL: "basic"},
    {LEVEL: "disable_all"},
)
"""Options of a session that keep the runtime from changing what the graph says, the mildest one first.

By default it replaces a product with weights that are stored in 8 or 4 bits by one that also rounds what it reads.
"""


@dataclass(frozen=True, eq=False)
class OnnxNetwork(Network):
    """A network that onnxruntime runs.

    Attributes:
        model: Content of the file.
        beside: Values at which inputs are held, by their names.
        module: An ``OnnxModule``, or a Sequential of preprocessing and an ``OnnxModule``.
        session: Options of the runtime's session, as ``load_onnx`` takes them.
    """

    model: ModelProto = field(kw_only=True, repr=False)
    beside: Mapping[str, Array] = field(kw_only=True, default_factory=dict, repr=False)
    session: Mapping[str, str] = field(kw_only=True, default_factory=dict)

    @cached_property
    def alone(self) -> ModelProto:
        """The model as a function of the input that varies, from which the front and the layers are read."""
        return held(self.model, self.beside) if self.beside else self.model

    @cached_property
    def dtype(self) -> torch.dtype:
        """The precision of the input."""
        return DTYPES[network_input(self.alone).type.tensor_type.elem_type]

    @cached_property
    def precision(self) -> torch.dtype:
        """The coarsest precision of the input, the weights and the conversions in between."""
        kinds = {weight.data_type for weight in self.model.graph.initializer}
        kinds |= {a.i for node in self.model.graph.node if node.op_type == "Cast" for a in node.attribute}
        coarse = [COARSE[kind] for kind in kinds if kind in COARSE]
        return max([self.dtype, *coarse], key=lambda dtype: torch.finfo(dtype).eps)

    @property
    def runs_in_float64(self) -> bool:
        """Whether float64 is the model's own precision, the only one that the runtime has."""
        return self.dtype == torch.float64

    @cached_property
    def double(self) -> nn.Module:
        """A copy in float64 does not exist, as the runtime has only the model's own precision.

        Raises:
            PrecisionError: Always.
        """
        own = str(self.dtype).removeprefix("torch.")
        raise PrecisionError(
            f"onnxruntime runs {self.name} in its own {own} only, not in float64; choose that precision"
        )

    @property
    def finest_dtype(self) -> torch.dtype:
        """float64: derivatives are computed in torch."""
        return torch.float64

    def differentiable(self, dtype: torch.dtype | None = None, device: torch.device = CPU) -> nn.Module:
        """The network in float64 and in torch, whatever its own precision. As ``Network.differentiable``.

        Raises:
            UnsupportedLayerError: An operation is not known in torch, or does not compute what the runtime does.
        """
        if dtype not in (None, torch.float64):
            raise PrecisionError(f"the derivatives of {self.name} are computed in float64, not in {dtype}")
        return on_device(self._in_torch, device, self.name)

    @cached_property
    @torch.no_grad()
    def _in_torch(self) -> nn.Module:
        before = [] if isinstance(self.module, OnnxModule) else list(self.module.children())[:-1]
        shape = self._preprocessing()[-1].out_shape if before else self.input_shape
        found = nn.Sequential(*(in_float64(part) for part in before), InTorch(self.alone, shape)).eval()
        x = self._random_inputs(2)
        here, there = found(x), self.outputs(x).double()
        error = float((here - there).abs().max()) if here.shape == there.shape else float("inf")
        if not error <= AGREES * float(there.abs().max()):
            raise UnsupportedLayerError(
                f"{self.name} in torch differs from the runtime by {error:.1e}; give the network in PyTorch"
            )
        return found

    @property
    def takes_batches(self) -> bool:
        """True: the module itself runs the images one by one where it must."""
        return True

    def parts_at(self, x: Tensor, y: Tensor) -> str:
        """As ``Network.parts_at``; not known for the runtime's own operations, so always empty."""
        return ""

    def last_operation(self, output: str) -> str:
        """As ``Network.last_operation``, by the node that makes it."""
        makers = {name: node for node in self.alone.graph.node for name in node.output}
        node = makers.get(output)
        while node is not None and node.op_type.lower() in MOVES:
            node = makers.get(node.input[0])
        return "" if node is None else node.op_type.lower()

    @cached_property
    def _recording(self) -> Recording:
        if isinstance(self.module, OnnxModule):
            return record_onnx(self.alone, self.input_shape)
        before = compose(*self._preprocessing())
        return record_onnx(self.alone, before.out_shape, before)

    def _preprocessing(self) -> list[LinearMap]:
        """The maps of the modules before the network, the first one applied first."""
        maps: list[LinearMap] = [Identity(self.input_shape)]
        for part in list(self.module.children())[:-1]:
            maps.append(from_module(part, maps[-1].out_shape))
        return maps

    def remedies(self) -> Iterator[tuple[str, Network]]:
        """The same network in other sessions, in which its outputs may be those of the graph as it is written.

        The first one in which outputs do not move that the front says do not names the cause.

        Returns:
            For each of ``REMEDIES`` that is not in use, the option as users type it, and the network with it.
        """
        for options in REMEDIES:
            if options.items() <= self.session.items():
                continue
            ((key, value),) = options.items()
            yield f"--session {key}={value}", self.in_session({**self.session, **options})

    def in_session(self, options: Mapping[str, str]) -> OnnxNetwork:
        """The same network in a session with other options, as ``load_onnx`` takes them."""
        opened = session(self.model, given=options)

        def reopened(module: nn.Module) -> nn.Module:
            if isinstance(module, OnnxModule):
                return OnnxModule(
                    opened, module.given, module.dtype, module.batched, module.tensor, module.beside, module.named
                ).eval()
            *before, last = module.children()
            return nn.Sequential(*before, reopened(last)).eval()

        return replace(self, module=reopened(self.module), session=dict(options))


def load_onnx(
    path: Path,
    name: str | None = None,
    input_shape: Sequence[int] | None = None,
    *,
    vary: Mapping[str, Shape | None] | None = None,
    fix: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    session: Mapping[str, str] | None = None,
    float_meaning: bool = False,
    largest: int = LARGEST,
) -> OnnxNetwork:
    """A network from an ``.onnx`` file, or a gzipped one.

    Args:
        path: Path ending in ``.onnx`` or ``.onnx.gz``.
        name: Name of the network; the file's name if None.
        input_shape: Shape of one input, without the batch; needed if the file leaves sizes open.
        vary: The inputs that vary, each with its shape without the batch, or None; all that are not held if empty.
            Several are read as one vector, flattened and side by side.
        fix: Values at which inputs are held, by their names.
        outputs: Names of the outputs to use, in that order; all if empty.
        session: Options of the runtime's session: ``graph_optimization_level``, or keys of its configuration.
        float_meaning: Whether a network that was quantised by pairs of QuantizeLinear and DequantizeLinear is read
            without their roundings (``unrounded.unrounded``).
        largest: Bytes of the unpacked model above which the file is refused.

    Raises:
        FileError: As in ``files.read_model``.
        ShapeError: Sizes are left open and not given, or the network cannot read an input of that shape.
        UnknownNameError: There is no input, output or option of that name.
        ValueRangeError: An input varies and is held.
        UnsupportedLayerError: The network reads several inputs, or no floating-point numbers.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    model = read_model(path, largest)
    vary = vary or {}
    asked = next(iter(vary.values()), None) or input_shape
    model = brought_into_form(model, {*vary, *(fix or {})}, asked)
    model, beside = chosen(model, vary, fix or {}, outputs)
    if len(vary) == 1:
        input_shape = next(iter(vary.values())) or input_shape
    elif vary:
        input_shape = None
    network = _opened(model, beside, path.name, name or path.name, input_shape, session or {}, bool(outputs))
    if len(vary) > 1:
        network = replace(network, space=f"values of {', '.join(vary)}")
    if not float_meaning:
        return network
    given = network_input(network.alone)
    plain = unrounded(network.alone, given, full_shape(given, network.input_shape))
    found = _opened(plain, {}, path.name, network.name, network.input_shape, network.session, bool(outputs))
    return replace(found, space=network.space, deployed=network)


def _opened(
    model: ModelProto,
    beside: Mapping[str, Array],
    file: str,
    name: str,
    input_shape: Sequence[int] | None,
    options: Mapping[str, str],
    named: bool,
) -> OnnxNetwork:
    """A model of one input, and values of others, as a network that has run once."""
    given = network_input(model, beside)
    if given.type.tensor_type.elem_type not in DTYPES:
        kind = type_name(given)
        raise UnsupportedLayerError(
            f"{file} reads {kind}, which numpy cannot hand to onnxruntime; convert the input of the network to float32"
            if "float" in kind
            else f"{file} reads {kind} and not floating-point numbers: integers have no small changes; give the "
            "part of the network behind the conversion"
        )
    tensor = full_shape(given, _input_shape(given, input_shape, file))
    # A batch of one is not an axis of the image, even if the file or the user spells it out.
    shape = value_shape(tensor)
    opened = session(model, given=options)
    dtype = DTYPES[given.type.tensor_type.elem_type]
    alone = OnnxModule(opened, given.name, dtype, False, tensor, beside)
    try:
        tried = alone.found(torch.zeros(1, *shape))
    except UnsupportedLayerError as error:
        raise ShapeError(f"{file} cannot read an input of shape {shape}: {error}") from error
    if not any(output.numel() for output in tried.every.values()):
        raise FileError(f"{file} writes nothing for an input {shape}; it has no output to compare")
    batched = tensor == (1, *shape) and _takes_batches(alone, shape)
    module = OnnxModule(opened, given.name, dtype, batched, tensor, beside, named).eval()
    return OnnxNetwork(name, module, shape, model=model, beside=beside, session=dict(options))


def _takes_batches(alone: OnnxModule, shape: Shape) -> bool:
    """Whether two images in one batch give the same outputs as each alone."""
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        both = OnnxModule(alone.opened, alone.given, alone.dtype, True, alone.tensor, alone.beside)(images)
    except (BlindspaceError, RuntimeError, IndexError):
        return False
    apart = alone(images)
    if both.shape != apart.shape:
        return False
    return bool((both - apart).abs().max() <= ALIKE * apart.abs().max())


def _stacked(parts: Sequence[Array]) -> Array:
    """One output of several runs as a batch."""
    if all(part.shape[:1] == (1,) and part.ndim > 1 for part in parts):
        parts = [part[0] for part in parts]
    if len({part.shape for part in parts}) > 1:
        raise UnsupportedLayerError("the network writes outputs of different sizes for different images")
    return np.stack([np.atleast_1d(part) for part in parts])


def _input_shape(given: ValueInfoProto, asked: Sequence[int] | None, file: str) -> Shape:
    """The shape of one input by the file, and by the user for sizes that the file leaves open."""
    declared = given.type.tensor_type
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in declared.shape.dim]
    batch = len(sizes) > 1 and sizes[0] in (None, 1)
    own = sizes[1:] if batch else sizes
    if asked is None:
        known = tuple(size for size in own if size is not None)
        if not declared.HasField("shape") or len(known) < len(own):
            raise ShapeError(
                f"{file} reads an input of {spelled(own) or 'unknown shape'}, open in some sizes; give the shape of "
                "one: --input-shape 3x224x224, or input_shape=(3, 224, 224)"
            )
        return known or (1,)  # a single number without axes
    shape = tuple(int(size) for size in asked)
    if not shape or prod(shape) < 1 or min(shape) < 1:
        raise ShapeError(f"the input shape {tuple(asked)} is not possible: all sizes must be at least 1")
    allowed = [own, sizes] if batch else [own or [1]]
    fits = any(
        len(shape) == len(form) and all(n is None or n == m for n, m in zip(form, shape, strict=True))
        for form in allowed
    )
    if declared.HasField("shape") and not fits:
        raise ShapeError(f"{file} reads an input {described_input(given)}, got the shape {shape}; give one that fits")
    return shape
