"""ONNX models and single nodes run by onnxruntime. Only this file imports onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from ...errors import FileError, UnknownNameError, first_line
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


LEVEL = "graph_optimization_level"
"""The option of a session that says how far the runtime may change the graph."""


def session(model: ModelProto, as_written: bool = False, given: Mapping[str, str] | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, with as many threads as torch has.

    Args:
        model: A checked model with all its weights inside.
        as_written: Whether the nodes run one by one, without fusion, so that every value can be an output.
        given: Options of the session by the runtime's names: ``graph_optimization_level`` ("disable_all", "basic",
            "extended", "layout" or "all", which is the runtime's default), and keys of its configuration such as
            ``session.qdq_matmulnbits_accuracy_level``.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        UnknownNameError: There is no such optimisation level, or an option is none of these.
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
    for key, value in (given or {}).items():
        _set(runtime, options, key, value)
    try:
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common base class
        raise FileError(f"onnxruntime cannot run this network: {first_line(error)}") from error


FOREIGN = ("bfloat16", "int4", "int2", "float8", "float4")
"""Types that the runtime has and numpy does not."""


def readable_outputs(opened: Any) -> list[str]:
    """The names of the outputs of a session whose types numpy has."""
    return [each.name for each in opened.get_outputs() if not any(kind in each.type for kind in FOREIGN)]


def _set(runtime: Any, options: Any, key: str, value: str) -> None:
    """Set one option of a session."""
    levels = {name.removeprefix("ORT_").removeprefix("ENABLE_").lower(): level
              for name, level in runtime.GraphOptimizationLevel.__members__.items()}  # fmt: skip
    if key == LEVEL and value in levels:
        options.graph_optimization_level = levels[value]
    elif key == LEVEL:
        raise UnknownNameError(f"onnxruntime has no {LEVEL} {value!r}; it has {', '.join(levels)}")
    elif "." in key:
        options.add_session_config_entry(key, value)
    else:
        raise UnknownNameError(
            f"no option of a session is called {key!r}; there are {LEVEL} and the keys of onnxruntime's configuration, "
            "such as session.qdq_matmulnbits_accuracy_level"
        )


def run_node(
    node: NodeProto,
    given: Mapping[int, Array],
    constants: Mapping[int, Array],
    opsets: Iterable[OperatorSetIdProto],
    **attributes: Any,
) -> list[Array]:
    """The outputs of a single node, without those that it leaves out. As ``node_alone``, run once."""
    return node_alone(node, given, constants, opsets, **attributes)(given)


def node_alone(
    node: NodeProto,
    given: Mapping[int, Array],
    constants: Mapping[int, Array],
    opsets: Iterable[OperatorSetIdProto],
    **attributes: Any,
) -> Callable[[Mapping[int, Array]], list[Array]]:
    """A single node as a function from its inputs by index to its outputs, without those that it leaves out.

    Args:
        node: A node without graphs inside.
        given: Arrays of the types and shapes that its inputs will have, by index.
        constants: Its other inputs by index, known to the runtime in advance.
        opsets: Operator sets of the model that the node belongs to.
        attributes: Values that replace those of the node's attributes.

    Raises:
        FileError: The runtime does not support the node for these types; the function raises it too.
    """
    onnx = require("onnx")
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    for index in range(len(alone.input)):
        alone.input[index] = f"in{index}" if index in given or index in constants else ""
    changed = [attribute for attribute in alone.attribute if attribute.name in attributes]
    for attribute in changed:
        attribute.CopyFrom(onnx.helper.make_attribute(attribute.name, attributes[attribute.name]))
    types = onnx.helper.np_dtype_to_tensor_dtype
    graph = onnx.helper.make_graph(
        [alone],
        "node",
        [onnx.helper.make_tensor_value_info(f"in{i}", types(x.dtype), x.shape) for i, x in given.items()],
        [onnx.ValueInfoProto(name=name) for name in alone.output if name],
        [onnx.numpy_helper.from_array(x, f"in{i}") for i, x in constants.items()],
    )
    known = [opset for opset in opsets if is_standard(opset.domain) or opset.domain == node.domain]
    model = onnx.helper.make_model(graph, opset_imports=known, ir_version=8)
    opened = session(model, as_written=True)

    def run(inputs: Mapping[int, Array]) -> list[Array]:
        try:
            results: list[Array] = opened.run(None, {f"in{i}": x for i, x in inputs.items()})
        except Exception as error:  # the runtime's errors have no common base class
            raise FileError(f"onnxruntime cannot run {node.op_type}: {first_line(error)}") from error
        return results

    return run


def is_standard(domain: str) -> bool:
    """Whether a domain of operations belongs to the ONNX standard."""
    return domain in ("", "ai.onnx")


def operation(node: NodeProto) -> str:
    """The name of the operation of a node, with its domain before a colon unless it belongs to the standard."""
    return node.op_type if is_standard(node.domain) else f"{node.domain}:{node.op_type}"
