"""ONNX networks beyond single operations: conditions, fused operations, inputs, outputs, sessions, roundings, names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blindspace.errors import (
    BlindspaceError,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
    ValueRangeError,
    WithdrawnError,
)
from blindspace.evidence import audit
from blindspace.networks import Network, ends, harmless, layers
from blindspace.networks.onnx import session as onnx_session
from blindspace.networks.onnx.network import OnnxModule, OnnxNetwork, load_onnx
from blindspace.subspaces import Subspace
from onnx_cases import IMAGE, Array, Case, Shape, build, floats, ints, onnx

Node = tuple[str, str, str, dict[str, Any]]


def saved(tmp_path: Path, model: Any) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def loaded(tmp_path: Path, model: Any, **options: Any) -> OnnxNetwork:
    return load_onnx(saved(tmp_path, model), **options)


def change(network: Network, delta: torch.Tensor) -> float:
    """The largest change of any output, at one random input."""
    x = torch.rand(1, *network.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return float((network.outputs(x + delta) - network.outputs(x)).abs().max())


def claim_holds(network: Network, space: Subspace, moved: float = 1e-5) -> bool:
    """Whether harmless noise moves the outputs by rounding only, and other noise does move them."""
    noise = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return change(network, space.project(noise)) <= moved < change(network, noise)


# --- conditions ---------------------------------------------------------------------------------------------


def branch(nodes: list[Node], shape: Shape, weights: dict[str, Array] | None = None) -> Any:
    """A branch that writes a value of that shape and reads others from outside."""
    graph = build(nodes, (1,), weights, outputs=nodes[-1][2]).graph
    del graph.input[:]
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(nodes[-1][2], onnx.TensorProto.FLOAT, shape))
    return graph


def branching(then: list[Node], other: list[Node], shape: Shape, weights: dict[str, Array] | None = None) -> Node:
    return (
        "If",
        "c",
        "y",
        {"then_branch": branch(then, shape, weights), "else_branch": branch(other, shape, weights)},
    )


LARGE: list[Node] = [("ReduceSum", "h", "sum", {"keepdims": 0}), ("Greater", "sum ten", "c", {})]
"""A condition that depends on the input by way of h."""

WEIGHTS = {"w": (12, 2), "a": (12, 3), "b": (12, 3), "ten": floats(0).reshape(())}


@pytest.mark.parametrize("taken", [True, False])
def test_a_constant_condition_is_followed_into_the_branch_it_takes(tmp_path: Path, taken: bool) -> None:
    own = {"k": np.random.default_rng(1).standard_normal((8, 3)).astype(np.float32)}
    node = branching([("MatMul", "x k", "z", {})], [("MatMul", "x k", "m", {}), ("Tanh", "m", "z", {})], (1, 3), own)
    network = loaded(tmp_path, Case("constant", [node], (1, 8), {"c": np.array([taken])}).model())
    space = harmless(network)
    assert space.dim == 5
    assert claim_holds(network, space)
    (reader,) = ends(network).values()
    assert reader == (["output"] if taken else ["Tanh y/else_branch/n1"])
    assert [layer.kind for layer in layers(network)] == ["MatMul"]


def test_conditions_with_several_outputs(tmp_path: Path) -> None:
    inner = branch([("Neg", "x", "v", {}), ("MatMul", "v a", "z", {})], (1, 3))
    inner.output.append(onnx.helper.make_tensor_value_info("v", onnx.TensorProto.FLOAT, (1, 12)))
    both = {"then_branch": inner, "else_branch": inner}
    nodes: list[Node] = [("If", "c", "p q", both), ("If", "c", "r s", both), ("Concat", "p r", "y", {"axis": 1})]
    model = Case("twice", nodes, (1, 12), {**WEIGHTS, "c": np.array([True])}).model()
    network = loaded(tmp_path, model)
    assert harmless(network).dim == 9


def test_a_condition_in_a_branch_is_followed_too(tmp_path: Path) -> None:
    inner = branching([("MatMul", "x a", "z", {})], [("MatMul", "x b", "z", {})], (1, 3))
    outer = branching([("Identity", "x", "v", {}), (*inner[:2], "q", inner[3])], [("MatMul", "x b", "q", {})], (1, 3))
    network = loaded(tmp_path, Case("nested", [outer], (1, 12), {**WEIGHTS, "c": np.array([True])}).model())
    assert harmless(network).dim == 9
    assert claim_holds(network, harmless(network))


def test_a_condition_that_depends_on_the_input_reads_what_both_branches_read(tmp_path: Path) -> None:
    first: list[Node] = [("MatMul", "x a", "m", {}), ("Tanh", "m", "z", {})]
    second: list[Node] = [("MatMul", "x b", "m", {})]
    nodes = [("MatMul", "x w", "g", {}), ("Relu", "g", "h", {}), *LARGE, branching(first, second, (1, 3))]
    network = loaded(tmp_path, Case("both", nodes, (1, 12), WEIGHTS).model())
    space = harmless(network)
    assert space.dim == 12 - 2 - 3 - 3  # neither branch alone decides, nor does the condition
    read = np.concatenate([np.array(onnx.numpy_helper.to_array(w)) for w in network.model.graph.initializer[:3]], 1)
    assert np.abs(read.T @ space.basis().numpy().reshape(-1, 12).T).max() <= 1e-6


def test_a_branch_that_cannot_be_computed_outside_is_left_where_it_is(tmp_path: Path) -> None:
    """One branch has a shape that fits inputs of another kind only; the condition never takes it."""
    wrong: list[Node] = [("Reshape", "x s", "r", {}), ("MatMul", "r k", "z", {})]
    nodes = [
        ("MatMul", "x w", "g", {}),
        ("Relu", "g", "h", {}),
        *LARGE,
        branching(wrong, [("MatMul", "x a", "z", {})], (1, 3)),
    ]
    weights = {**WEIGHTS, "ten": floats(1e9).reshape(()), "s": ints(1, 5), "k": (5, 3)}
    network = loaded(tmp_path, Case("wrong", nodes, (1, 12), weights).model())
    assert harmless(network).dim == 0
    assert ends(network) == {"x": ["If n4"]}


# --- fused operations and sequences -------------------------------------------------------------------------

FUSED = [
    Case(
        "gemm",
        [("com.microsoft:FusedGemm", "x w b", "y", {"activation": "Relu", "alpha": 2.0})],
        (1, 8),
        {"w": (8, 3), "b": (3,)},
    ),
    Case(
        "gemm-leaky",
        [("com.microsoft:FusedGemm", "x w b", "y", {"activation": "LeakyRelu", "activation_alpha": 0.2, "transB": 1})],
        (1, 8),
        {"w": (3, 8), "b": (3,)},
    ),
    Case(
        "conv",
        [("com.microsoft:FusedConv", "x w", "y", {"activation": "Tanh", "strides": [2, 2]})],
        IMAGE,
        {"w": (1, 2, 2, 2)},
    ),
    Case(
        "conv-clip",
        [("com.microsoft:FusedConv", "x w b", "y", {"activation": "Clip", "activation_params": [-0.5, 0.5]})],
        IMAGE,
        {"w": (1, 2, 3, 3), "b": (1,)},
    ),
    Case(
        "conv-sum",
        [("com.microsoft:FusedConv", "x w b z", "y", {"activation": "Relu"})],
        IMAGE,
        {"w": (1, 2, 3, 3), "b": (1,), "z": (1, 1, 3, 4)},
    ),
    Case("conv-plain", [("com.microsoft:FusedConv", "x w", "y", {})], IMAGE, {"w": (1, 2, 3, 3)}),
]


@pytest.mark.parametrize("case", FUSED, ids=lambda case: case.id)
def test_an_activation_that_is_fused_reads_the_linear_part(tmp_path: Path, case: Case) -> None:
    network = loaded(tmp_path, case.model())
    space = harmless(network)
    outputs = int(network.outputs(torch.zeros(1, *network.input_shape)).numel())
    assert space.dim == space.ambient_dim - outputs
    assert claim_holds(network, space)
    assert [layer.kind for layer in layers(network)] == [case.nodes[0][0].removeprefix("com.microsoft:Fused")]


def test_layers_are_listed_before_and_behind_a_sequence(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("MatMul", "x m", "c", {}),
        ("Relu", "c", "r", {}),
        ("SplitToSequence", "r sizes", "q", {"axis": 1}),
        ("ConcatFromSequence", "q", "s", {"axis": 1}),
        ("MatMul", "s k", "y", {}),
    ]
    network = loaded(tmp_path, Case("sequence", nodes, (1, 8), {"m": (8, 6), "k": (6, 4), "sizes": ints(2, 4)}).model())
    assert [layer.name for layer in layers(network)] == ["n0", "n4"]
    assert harmless(network).dim == 2


def test_a_sequence_whose_length_depends_on_the_input_ends_the_front(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("ReduceMax", "x", "top", {"axes": [1], "keepdims": 0}),
        ("Cast", "top", "n", {"to": onnx.TensorProto.INT64}),
        ("Add", "n one", "sizes", {}),
        ("Sub", "eight sizes", "rest", {}),
        ("Concat", "sizes rest", "both", {"axis": 0}),
        ("SplitToSequence", "x both", "q", {"axis": 1}),
        ("ConcatFromSequence", "q", "y", {"axis": 1}),
    ]
    network = loaded(tmp_path, Case("length", nodes, (1, 8), {"one": ints(1), "eight": ints(8)}).model())
    assert ends(network) == {"x": ["ReduceMax n0", "SplitToSequence n5"]}
    assert harmless(network).dim == 0


# --- inputs and outputs -------------------------------------------------------------------------------------


def recurrent(state: int = 4) -> Any:
    """y = relu(W x + V state) · rate, and the state that follows."""
    nodes: list[Node] = [
        ("MatMul", "x w", "a", {}),
        ("MatMul", "state v", "b", {}),
        ("Add", "a b", "sum", {}),
        ("Relu", "sum", "r", {}),
        ("Cast", "rate", "f", {"to": 1}),
        ("Mul", "r f", "y", {}),
        ("MatMul", "sum u", "z", {}),
        ("Tanh", "z", "next", {}),
    ]
    weights = {"w": (8, 3), "v": (state, 3), "u": (3, state)}
    model = Case("recurrent", nodes, (1, 8), weights, "y next").model()
    more = onnx.helper.make_tensor_value_info
    model.graph.input.append(more("state", onnx.TensorProto.FLOAT, ["N", state]))
    model.graph.input.append(more("rate", onnx.TensorProto.INT64, []))
    del model.graph.output[:]
    model.graph.output.extend(more(name, onnx.TensorProto.FLOAT, None) for name in ("y", "next"))
    return model


def test_inputs_that_are_held_leave_one_to_vary(tmp_path: Path) -> None:
    state = np.random.default_rng(0).standard_normal(4)
    network = loaded(tmp_path, recurrent(), fix={"state": state, "rate": 2})
    assert network.input_shape == (8,)
    assert harmless(network).dim == 5
    assert claim_holds(network, harmless(network))
    x = torch.rand(3, 8)
    opened = onnx_session.session(recurrent())
    given = {"state": state[None].astype(np.float32), "rate": np.array(2)}
    expected = [np.concatenate(opened.run(None, {"x": row[None].numpy(), **given}), 1) for row in x]
    assert np.allclose(network.outputs(x).numpy(), np.concatenate(expected), atol=1e-6)
    reversed_ = loaded(tmp_path, recurrent(), fix={"x": torch.rand(1, 8, dtype=torch.float64), "rate": torch.tensor(2)})
    assert reversed_.input_shape == (4,)
    assert harmless(reversed_).dim == 1


def test_several_inputs_together_have_a_harmless_space_of_their_own(tmp_path: Path) -> None:
    network = loaded(tmp_path, recurrent(), fix={"rate": 2}, vary={"state": None, "x": None})
    assert network.input_shape == (12,)
    space = harmless(network)
    assert space.dim == 9  # more than 5 + 1, as changes of both may cancel
    assert claim_holds(network, space)


def test_outputs_are_chosen_by_name(tmp_path: Path) -> None:
    both = {"fix": {"state": [0, 0, 0, 0], "rate": 1}}
    network = loaded(tmp_path, recurrent(), outputs=["next"], **both)
    assert network.outputs(torch.rand(2, 8)).shape == (2, 4)
    assert loaded(tmp_path, recurrent(), outputs=["next", "y"], **both).outputs(torch.rand(2, 8)).shape == (2, 7)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, UnsupportedLayerError, "3 inputs .x float 1 × 8, state float . × 4, rate int64.*--fix rate=FILE"),
        ({"fix": {"stat": 0}}, UnknownNameError, "reads no input 'stat'; there are x, state, rate"),
        ({"vary": {"x": None}}, UnsupportedLayerError, "3 inputs .*or vary several jointly, --vary x --vary state$"),
        ({"vary": {"x": None}, "fix": {"x": [0] * 8}}, ValueRangeError, "x cannot vary and be held"),
        (
            {"vary": {"x": (9,), "state": None}, "fix": {"rate": 1}},
            ShapeError,
            r"x is float 1 × 8, got the shape \(9,\)",
        ),
        ({"fix": {"state": np.zeros(5)}}, ShapeError, r"state is float . × 4, got shape \(5,\)"),
        ({"fix": {"rate": 0.5}}, ShapeError, "rate reads whole numbers"),
        ({"fix": {"state": np.array(["a"])}}, ShapeError, "state is float . × 4, got <U1"),
        (
            {"vary": {"x": None, "state": None, "rate": None}},
            UnsupportedLayerError,
            "rate is int64, which has no small changes",
        ),
        (
            {"fix": {"rate": 1, "state": [0] * 4}, "outputs": ["z"]},
            UnknownNameError,
            "no output is called 'z'; there are y, next",
        ),
        ({"fix": {"rate": 1, "state": [0] * 4, "x": [0] * 8}}, UnsupportedLayerError, "reads no input"),
    ],
)
def test_what_cannot_be_held_or_chosen_says_why(
    tmp_path: Path, options: dict[str, Any], error: type[BlindspaceError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        loaded(tmp_path, recurrent(), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dims", [[], [1]])
def test_a_network_of_one_number_is_read(tmp_path: Path, dims: list[int]) -> None:
    network = loaded(tmp_path, build([("Mul", "x two", "y", {})], dims, {"two": floats(2).reshape(())}))
    assert network.input_shape == (1,)
    assert network.outputs(torch.tensor([[3.0]])).flatten().tolist() == [6.0]
    assert harmless(network).dim == 0


# --- names and constants of other kinds ---------------------------------------------------------------------


def test_names_that_are_not_utf_8_are_spelled_out(tmp_path: Path) -> None:
    model = Case("names", [("MatMul", "x w", "hhhh", {}), ("Relu", "hhhh", "y", {})], (1, 8), {"w": (8, 3)}).model()
    model.graph.node[0].name = "name"
    content = model.SerializeToString().replace(b"hhhh", "卷积".encode("gbk")).replace(b"name", "卷积".encode("gbk"))
    (tmp_path / "net.onnx").write_bytes(content)
    network = load_onnx(tmp_path / "net.onnx")
    assert ends(network) == {r"\xbe\xed\xbb\xfd": ["Relu n1"]}
    assert harmless(network).dim == 5


@pytest.mark.parametrize(
    ("kind", "then"),
    [
        (onnx.TensorProto.BFLOAT16, ("Cast", "k", "w", {"to": 1})),
        (onnx.TensorProto.INT4, ("DequantizeLinear", "k s", "w", {})),
    ],
)
@pytest.mark.parametrize("as_node", [True, False])
def test_constants_of_types_that_numpy_lacks(tmp_path: Path, kind: int, then: Node, as_node: bool) -> None:
    numbers = np.random.default_rng(0).integers(-8, 8, 24).tolist()
    constant = onnx.helper.make_tensor("k", kind, [8, 3], numbers)
    nodes: list[Node] = [then, ("MatMul", "x w", "y", {})]
    if as_node:
        nodes.insert(0, ("Constant", "", "k", {"value": constant}))
    model = build(
        nodes, (1, 8), {"s": floats(0.5).reshape(()), **({} if as_node else {"k": np.zeros((8, 3), np.int8)})}, opset=21
    )
    if not as_node:
        model.graph.initializer[1].CopyFrom(constant)
    model.ir_version = 10
    network = loaded(tmp_path, model, session=EXACT)
    assert harmless(network).dim == 5
    assert claim_holds(network, harmless(network))


# --- sessions -----------------------------------------------------------------------------------------------


EXACT = {"session.qdq_matmulnbits_accuracy_level": "1"}
"""The option that keeps the runtime from rounding what a layer of int8 weights reads."""


def int8_weights() -> Any:
    """A layer whose weights are stored as int8; the runtime's default session also rounds what it reads."""
    random = np.random.default_rng(0)
    weights = {"q": random.integers(-127, 128, (64, 32), dtype=np.int8), "s": floats(*random.uniform(0.01, 0.02, 32))}
    nodes: list[Node] = [
        ("DequantizeLinear", "q s", "w", {"axis": 1}),
        ("MatMul", "x w", "c", {}),
        ("Sigmoid", "c", "y", {}),
    ]
    return Case("int8", nodes, (1, 64), weights).model()


