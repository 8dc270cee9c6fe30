"""ONNX models and single nodes run by onnxruntime. Nothing else imports it, nor onnx: both are an extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from ...errors import FileError, MissingExtraError, first_line

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, OperatorSetIdProto

Array = NDArray[Any]


def require(package: str) -> Any:
    """The module of an optional package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"ONNX networks need {package}, which is not installed: pip install 'blindspace[onnx]'"
        ) from error


def session(model: ModelProto, as_written: bool = False) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, with as many threads as torch has.

    Args:
        model: checked, all its weights inside.
        as_written: node by node, none fused with others, so that every value on the way can be asked for.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        FileError: the runtime cannot run the model, with its reason.
    """
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; the rest is about speed
    options.intra_op_num_threads = torch.get_num_threads()
    if as_written:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Shapes are taken as soon as they can be, not at the end, with every value kept until then.
        options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no base of their own
        raise FileError(f"onnxruntime cannot run this network: {first_line(error)}") from error


def run_node(
    node: NodeProto, given: Mapping[int, Array], constants: Mapping[int, Array], opsets: Iterable[OperatorSetIdProto]
) -> list[Array]:
    """The outputs of a node by itself, those it leaves out aside.

    Args:
        node: of an operation in the standard.
        given: what it reads, by the number of the input.
        constants: what else it reads, known to the runtime before it runs.
        opsets: of the model that the node is from.

    Raises:
        FileError: the runtime does not serve the node for these types.
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
    """Whether a domain of operations is that of the ONNX standard."""
    return domain in ("", "ai.onnx")
