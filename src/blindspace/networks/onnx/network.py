"""ONNX networks: read from a file, run by onnxruntime only, and used like any other network."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import BlindspaceError, FileError, PrecisionError, ShapeError, UnsupportedLayerError, first_line
from ...maps import Identity, LinearMap, Shape, compose, from_module
from ..affine_graph import Recording
from ..network import Network
from .recorder import record_onnx
from .runs import full_shape, network_input
from .session import Array, require, session

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

LARGEST = (1 << 31) - 1
"""Bytes of an unpacked model up to which files are read; the format itself allows no more."""

DTYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64}
"""Precisions that a network may run in, by ONNX's number of the type of its input."""

ALIKE = 1e-3
"""Relative difference that two images in one batch may make to their outputs if a network is to run in batches."""


class OnnxModule(nn.Module):
    """An ONNX network as a torch module: ``(B, *input_shape)`` to its outputs, without gradients.

    Args:
        opened: The runtime's session.
        given: Name of the input.
        dtype: Precision of the input.
        batched: Whether the input has a batch axis of any size; else the images run one by one.
        unit: The axes before those of an image: ``(1,)`` for a batch of one, ``()`` if there is no batch axis.
    """

    def __init__(self, opened: Any, given: str, dtype: torch.dtype, batched: bool, unit: Shape) -> None:
        super().__init__()
        self.opened, self.given, self.dtype, self.batched, self.unit = opened, given, dtype, batched, unit

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
        images = x.detach().cpu().to(self.dtype).numpy()
        if self.batched:
            outputs = self._run(images)
        else:
            alone = [self._run(image.reshape(*self.unit, *image.shape)) for image in images]
            outputs = [_stacked(parts) for parts in zip(*alone, strict=True)]
        tensors = [torch.from_numpy(np.ascontiguousarray(output)).to(self.dtype) for output in outputs]
        return tensors[0] if len(tensors) == 1 else torch.cat([each.reshape(len(each), -1) for each in tensors], 1)

    def _run(self, images: Array) -> list[Array]:
        try:
            outputs = self.opened.run(None, {self.given: images})
        except Exception as error:  # the runtime's errors have no common base class
            raise UnsupportedLayerError(
                f"onnxruntime cannot run the network on an input {images.shape}: {first_line(error)}"
            ) from error
        tensors = [output for output in outputs if isinstance(output, np.ndarray) and output.dtype.kind in "fiub"]
        if not tensors:
            raise FileError("the network writes no tensor of numbers that could be compared")
        return tensors


@dataclass(frozen=True, eq=False)
class OnnxNetwork(Network):
    """A network that onnxruntime runs.

    Attributes:
        model: Content of the file, from which the front and the layers are read (``record``).
        module: An ``OnnxModule``, or a Sequential of preprocessing and an ``OnnxModule``.
    """

    model: ModelProto = field(kw_only=True, repr=False)

    @cached_property
    def dtype(self) -> torch.dtype:
        """The precision of the input."""
        return DTYPES[network_input(self.model).type.tensor_type.elem_type]

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

    def record(self, float_meaning: bool = False) -> Recording:
        """The network followed from its input, by way of any preprocessing that stands before it.

        Args:
            float_meaning: As in ``record_onnx``; the recording without it is made once.

        Raises:
            UnsupportedLayerError: The runtime cannot run the network, or the preprocessing is not affine.
            ShapeError: The preprocessing does not fit the network.
        """
        return self._record(float_meaning) if float_meaning else self._recording

    @cached_property
    def _recording(self) -> Recording:
        return self._record(float_meaning=False)

    def _record(self, float_meaning: bool) -> Recording:
        if isinstance(self.module, OnnxModule):
            return record_onnx(self.model, self.input_shape, float_meaning)
        before = compose(*self._preprocessing())
        return record_onnx(self.model, before.out_shape, float_meaning, before)

    def _preprocessing(self) -> list[LinearMap]:
        """The maps of the modules before the network, the first one applied first."""
        maps: list[LinearMap] = [Identity(self.input_shape)]
        for part in list(self.module.children())[:-1]:
            maps.append(from_module(part, maps[-1].out_shape))
        return maps