def test_a_remedy_is_a_session_in_which_the_outputs_are_those_of_the_graph(tmp_path: Path) -> None:
    network = loaded(tmp_path, int8_weights())
    space = harmless(network, check=False)
    assert space.dim == 32
    options = [words for words, _ in network.remedies()]
    assert options == [
        "--session session.qdq_matmulnbits_accuracy_level=1",
        "--session graph_optimization_level=basic",
        "--session graph_optimization_level=disable_all",
    ]
    for _, other in network.remedies():
        assert claim_holds(other, space)  # in the default session it depends on the processor
    exact = loaded(tmp_path, int8_weights(), session=EXACT)
    assert claim_holds(exact, space)
    assert [words for words, _ in exact.remedies()] == options[1:]


class Rounding(OnnxModule):
    """A session that rounds what it reads, as some do of themselves."""

    def _run(self, images: Array) -> dict[str, Array]:
        return super()._run(np.round(8 * images) / 8)


def test_a_space_that_the_session_spoils_is_withdrawn_with_the_option_that_keeps_it(tmp_path: Path) -> None:
    network = loaded(
        tmp_path, Case("plain", [("MatMul", "x w", "m", {}), ("Tanh", "m", "y", {})], (1, 8), {"w": (8, 3)}).model()
    )
    assert harmless(network).dim == 5
    exact = network.module
    assert isinstance(exact, OnnxModule)
    spoilt = replace(network, module=Rounding(exact.opened, exact.given, exact.dtype, exact.batched, exact.tensor))
    with pytest.raises(WithdrawnError, match=r"with --session session\.qdq_matmulnbits_accuracy_level=1 they move by"):
        harmless(spoilt)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"graph_optimization_level": "most"}, "no graph_optimization_level 'most'; it has disable_all, basic"),
        ({"threads": "2"}, "no option of a session is called 'threads'"),
    ],
)
def test_an_unknown_option_of_a_session_is_refused(tmp_path: Path, option: dict[str, str], says: str) -> None:
    with pytest.raises(UnknownNameError, match=says):
        loaded(tmp_path, int8_weights(), session=option)


