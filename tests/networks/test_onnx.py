"""ONNX networks: the front and the layers read from the graph against the runtime itself; loading; real networks.

The real ones are not part of the project. ``BLINDSPACE_MODELS`` names a folder that holds them; the PP-OCR ones are in
the wheels of rapidocr-onnxruntime 1.4.4 (classifier) and 1.2.3 (detector).
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from blindspace import extras
from blindspace.data import samples
from blindspace.errors import (
    BlindspaceError,
    BlindspaceWarning,
    FileError,
    MissingExtraError,
    PrecisionError,
    ShapeError,
    UnsupportedLayerError,
)
from blindspace.evidence import verify
from blindspace.maps import Convolution, Identity, LinearMap, Padding, Rearrange, from_module
from blindspace.networks import Normalise, harmless, layers
from blindspace.networks.affine_graph import Recording, Value, front_map
from blindspace.networks.onnx import session as onnx_session
from blindspace.networks.onnx.call import RULES
from blindspace.networks.onnx.network import OnnxNetwork, load_onnx
from blindspace.networks.onnx.recorder import record_onnx
from blindspace.subspaces import nullspace
from onnx_cases import CASES, IMAGE, Array, Case, Shape, build, floats, ints, onnx

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def shape_of(tensor: Shape) -> Shape:
    return (tensor[1:] if tensor[:1] == (1,) else tensor) or (1,)


def run(model: Any, x: Array) -> list[Array]:
    outputs: list[Array] = onnx_session.session(model, as_written=True).run(None, {"x": x.astype(np.float32)})
    return outputs


def oracle(model: Any, tensor: Shape) -> Array:
    """The matrix of all outputs, one after the other: the runtime's outputs for unit vectors minus those for 0."""
    opened = onnx_session.session(model, as_written=True)

    def answer(x: Array) -> Array:
        outputs = opened.run(None, {"x": x.reshape(tensor).astype(np.float32)})
        flat: Array = np.concatenate([output.ravel() for output in outputs]).astype(np.float64)
        return np.where(np.isinf(flat), 0, flat)  # what is infinite stays so

    size = int(np.prod(tensor))
    at_zero = answer(np.zeros(size))
    return np.stack([answer(unit) - at_zero for unit in np.eye(size)], 1)


def matrix_of(value: Value, start: Value) -> Array:
    """The matrix from the input to a value: the sum over everything that the value reads."""
    if value is start:
        return np.eye(int(np.prod(start.shape)))
    return sum(
        (operator.to_dense().numpy() @ matrix_of(source, start) for source, operator in value.reads), np.zeros(())
    )


def read_by(recording: Recording, operation: str) -> list[Value]:
    """The values that operations of a name or kind read."""
    return [v for v, by in recording.graph.front.items() if any(operation in each.split() for each in by)]


def followed(recording: Recording) -> list[Value]:
    """The values that only the output reads."""
    return [value for value, by in recording.graph.front.items() if set(by) == {"output"}]


@each_case
def test_every_operation_does_to_changes_what_the_runtime_does(case: Case) -> None:
    model = case.model()
    recording = record_onnx(model, shape_of(case.tensor))
    outputs = read_by(recording, "output")
    assert outputs == followed(recording) == list(recording.graph.front)
    assert len(outputs) == len(case.outputs.split())
    expected = oracle(model, case.tensor)
    found = np.concatenate([matrix_of(output, recording.graph.input) for output in outputs])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    written = [output.shape for output in run(model, np.zeros(case.tensor))]
    assert [output.shape for output in outputs] == [shape_of(shape) for shape in written]


@each_case
def test_adjoint_of_every_map(case: Case) -> None:
    recording = record_onnx(case.model(), shape_of(case.tensor))
    generator = torch.Generator().manual_seed(1)
    left = read_by(recording, "output")
    while left:
        for source, operator in left.pop().reads:
            x = torch.randn(2, *operator.in_shape, generator=generator, dtype=torch.float64)
            y = torch.randn(2, *operator.out_shape, generator=generator, dtype=torch.float64)
            there, back = (operator.forward(x) * y).flatten(1).sum(1), (x * operator.adjoint(y)).flatten(1).sum(1)
            assert torch.allclose(there, back, rtol=1e-10, atol=1e-10)
            left.append(source)


