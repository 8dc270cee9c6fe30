"""The backend tests of the ONNX standard as networks: single nodes of every operation, and small models."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from judging import Case, mixing
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from blindspace.networks import Network, load

FLOATS = {TensorProto.FLOAT: (1e-3, 2.0**-23), TensorProto.DOUBLE: (1e-7, 2.0**-52)}
"""Types of inputs that are varied, each with its tolerance and rounding."""

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
"""Kinds of backend tests; those of large published models would be downloaded."""

NUMBERS = frozenset({"FLOAT", "DOUBLE", "FLOAT16", "BOOL", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64"})
"""Types of outputs that are compared."""

OPSET = 7
"""The oldest version of the standard in which the nodes around a test can be written."""


@cache
def operators() -> dict[str, Callable[[], Iterator[Case]]]:
    """The cases of every operation, by name; what the standard expands an operation into counts apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        tests = [test for kind in KINDS for test in load_model_tests(kind=kind)]
    single = {str(test.name): _operation(test) for test in tests}
    found: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for test in tests:
        whole, expanded, _ = str(test.name).partition("_expanded")
        operation = f"{single[whole]}, expanded" if expanded and whole in single else single[test.name]
        found[operation].append((operation, test))
    return {name: partial(_cases, tests) for name, tests in sorted(found.items())}


def _model(test: Any) -> Any:
    return test.model if test.model is not None else onnx.load(Path(test.model_dir) / "model.onnx")


def _operation(test: Any) -> str:
    """The operation of a model of one node; the name of its test for others."""
    nodes = _model(test).graph.node
    return str(nodes[0].op_type) if len(nodes) == 1 else str(test.name).removeprefix("test_")


def _inputs(test: Any) -> list[Any]:
    """The inputs of a test's first data set, as arrays; None for what is no tensor."""
    if test.data_sets:
        return [each if isinstance(each, np.ndarray | np.generic) else None for each in test.data_sets[0][0]]
    arrays = []
    for number in range(len(_model(test).graph.input)):
        path = Path(test.model_dir) / "test_data_set_0" / f"input_{number}.pb"
        if path.is_file():
            arrays.append(numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
    return arrays


def _cases(tests: list[tuple[str, Any]]) -> Iterator[Case]:
    for operation, test in tests:
        model = _model(test)
        version = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=OPSET)
        constants = {each.name for each in model.graph.initializer}
        free = [each for each in model.graph.input if each.name not in constants]
        given = _inputs(test)
        if len(given) < len(free) or any(each is None for each in given) or version < OPSET:
            continue
        arrays = {each.name: np.asarray(array) for each, array in zip(free, given, strict=False)}
        for each in free:
            if each.type.tensor_type.elem_type in FLOATS and arrays[each.name].size:
                yield _case(operation, f"{test.name}.{each.name}", model, arrays, each.name)


def _case(operator: str, name: str, model: Any, arrays: dict[str, NDArray[Any]], varied: str) -> Case:
    shape = tuple(int(n) for n in arrays[varied].shape) or (1,)
    kind = helper.np_dtype_to_tensor_dtype(arrays[varied].dtype)
    own = np.float64 if kind == TensorProto.DOUBLE else np.float32
    runs: dict[str, Any] = {}

    def compute(x: Tensor) -> Tensor:
        if "oracle" not in runs:
            runs["oracle"] = _session(_alone(model, arrays, varied, kind))
        return torch.from_numpy(runs["oracle"].run(["bs_out"], {"bs_x": x.numpy().astype(own)})[0]).double()

    def network() -> Network:
        outputs = len(compute(torch.zeros(1, *shape, dtype=torch.float64)))
        mixed = _mixed(_alone(model, arrays, varied, kind), prod(shape), outputs, own)
        runs["oracle"] = _session(mixed)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "case.onnx"
            path.write_bytes(mixed.SerializeToString())
            return load(path)

    return Case(operator, name, shape, compute, network, *FLOATS[kind])


def _session(model: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _alone(model: Any, arrays: dict[str, NDArray[Any]], varied: str, kind: int) -> Any:
    """The model from ``bs_x``, which is added to one input while others are constant, to ``bs_out``, all outputs."""
    model = copy.deepcopy(model)
    graph = model.graph
    shape = arrays[varied].shape
    tensors = [each for each in graph.output if TensorProto.DataType.Name(each.type.tensor_type.elem_type) in NUMBERS]
    before = [
        helper.make_node("Reshape", ["bs_x", "bs_shape"], ["bs_reshaped"]),
        helper.make_node("Add", ["bs_reshaped", "bs_start"], [varied]),
    ]
    after = []
    for number, each in enumerate(tensors):
        after.append(helper.make_node("Cast", [each.name], [f"bs_cast{number}"], to=kind))
        after.append(helper.make_node("Reshape", [f"bs_cast{number}", "bs_flat"], [f"bs_part{number}"]))
    after.append(helper.make_node("Concat", [f"bs_part{n}" for n in range(len(tensors))], ["bs_out"], axis=0))
    nodes = [*before, *graph.node, *after]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name != varied]
    constants += [
        numpy_helper.from_array(np.array(shape, np.int64), "bs_shape"),
        numpy_helper.from_array(np.array([-1], np.int64), "bs_flat"),
        numpy_helper.from_array(arrays[varied], "bs_start"),
    ]
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.ClearField("input")
    graph.input.append(helper.make_tensor_value_info("bs_x", kind, [1, *(shape or (1,))]))
    graph.ClearField("output")
    graph.output.append(helper.make_tensor_value_info("bs_out", kind, ["m"]))
    model.ir_version = max(model.ir_version, 8)  # older ones list constants among the inputs
    if not any(each.domain in ("", "ai.onnx") for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 17))
    return model


def _mixed(model: Any, inputs: int, outputs: int, own: type) -> Any:
    """The model with its outputs multiplied by random numbers."""
    weight: NDArray[Any] = mixing(inputs, outputs).numpy().astype(own)
    nodes = list(model.graph.node)
    nodes[-1].output[0] = "bs_outputs"
    model.graph.ClearField("node")
    model.graph.node.extend([*nodes, helper.make_node("MatMul", ["bs_outputs", "bs_weight"], ["bs_out"])])
    model.graph.initializer.append(numpy_helper.from_array(weight, "bs_weight"))
    return model