# --- quantised networks without their roundings -------------------------------------------------------------


def quantised(last: Node, zero: int = 0) -> Any:
    nodes: list[Node] = [
        ("QuantizeLinear", "x s z", "q", {}),
        ("Transpose", "q", "t", {"perm": [0, 1, 3, 2]}),
        ("DequantizeLinear", "t s z", "d", {}),
        ("DequantizeLinear", "k steps", "w", {"axis": 0}),
        ("Conv", "d w", "h", {"strides": [2, 2]}),
        ("QuantizeLinear", "h s middle", "r", {}),
        ("DequantizeLinear", "r s middle", "e", {}),
        last,
    ]
    weights = {
        "s": floats(0.01).reshape(()),
        "z": np.array(zero, np.uint8),
        "middle": np.array(0, np.int8),
        "k": np.arange(-18, 36, dtype=np.int8).reshape(3, 2, 3, 3),
        "steps": floats(0.0005, 0.001, 0.002),
    }
    return Case("quantised", nodes, IMAGE, weights).model()


def test_a_quantised_network_without_its_roundings(tmp_path: Path) -> None:
    model = quantised(("Relu", "e", "y", {}), zero=7)
    rounded = loaded(tmp_path, model)
    assert ends(rounded) == {"x": ["QuantizeLinear n0"]}
    network = loaded(tmp_path, model, float_meaning=True)
    space = harmless(network)
    assert space.dim == 60 - 12
    assert claim_holds(network, space)
    assert network.deployed is not None
    x = torch.rand(4, 2, 5, 6)
    assert torch.equal(network.deployed.outputs(x), rounded.outputs(x))
    difference = (network.outputs(x) - rounded.outputs(x)).abs().max()
    assert 0 < difference <= 0.02