@each_case
def test_the_front_sees_what_the_outputs_show(case: Case) -> None:
    """The front has the row space of all outputs together, whichever values represent it."""
    model = case.model()
    seen = front_map(record_onnx(model, shape_of(case.tensor)).graph).to_dense().numpy()
    expected = oracle(model, case.tensor)

    def rank(matrix: Array) -> int:
        sigma = np.linalg.svd(matrix, compute_uv=False)
        return int((sigma > 1e-5 * sigma[0]).sum())

    def scaled(matrix: Array) -> Array:
        return np.asarray(matrix / np.abs(matrix).max())

    assert rank(seen) == rank(expected) == rank(np.concatenate([scaled(seen), scaled(expected)]))


# --- structure that the fast solvers look for ---------------------------------------------------------------


def only_map(*nodes: tuple[str, str, str, dict[str, Any]], tensor: Shape = IMAGE, **weights: Any) -> LinearMap:
    case = Case("structure", nodes, tensor, weights)
    (value,) = read_by(record_onnx(case.model(), shape_of(tensor)), "output")
    ((_, operator),) = value.reads
    return operator


def test_moves_are_said_as_simply_as_they_can_be() -> None:
    pads = ints(0, 0, 1, 2, 0, 0, 3, 0)
    assert isinstance(only_map(("Pad", "x p", "y", {}), p=pads), Padding)
    assert isinstance(only_map(("Pad", "x p", "y", {"mode": "reflect"}), p=pads), Padding)
    assert isinstance(only_map(("Slice", "x s e a", "y", {}), s=ints(1), e=ints(-1), a=ints(3)), Padding)
    assert isinstance(only_map(("Transpose", "x", "y", {"perm": [0, 3, 1, 2]})), Rearrange)
    assert isinstance(only_map(("Flatten", "x", "y", {})), Rearrange)
    assert isinstance(only_map(("SpaceToDepth", "x", "y", {"blocksize": 2}), tensor=(1, 2, 4, 4)), Rearrange)
    assert isinstance(only_map(("Concat", "x w", "y", {"axis": 2}), w=(1, 2, 1, 6)), Padding)


def test_a_norm_goes_into_the_convolution_before_it() -> None:
    case = Case(
        "stem",
        [("Conv", "x w", "h", {}), ("BatchNormalization", "h s b m v", "n", {}), ("Relu", "n", "y", {})],
        IMAGE,
        {"w": (3, 2, 3, 3), "s": (3,), "b": (3,), "m": (3,), "v": floats(1, 2, 3)},
    )
    assert isinstance(front_map(record_onnx(case.model(), IMAGE[1:]).graph), Convolution)


# --- where the front ends -----------------------------------------------------------------------------------


NORMED = {"s": (2,), "b": (2,), "m": (2,), "v": floats(1, 2)}

