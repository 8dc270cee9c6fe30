"""ONNX files: read, with weights in files beside them, and checked."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import FileError, first_line
from .rewriting import copied, in_order, readable
from .session import require, session

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

LARGEST = (1 << 31) - 1
"""Bytes of an unpacked model up to which files are read; the format itself allows no more."""


def read_model(path: Path, largest: int = LARGEST) -> ModelProto:
    """The model in a file, with all its weights inside.

    Weights may lie in files beside it, as exporters write them; what onnxruntime opens is read, also if the checker of
    the standard objects to it.

    Args:
        path: Path ending in ``.onnx`` or ``.onnx.gz``.
        largest: Bytes of the model with its weights above which it is refused.

    Raises:
        FileError: The file is missing, damaged or too large; the runtime cannot open it; or weights in another file are
            missing, in another folder or behind a link.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    content = _content(path, largest)
    onnx = require("onnx")
    try:
        model: ModelProto = onnx.load_model_from_string(content)
        readable(model)
    except Exception as error:  # protobuf raises errors of its own
        raise FileError(f"{path} is not a valid ONNX file: {first_line(error)}") from error
    left = largest - len(content)
    for tensor in _tensors(model):
        if onnx.external_data_helper.uses_external_data(tensor):
            left -= _read_from_beside(tensor, path, left)
    try:
        _check(model)
    except Exception as error:  # the checker raises errors of its own
        model = in_order(model)
        try:
            session(model, as_written=True)
        except FileError as refusal:
            raise FileError(f"{path} is not a valid ONNX file: {first_line(error)}") from refusal
    return model


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


def _read_from_beside(tensor: TensorProto, path: Path, left: int) -> int:
    """Read a weight from a file in the folder of the model; return its number of bytes.

    Args:
        tensor: The weight, which is changed.
        path: Path of the model.
        left: Largest number of bytes.

    Raises:
        FileError: The name is none of a file in that folder, or a link; or the file is missing or too short.
    """
    given = {entry.key: entry.value for entry in tensor.external_data}
    name, what = given.get("location", ""), f"{path} keeps the weight {tensor.name!r}"
    if not name or name in (".", "..") or any(sign in name for sign in "/\\:\0"):
        raise FileError(f"{what} in {name!r}, which is no file of the same folder; put it beside the model")
    file = path.parent / name
    if file.is_symlink():
        raise FileError(f"{what} in {name}, which is a link; put the file itself beside the model")
    if not file.is_file():
        raise FileError(f"{what} in {name}, which is missing; put it into {path.parent}")
    size = _bytes_of(tensor)
    try:
        start, length = int(given.get("offset", 0)), int(given.get("length", size))
    except ValueError:
        start, length = -1, -1
    if start < 0 or length != size or start + length > file.stat().st_size:
        raise FileError(f"{what} of {size} bytes at {given.get('offset', 0)} of {name}, which does not hold it there")
    if size > left:
        raise FileError(f"{path} and the files beside it hold more bytes than an ONNX file in one piece can")
    with open(file, "rb") as stream:
        stream.seek(start)
        tensor.raw_data = stream.read(length)
    tensor.ClearField("external_data")
    tensor.data_location = require("onnx").TensorProto.DEFAULT
    return size


NARROW = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
"""Bits of the types of which several values share a byte, by ONNX's names."""


def _bytes_of(tensor: TensorProto) -> int:
    """Number of bytes that the values of a tensor take; −1 if its type is unknown."""
    onnx = require("onnx")
    try:
        narrow = NARROW.get(onnx.TensorProto.DataType.Name(tensor.data_type))
        bits = narrow or 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, ValueError):
        return -1
    return (prod(int(n) for n in tensor.dims) * bits + 7) // 8


def _check(model: ModelProto) -> None:
    """Check a model to be well-formed; inputs and outputs may leave out their shapes, as the runtime allows."""
    onnx = require("onnx")
    incomplete = []
    for value in (*model.graph.input, *model.graph.output):
        if value.type.WhichOneof("value") in (None, "tensor_type") and not value.type.tensor_type.HasField("shape"):
            incomplete.append((value, copied(value)))
            value.type.tensor_type.elem_type = value.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    finally:
        for value, before in incomplete:
            value.CopyFrom(before)


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
