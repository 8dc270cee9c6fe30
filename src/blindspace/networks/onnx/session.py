"""ONNX models and single nodes run by onnxruntime. Only this file imports onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from ...errors import FileError, first_line
from ...extras import library

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, OperatorSetIdProto

Array = NDArray[Any]


def require(package: str) -> Any:
    """The module of an optional package.

    Raises:
        MissingExtraError: The package is not installed.
    """
    return library(package, "onnx", "an ONNX network")


def session(model: ModelProto, as_written: bool = False) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, with as many threads as torch has.

    Args:
        model: A checked model with all its weights inside.
        as_written: Whether the nodes run one by one, without fusion, so that every value can be an output.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        FileError: The runtime cannot run the model; the message gives its reason.
    """
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway; warnings concern speed
    options.intra_op_num_threads = torch.get_num_threads()
    if as_written:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Shapes are then taken as soon as possible, so that the values need not be kept until the end.
        options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common base class
        raise FileError(f"onnxruntime cannot run this network: {first_line(error)}") from error


def run_node(
    node: NodeProto, given: Mapping[int, Array], constants: Mapping[int, Array], opsets: Iterable[OperatorSetIdProto]
) -> list[Array]:
    """The outputs of a single node, without those that it leaves out.

    Args:
        node: A node of an operation in the standard.
        given: Its inputs by index.
        constants: Its other inputs by index, known to the runtime in advance.
        opsets: Operator sets of the model that the node belongs to.

    Raises:
        FileError: The runtime does not support the node for these types.
    """
    onnx = require("onnx")
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    for index in range(len(alone.input)):
        alone.input[index] = f"in{index}" if index in given or index in constants else ""
    types = onnx.helper.np_dtype_to_tensor_dtype
    graph = onnx.helper.make_graph(
        [alone],
        "node",
        [onnx.helper.make_tensor_value_info(f"in{i}", types(x.dtype), x.shape) for i, x in given.items()],
        [onnx.ValueInfoProto(name=name) for name in alone.output if name],
        [onnx.numpy_helper.from_array(x, f"in{i}") for i, x in constants.items()],
    )
    standard = [opset for opset in opsets if is_standard(opset.domain)]
    model = onnx.helper.make_model(graph, opset_imports=standard, ir_version=8)
    try:
        results: list[Array] = session(model, as_written=True).run(None, {f"in{i}": x for i, x in given.items()})
    except FileError:
        raise
    except Exception as error:
        raise FileError(f"onnxruntime cannot run {node.op_type}: {first_line(error)}") from error
    return results


def is_standard(domain: str) -> bool:
    """Whether a domain of operations belongs to the ONNX standard."""
    return domain in ("", "ai.onnx")