ENDS = [
    Case("Relu", [("Relu", "x", "y", {})], IMAGE),
    Case("Abs", [("Abs", "x", "y", {})], IMAGE),
    Case("Clip", [("Clip", "x", "y", {})], IMAGE),
    Case("Pow", [("Pow", "x w", "y", {})], IMAGE, {"w": floats(1.0)}),
    Case("Cast", [("Cast", "x", "y", {"to": onnx.TensorProto.INT32})], IMAGE),
    Case("Mul", [("Mul", "x x", "y", {})], IMAGE),
    Case("MatMul", [("Transpose", "x", "t", {"perm": [0, 1, 3, 2]}), ("MatMul", "x t", "y", {})], IMAGE),
    Case("Gemm", [("Transpose", "x", "t", {"perm": [1, 0]}), ("Gemm", "x t", "y", {})], (2, 3)),
    Case("Div", [("Div", "w x", "y", {})], IMAGE, {"w": (6,)}),
    Case("Max", [("Max", "x w", "y", {})], IMAGE, {"w": (6,)}),
    Case("MaxPool", [("MaxPool", "x", "y", {"kernel_shape": [2, 2]})], IMAGE),
    Case("Conv", [("ReduceMean", "x", "w", {"axes": [2]}), ("Conv", "x w", "y", {})], (2, 2, 3, 3)),
    Case("Where", [("Greater", "x w", "c", {}), ("Where", "c x w", "y", {})], IMAGE, {"w": (6,)}),
    Case(
        "ScatterND",
        [("ScatterND", "x i u", "y", {"reduction": "max"})],
        (1, 8),
        {"i": ints(0, 2)[None], "u": (1,)},
        opset=18,
    ),
    Case(
        "RoiAlign", [("RoiAlign", "x r i", "y", {"mode": "max"})], IMAGE, {"r": floats(0, 0, 3, 4)[None], "i": ints(0)}
    ),
    Case("MaxPool", [("MaxPool", "x", "y i", {"kernel_shape": [1, 1]})], IMAGE),
    Case("CastLike", [("CastLike", "x w", "y", {})], IMAGE, {"w": ints(1)}),
    Case("Dropout", [("Dropout", "x r t", "y", {})], IMAGE, {"r": floats(0.5).reshape(()), "t": np.array(True)}),
    Case("BatchNormalization", [("BatchNormalization", "x s b m v", "y a c", {"training_mode": 1})], IMAGE, NORMED),
    Case("QuantizeLinear", [("QuantizeLinear", "x s", "y", {})], IMAGE, {"s": floats(0.1).reshape(())}),
    Case("Gelu", [("com.microsoft:Gelu", "x", "y", {})], IMAGE),
    Case("Trilu", [("com.microsoft:Trilu", "x", "y", {})], (1, 3, 3)),
    Case("NonZero", [("NonZero", "x", "i", {}), ("Shape", "i", "y", {})], IMAGE),
    # The length of the slice depends on the mean, but is the same in both runs.
    Case(
        "Mul",
        [
            ("ReduceMean", "x", "m", {"axes": [1, 2], "keepdims": 0}),
            ("Mul", "m five", "f", {}),
            ("Cast", "f", "k", {"to": onnx.TensorProto.INT64}),
            ("Slice", "x o k a", "h", {}),
            ("Shape", "h", "s", {}),
            ("Gather", "s a", "l", {}),
            ("Cast", "l", "c", {"to": onnx.TensorProto.FLOAT}),
            ("Mul", "x c", "y", {}),
        ],
        (1, 4, 30),
        {"five": floats(5), "o": ints(0), "a": ints(1)},
    ),
    # The shape is the number of values that are not 0, which is all of them in both runs.
    Case(
        "Reshape",
        [("NonZero", "x", "i", {}), ("Shape", "i", "s", {}), ("Gather", "s n", "k", {}), ("Reshape", "x k", "y", {})],
        (1, 5, 3),
        {"n": ints(1)},
    ),
]


@pytest.mark.parametrize("case", ENDS, ids=lambda case: case.id)
def test_what_is_not_known_to_be_affine_ends_the_front(case: Case) -> None:
    recording = record_onnx(case.model(), shape_of(case.tensor))
    assert recording.graph.input in read_by(recording, case.id) or any(
        value.reads for value in read_by(recording, case.id)
    )
    assert not read_by(recording, "output")


@pytest.mark.parametrize(
    "node",
    [("RandomNormal", "", "r", {"shape": [6], "seed": 1.0}), ("Bernoulli", "p", "r", {})],
    ids=lambda node: node[0],
)
def test_random_numbers_are_no_constant(node: tuple[str, str, str, dict[str, Any]]) -> None:
    case = Case("noise", [node, ("Add", "x r", "y", {})], IMAGE, {"p": floats(0)})
    assert list(record_onnx(case.model(), IMAGE[1:]).graph.front.values()) == [["Add n1"]]