def load_onnx(
    path: Path, name: str | None = None, input_shape: Sequence[int] | None = None, *, largest: int = LARGEST
) -> OnnxNetwork:
    """A network from an ``.onnx`` file, or a gzipped one.

    Args:
        path: Path ending in ``.onnx`` or ``.onnx.gz``.
        name: Name of the network; the file's name if None.
        input_shape: Shape of one input, without the batch; needed if the file leaves sizes open.
        largest: Bytes of the unpacked model above which the file is refused.

    Raises:
        FileError: The file is missing, damaged or too large, keeps weights in other files, or the runtime refuses it.
        ShapeError: Sizes are left open and not given, or the network cannot read an input of that shape.
        UnsupportedLayerError: The network reads several inputs, or no floating-point numbers.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    model = _checked(_content(path, largest), path)
    given = network_input(model)
    if given.type.tensor_type.elem_type not in DTYPES:
        raise UnsupportedLayerError(
            f"{path.name} reads {_type_name(given)} and not floating-point numbers: integers have no small "
            "changes; give the part of the network behind the conversion"
        )
    tensor = full_shape(given, _input_shape(given, input_shape, path))
    # A batch of one is not an axis of the image, even if the file or the user spells it out.
    unit: Shape = (1,) if tensor[0] == 1 and len(tensor) > 1 else ()
    shape = tensor[len(unit) :]
    opened = session(model)
    dtype = DTYPES[given.type.tensor_type.elem_type]
    alone = OnnxModule(opened, given.name, dtype, False, unit)
    try:
        tried = alone(torch.zeros(1, *shape))
    except UnsupportedLayerError as error:
        raise ShapeError(f"{path.name} cannot read an input of shape {shape}: {error}") from error
    if not tried.numel():
        raise FileError(f"{path.name} writes nothing for an input {shape}; it has no output to compare")
    module = OnnxModule(opened, given.name, dtype, bool(unit) and _takes_batches(alone, shape), unit)
    return OnnxNetwork(name or path.name, module.eval(), shape, model=model)


def _takes_batches(alone: OnnxModule, shape: Shape) -> bool:
    """Whether two images in one batch give the same outputs as each alone."""
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        both = OnnxModule(alone.opened, alone.given, alone.dtype, True, alone.unit)(images)
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


def _content(path: Path, largest: int) -> bytes:
    """The content of a file, unpacked."""
    if not path.is_file():
        raise FileError(f"{path} does not exist; give the path of an .onnx file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            content = stream.read(largest + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} cannot be read: {first_line(error)}") from error
    if len(content) > largest:
        raise FileError(f"{path} holds more than {largest} bytes, which an ONNX file in one piece cannot")
    return content


def _checked(content: bytes, path: Path) -> ModelProto:
    """The model, checked to be well-formed and in one piece."""
    onnx = require("onnx")
    try:
        model: ModelProto = onnx.load_model_from_string(content)
        elsewhere = next((t.name for t in _tensors(model) if onnx.external_data_helper.uses_external_data(t)), None)
        if elsewhere is None:
            onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise errors of their own
        raise FileError(f"{path} is not a valid ONNX file: {first_line(error)}") from error
    if elsewhere is not None:
        raise FileError(
            f"{path} keeps weights such as {elsewhere!r} in other files, which are not read; save it as one with "
            "onnx.save(onnx.load(path), new_path)"
        )
    return model


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors of a model, those in graphs inside nodes and in functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Sequence[NodeProto]) -> Iterator[TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        sparse = [attribute.sparse_tensor, *attribute.sparse_tensors]
        yield from (attribute.t, *attribute.tensors, *(part for s in sparse for part in (s.values, s.indices)))
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            yield from _graph_tensors(graph)


def _input_shape(given: ValueInfoProto, asked: Sequence[int] | None, path: Path) -> Shape:
    """The shape of one input by the file, and by the user for sizes that the file leaves open."""
    declared = given.type.tensor_type
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in declared.shape.dim]
    batch = bool(sizes) and sizes[0] in (None, 1)
    own = sizes[1:] if batch else sizes
    if asked is None:
        known = tuple(size for size in own if size is not None)
        if not declared.HasField("shape") or len(known) < len(own) or not own:
            raise ShapeError(
                f"{path.name} reads an input of {_spelled(own)}, open in some sizes; give the shape of one: "
                "--input-shape 3x224x224, or input_shape=(3, 224, 224)"
            )
        return known
    shape = tuple(int(size) for size in asked)
    if not shape or prod(shape) < 1 or min(shape) < 1:
        raise ShapeError(f"the input shape {tuple(asked)} is not possible: all sizes must be at least 1")
    allowed = [own, sizes] if batch else [own]
    fits = any(
        len(shape) == len(form) and all(n is None or n == m for n, m in zip(form, shape, strict=True))
        for form in allowed
    )
    if declared.HasField("shape") and not fits:
        raise ShapeError(f"{path.name} reads an input of {_spelled(own)}, got the shape {shape}; give one that fits")
    return shape


def _spelled(sizes: Sequence[int | None]) -> str:
    return " × ".join("?" if size is None else str(size) for size in sizes) or "unknown shape"


def _type_name(given: ValueInfoProto) -> str:
    kind = given.type.tensor_type.elem_type
    return str(require("onnx").TensorProto.DataType.Name(kind)).lower() if kind else "something that is not a tensor"