def test_an_audit_says_what_roundings_add(tmp_path: Path) -> None:
    model = quantised(("Sigmoid", "e", "y", {}), zero=100)
    assert audit(loaded(tmp_path, model), layers=False).deployed is None
    found = audit(loaded(tmp_path, model, float_meaning=True), layers=False)
    assert found.shown is not None
    assert found.deployed is not None
    assert found.shown.harmless <= 1e-5 < found.deployed.harmless


def test_a_network_that_reads_nothing_of_its_input_cannot_see_any(tmp_path: Path) -> None:
    nodes: list[Node] = [("Shape", "x", "s", {}), ("Cast", "s", "y", {"to": 1})]
    space = harmless(loaded(tmp_path, Case("unread", nodes, (1, 8)).model()))
    assert (space.dim, space.certificate.kind) == (8, "exact")


def test_a_quantisation_that_clips_is_a_relu_and_ends_the_front(tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("Conv", "x w", "h", {}),
        ("QuantizeLinear", "h s z", "q", {}),
        ("DequantizeLinear", "q s z", "d", {}),
        ("Flatten", "d", "y", {}),
    ]
    weights = {"w": (3, 2, 3, 3), "s": floats(0.1).reshape(()), "z": np.array(0, np.uint8)}
    network = loaded(tmp_path, Case("clipped", nodes, IMAGE, weights).model(), float_meaning=True)
    assert list(ends(network).values()) == [["Max q above Max"]]
    assert harmless(network).dim == 60 - 36


# --- functions of the model's own ---------------------------------------------------------------------------


WEIGHT = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)


@pytest.mark.parametrize(("operation", "dim"), [("Neg", 12), ("Abs", 0)])
def test_functions_are_inlined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, dim: int) -> None:
    """A function of the model's own is what its nodes are, also where nothing else has imported the inliner."""
    monkeypatch.delattr(onnx, "inliner", raising=False)
    model = build([("own:Own", "x", "own", {}), ("MatMul", "own w", "y", {})], (1, 16), {"w": WEIGHT})
    opset = onnx.helper.make_opsetid("", 17)
    node = onnx.helper.make_node(operation, ["a"], ["b"])
    model.functions.append(onnx.helper.make_function("own", "Own", ["a"], ["b"], [node], [opset]))
    assert harmless(loaded(tmp_path, model)).dim == dim