def test_the_front_takes_branches_and_leaves_dead_ones() -> None:
    nodes: list[Any] = [
        ("Conv", "x w", "h", {"strides": [2, 2]}),
        ("Relu", "h", "r", {}),
        ("Mul", "x two", "d", {}),
        ("Sigmoid", "d", "dead", {}),
        ("GlobalAveragePool", "x", "g", {}),
        ("Tanh", "g", "t", {}),
    ]
    case = Case("branches", nodes, IMAGE, {"w": (3, 2, 3, 3), "two": floats(2)}, "r t")
    recording = record_onnx(case.model(), IMAGE[1:])
    assert [(value.shape, by) for value, by in recording.graph.front.items()] == [
        ((3, 2, 2), ["Relu n1"]),
        ((2, 1, 1), ["Tanh n5"]),
    ]
    front = front_map(recording.graph).to_dense().numpy()
    assert front.shape == (14, 60)


def test_a_quantisation_that_depends_on_the_input_ends_the_front() -> None:
    nodes: list[Any] = [
        ("QuantizeLinear", "x s z", "q", {}),
        ("DequantizeLinear", "q s z", "d", {}),
        ("DequantizeLinear", "k t", "w", {"axis": 0}),
        ("Conv", "d w", "h", {"strides": [2, 2]}),
        ("Relu", "h", "y", {}),
    ]
    kernels = np.arange(-18, 36, dtype=np.int8).reshape(3, 2, 3, 3)
    weights = {"s": floats(0.01).reshape(()), "z": np.array(0, np.uint8), "k": kernels, "t": floats(0.5, 1, 2)}
    honest = record_onnx(Case("quantised", nodes, IMAGE, weights).model(), IMAGE[1:])
    assert honest.graph.front == {honest.graph.input: ["QuantizeLinear n0"]}
    assert isinstance(front_map(honest.graph), Identity)
    (layer,) = honest.layers
    assert isinstance(layer.operator, Convolution)
    assert np.array_equal(layer.operator.weight.numpy(), kernels * floats(0.5, 1, 2).reshape(-1, 1, 1, 1))


def test_a_map_that_disagrees_with_the_runtime_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "Neg", lambda call: [[(0, Identity(call.shape(0)))]])
    with pytest.warns(BlindspaceWarning, match="Neg n0"):
        recording = record_onnx(build([("Neg", "x", "y", {})], IMAGE), IMAGE[1:])
    assert recording.graph.front == {recording.graph.input: ["Neg n0"]}


# --- layers -------------------------------------------------------------------------------------------------


def test_layers_and_whether_they_are_harmless_for_the_network() -> None:
    nodes: list[Any] = [
        ("Conv", "x w1", "h", {"strides": [2, 2]}),  # read once: harmless
        ("Relu", "h", "r", {}),
        ("Conv", "r w2", "c", {"pads": [1, 1, 1, 1]}),  # a skip connection carries its input past it
        ("Add", "c r", "a", {}),
        ("Relu", "a", "b", {}),
        ("Shape", "b", "s", {}),  # reads no values
        ("Flatten", "b", "f", {}),
        ("Gemm", "f w3", "g", {"transB": 1}),  # by way of a flatten: harmless
        ("Relu", "g", "k", {}),
        ("MatMul", "k w4", "m", {}),  # an output is what it reads
        ("Identity", "k", "n", {}),
    ]
    weights = {"w1": (3, 2, 3, 3), "w2": (3, 3, 3, 3), "w3": (5, 12), "w4": (5, 2)}
    recording = record_onnx(Case("layers", nodes, IMAGE, weights, "m n s").model(), IMAGE[1:])
    found = [
        (x.name, x.kind, x.operator.in_shape, x.operator.out_shape, x.harmless_for_network) for x in recording.layers
    ]
    assert found == [
        ("n0", "Conv", (2, 5, 6), (3, 2, 2), True),
        ("n2", "Conv", (3, 2, 2), (3, 2, 2), False),
        ("n7", "Gemm", (12,), (5,), True),
        ("n9", "MatMul", (5,), (2,), False),
    ]


def test_a_layer_on_one_of_two_views_is_not_harmless() -> None:
    nodes: list[Any] = [
        ("Relu", "x", "r", {}),
        ("Flatten", "r", "f", {}),
        ("Gemm", "f w", "g", {}),
        ("Transpose", "r", "t", {}),
        ("Sigmoid", "t", "y", {}),
    ]
    recording = record_onnx(Case("views", nodes, (1, 2, 3), {"w": (6, 2)}, "g y").model(), (2, 3))
    assert [layer.harmless_for_network for layer in recording.layers] == [False]


# --- loading and running ------------------------------------------------------------------------------------

PLAIN: list[Any] = [("Conv", "x w", "h", {}), ("Relu", "h", "r", {}), ("Flatten", "r", "y", {})]
KERNELS = {"w": (3, 2, 3, 3)}


def saved(tmp_path: Path, model: Any, name: str = "net.onnx") -> Path:
    path = tmp_path / name
    content = model.SerializeToString()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def plain(dims: list[Any] | None = None) -> Any:
    return Case("plain", PLAIN, IMAGE, KERNELS).model(dims)


@pytest.mark.parametrize("name", ["net.onnx", "net.onnx.gz"])
@pytest.mark.parametrize(("dims", "batched"), [([1, 2, 5, 6], False), (["N", 2, 5, 6], True), ([-1, 2, 5, 6], True)])
def test_outputs_are_those_of_the_runtime(tmp_path: Path, name: str, dims: list[Any], batched: bool) -> None:
    model = plain(dims)
    network = load_onnx(saved(tmp_path, model, name))
    assert (network.name, network.input_shape, network.dtype) == (name, (2, 5, 6), torch.float32)
    assert network.module.batched == batched
    images = torch.rand(5, 2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.concatenate([run(model, image.numpy()[None])[0] for image in images])
    found = network.outputs(images, batch_size=2)
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert network.labels(images).tolist() == expected.argmax(1).tolist()
    assert network.outputs(images[:0]).shape == (0, 36)


def test_open_sizes_have_to_be_given(tmp_path: Path) -> None:
    path = saved(tmp_path, plain(["N", 2, "H", "W"]))
    with pytest.raises(ShapeError, match=r"2 × \? × \?.*--input-shape"):
        load_onnx(path)
    assert load_onnx(path, input_shape=(2, 7, 4)).outputs(torch.rand(3, 2, 7, 4)).shape == (3, 30)
    for wrong in [(3, 7, 4), (2, 7), (2, 0, 4)]:
        with pytest.raises(ShapeError, match="shape"):
            load_onnx(path, input_shape=wrong)
    with pytest.raises(ShapeError, match="cannot read an input of shape"):
        load_onnx(path, input_shape=(2, 2, 2))


def test_several_outputs_stand_side_by_side(tmp_path: Path) -> None:
    nodes: list[Any] = [("Relu", "x", "a", {}), ("ReduceMean", "x", "b", {"axes": [2, 3]})]
    network = load_onnx(saved(tmp_path, Case("two", nodes, IMAGE, outputs="a b").model(["N", 2, 5, 6])))
    images = torch.rand(3, 2, 5, 6)
    expected = torch.cat([images.flatten(1), images.mean((2, 3))], 1)
    assert torch.allclose(network.outputs(images), expected, atol=1e-6)


def test_images_that_would_be_mixed_up_in_a_batch_run_one_by_one(tmp_path: Path) -> None:
    nodes: list[Any] = [("Reshape", "x s", "f", {}), ("Softmax", "f", "y", {"axis": 0})]
    network = load_onnx(saved(tmp_path, Case("mix", nodes, (1, 6), {"s": ints(-1, 3)}).model(["N", 6])))
    assert not network.module.batched
    images = torch.rand(4, 6)
    expected = torch.stack([image.reshape(2, 3).softmax(0) for image in images])
    assert torch.allclose(network.outputs(images), expected, atol=1e-6)


@pytest.mark.parametrize("tensor", [(3, 4, 5), (16,)])
def test_a_first_axis_that_is_no_batch_is_one_of_the_input(tmp_path: Path, tensor: Shape) -> None:
    network = load_onnx(saved(tmp_path, build([("Relu", "x", "y", {})], tensor)))
    assert network.input_shape == tensor
    assert network.outputs(torch.ones(2, *tensor)).shape == (2, *tensor)
    assert record_onnx(network.model, network.input_shape).graph.input.shape == tensor


def test_preprocessing_before_the_network_is_a_part_of_its_front(tmp_path: Path) -> None:
    alone = load_onnx(saved(tmp_path, plain()))
    steps = nn.Sequential(nn.ZeroPad2d((-1, -2, 0, -3)), Normalise([0.1, 0.2], [0.5, 4.0]))
    network = replace(alone, module=nn.Sequential(steps, alone.module), input_shape=(2, 8, 9))
    recording = network.record()
    assert recording.graph.input.shape == (2, 8, 9)
    expected = alone.record().layers[0].operator @ from_module(steps, (2, 8, 9))
    assert torch.allclose(front_map(recording.graph).to_dense(), expected.to_dense())
    images = torch.rand(3, 2, 8, 9)
    assert torch.allclose(network.outputs(images), alone.outputs(steps(images)))
    misfit = replace(alone, module=nn.Sequential(nn.ZeroPad2d(1), alone.module), input_shape=(2, 8, 9))
    with pytest.raises(BlindspaceError, match="10, 11"):
        misfit.record()


def test_a_network_in_double_precision_runs_in_it(tmp_path: Path) -> None:
    model = build([("Neg", "x", "y", {})], (1, 4), kind=onnx.TensorProto.DOUBLE)
    network = load_onnx(saved(tmp_path, model))
    assert network.dtype == torch.float64
    x = torch.tensor([[1 / 3, 2 / 3, 1.0, 0.1]], dtype=torch.float64)
    assert torch.equal(network.outputs(x, torch.float64), -x)


def test_a_precision_that_the_runtime_does_not_have_is_refused(tmp_path: Path) -> None:
    network = load_onnx(saved(tmp_path, plain()))
    with pytest.raises(PrecisionError, match="float32 only"):
        network.outputs(torch.rand(1, 2, 5, 6), torch.float64)
    with pytest.raises(UnsupportedLayerError, match="no gradients"):
        network.module(torch.rand(1, 2, 5, 6, requires_grad=True))


def test_evidence_leaves_out_the_precision_that_there_is_not(tmp_path: Path) -> None:
    stem: list[Any] = [("Conv", "x w", "h", {"strides": [2, 2]}), ("Relu", "h", "y", {})]
    network = load_onnx(saved(tmp_path, Case("stem", stem, IMAGE, {"w": (1, 2, 2, 2)}).model()))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 2, 5, 6, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 2, 5, 6, generator=generator, dtype=torch.float64)
    evidence = verify(network, images, images + harmless(network).project(noise))
    assert evidence.max_output_change <= 1e-5
    assert (evidence.max_output_change_float64, evidence.dtype) == (None, "float32")
    assert verify(network, images, images + noise).max_output_change > 1e-2
    assert [layer.harmless_for_network for layer in layers(network)] == [True]


def with_two_inputs() -> Any:
    model = build([("Mul", "x mask", "y", {})], IMAGE)
    model.graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))
    return model


def with_weights_elsewhere() -> Any:
    model = plain()
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return model


def with_a_constant_elsewhere() -> Any:
    value = onnx.numpy_helper.from_array(floats(1), "c")
    value.data_location = onnx.TensorProto.EXTERNAL
    value.external_data.add(key="location", value="weights.bin")
    return build([("Constant", "", "c", {"value": value}), ("Relu", "x", "y", {})], IMAGE)


def of_whole_numbers() -> Any:
    return build([("Abs", "x", "y", {})], IMAGE, kind=onnx.TensorProto.UINT8)


def of_unknown_operations() -> Any:
    return build([("made.up:Thing", "x", "y", {})], IMAGE)


def not_well_formed() -> Any:
    model = plain()
    model.graph.node[0].input[0] = "nobody"
    return model


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        (with_two_inputs, UnsupportedLayerError, "2 inputs .x float 1 × 2 × 5 × 6, mask float 1.; .*--fix mask="),
        (with_weights_elsewhere, FileError, "the weight 'w' in '/etc/passwd', which is no file of the same folder"),
        (with_a_constant_elsewhere, FileError, "the weight 'c' in weights.bin, which is missing"),
        (of_whole_numbers, UnsupportedLayerError, "uint8"),
        (of_unknown_operations, FileError, "valid|cannot run"),
        (not_well_formed, FileError, "nobody"),
    ],
)
def test_what_cannot_be_loaded_says_why(
    tmp_path: Path, model: Callable[[], Any], error: type[BlindspaceError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        load_onnx(saved(tmp_path, model()))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_onnx(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        load_onnx(tmp_path / "missing.onnx")
    text = tmp_path / "text.onnx"
    for content in (b"not a network", b""):
        text.write_bytes(content)
        with pytest.raises(FileError, match="not a valid ONNX file"):
            load_onnx(text)
    packed = saved(tmp_path, plain(), "net.onnx.gz")
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(FileError, match="cannot be read"):
        load_onnx(packed)
    bomb = tmp_path / "bomb.onnx.gz"
    bomb.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(FileError, match="more than 1024 bytes"):
        load_onnx(bomb, largest=1 << 10)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    path = saved(tmp_path, plain())
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(MissingExtraError, match=rf"an ONNX network needs {package}: pip install 'blindspace\[onnx\]'"):
        load_onnx(path)


# --- networks trained by others -----------------------------------------------------------------------------


def text_image(height: int, width: int) -> torch.Tensor:
    """A line of text, black on white, as PP-OCR reads it, ``(1, 3, height, width)``."""
    image = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(min(36, height // 2))
    ImageDraw.Draw(image).text((10, height // 4), "harmless for it", fill="black", font=font)
    return (torch.from_numpy(np.array(image)).double().permute(2, 0, 1) / 127.5 - 1)[None]


def cifar() -> torch.Tensor:
    """Images normalised as ibp_3_3_8 reads them; the other networks do not need it."""
    mean = torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64)
    return (samples("cifar10").tensor(torch.float64) - mean.view(-1, 1, 1)) / 0.2


def mnist() -> torch.Tensor:
    return samples("mnist").tensor(torch.float64).reshape(-1, 784, 1)


def grey_noise() -> torch.Tensor:
    return torch.rand(4, 3, 48, 192, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


REAL: list[tuple[str, Shape | None, int, Callable[[], torch.Tensor]]] = [
    ("ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 48, 192), 9216, grey_noise),
    ("ch_PP-OCRv3_det_infer.onnx", (3, 320, 320), 102400, lambda: text_image(320, 320)),
    ("ibp_3_3_8.onnx.gz", None, 2304, cifar),
    ("mnist-net_256x2.onnx", None, 528, mnist),
    ("cifar_base_kw.onnx", None, 1024, cifar),
    ("resnet_2b.onnx", None, 1024, cifar),
]


def real(name: str, shape: Shape | None) -> OnnxNetwork:
    folder = os.environ.get("BLINDSPACE_MODELS")
    if folder is None:
        pytest.skip("BLINDSPACE_MODELS names no folder with the networks")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return load_onnx(path, input_shape=shape)


@pytest.mark.parametrize(("name", "shape", "dim", "images"), REAL, ids=[row[0].split(".")[0] for row in REAL])
def test_networks_trained_by_others(
    name: str, shape: Shape | None, dim: int, images: Callable[[], torch.Tensor]
) -> None:
    network = real(name, shape)
    front = front_map(record_onnx(network.model, network.input_shape).graph)
    space = nullspace(front)
    assert (space.dim, space.certificate.kind) == (dim, "exact")
    x = images()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blind = space.project(noise)
    blind /= blind.abs().max()
    noise *= blind.norm() / noise.norm()
    residual = front.forward(blind).flatten(1).norm(dim=1) / blind.flatten(1).norm(dim=1) / front.norm()
    assert float(residual.max()) <= 1e-13
    before, hidden, loud = (network.outputs(each) for each in (x, x + blind, x + noise))
    assert float((hidden - before).abs().max()) <= 1e-4
    assert float((loud - before).abs().max()) >= 1e-2
    assert torch.equal(network.labels(x + blind), network.labels(x))
