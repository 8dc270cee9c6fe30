"""Harmless sets of ONNX nodes: what is drawn from them leaves the runtime's outputs unchanged; units as in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import blindspace as bs
from blindspace.invariances.onnx_sets import RULES, OnnxSets
from blindspace.networks import Network
from blindspace.networks.onnx.network import OnnxNetwork

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SHAPE = (2, 5, 6)

NODES: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, {})
    for name in (
        "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Gelu", "Elu", "Selu", "Celu", "Softplus", "Mish", "HardSwish",
        "Softmax", "LogSoftmax", "GlobalMaxPool", "ThresholdedRelu", "HardSigmoid", "InstanceNormalization",
        "LayerNormalization", "Clip",
    )
}  # fmt: skip
NODES |= {
    "Softmax, axis 1": ("Softmax", {"axis": 1}),
    "HardSigmoid, steep": ("HardSigmoid", {"alpha": 0.9, "beta": 0.2}),
    "LeakyRelu, slope 0": ("LeakyRelu", {"alpha": 0.0}),
    "MaxPool": ("MaxPool", {"kernel_shape": [2, 2]}),
    "MaxPool, pads": ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    "MaxPool, ceil": ("MaxPool", {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1}),
    "MaxPool, window beyond the end": ("MaxPool", {"kernel_shape": [1, 1], "strides": [2, 3], "ceil_mode": 1}),
    "MaxPool, dilated": ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 3]}),
}
GROUPED = ("Softmax", "LogSoftmax", "InstanceNormalization", "LayerNormalization")


def opened(folder: Path, nodes: list[Any], constants: dict[str, np.ndarray[Any, Any]] | None = None) -> Network:
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    x = onnx.helper.make_tensor_value_info("x", 1, ["n", *SHAPE])
    y = onnx.helper.make_tensor_value_info("y", 1, None)
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], weights)
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 22)])
    onnx.save(model, folder / "m.onnx")
    return bs.load(str(folder / "m.onnx"))


def one_node(folder: Path, op: str, given: dict[str, Any]) -> Network:
    beside = {
        "InstanceNormalization": {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)},
        "LayerNormalization": {"scale": np.ones(6, np.float32)},
        "Clip": {"low": np.array(-0.5, np.float32), "high": np.array(0.75, np.float32)},
    }.get(op, {})
    return opened(folder, [onnx.helper.make_node(op, ["x", *beside], ["y"], **given)], beside)


@pytest.mark.parametrize("name", NODES)
def test_what_is_drawn_from_a_set_leaves_the_runtime_s_outputs_unchanged(name: str, tmp_path: Path) -> None:
    op, given = NODES[name]
    network = one_node(tmp_path, op, given)
    x = 1.5 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert isinstance(network, OnnxNetwork)
    ((_, found),) = OnnxSets(network).read(x)
    before = network.outputs(x)
    for delta in found.sample(5, torch.Generator().manual_seed(1), 3.0):
        assert float((network.outputs(x + delta) - before).abs().max()) <= (1e-4 if op in GROUPED else 0)
    # As many units are free as do not move the runtime's outputs by a small step, up or down.
    if op not in GROUPED:
        for image, free in zip(x, found.free, strict=True):
            steps = 1e-2 * torch.eye(image.numel()).view(-1, *SHAPE)
            still = [
                (network.outputs(image + sign * steps) == network.outputs(image[None])).flatten(1).all(1)
                for sign in (1, -1)
            ]
            assert torch.equal(still[0] & still[1] | free.flatten(), free.flatten())
            assert torch.equal(free.flatten() & ~(still[0] | still[1]), torch.zeros(image.numel(), dtype=torch.bool))


def test_every_rule_is_tried() -> None:
    assert {op for op, _ in NODES.values()} == set(RULES)


def test_operations_and_units_of_a_network(tmp_path: Path) -> None:
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(2))
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="conv"),
        node("Relu", ["a"], ["b"], name="first"),
        node("Relu", ["b"], ["c"], name="second"),
        node("Add", ["b", "c"], ["d"]),
        node("GlobalMaxPool", ["d"], ["y"], name="pool"),
    ]
    network = opened(tmp_path, nodes, {"w": weight.numpy()})
    x = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(3))
    listed = [(each.name, each.kind, each.shape, each.harmless_for_network) for each in bs.nonlinearities(network)]
    assert listed == [
        ("first", "relu", (3, 3, 4), True),
        ("second", "relu", (3, 3, 4), False),
        ("pool", "GlobalMaxPool", (3, 3, 4), True),
    ]
    counted = bs.units(network, x)
    a = torch.nn.functional.conv2d(x, weight)
    assert counted.rows[0].dims.tolist() == (a <= 0).flatten(1).sum(1).tolist()
    assert counted.rows[0].always_off == int((a <= 0).all(0).sum())


@pytest.mark.parametrize("last", ["known in torch", "not known in torch"])
@pytest.mark.parametrize("second", ["Relu", "MaxPool", "Softmax", "Clip"])
def test_the_polyhedron_is_that_of_the_same_network_in_torch(last: str, second: str, tmp_path: Path) -> None:
    """A later operation that torch does not know makes the runtime read the values; a second reader counts too."""
    weight, bias = (torch.randn(*shape, generator=torch.Generator().manual_seed(2)) for shape in ((3, 2, 3, 3), (3,)))
    node = onnx.helper.make_node
    options: dict[str, dict[str, Any]] = {"MaxPool": {"kernel_shape": [1, 1]}, "Softmax": {"axis": 1}}
    given = options.get(second, {})
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"]),
        node("Relu", ["a"], ["c"]),
        node(second, ["a", "low", "high"] if second == "Clip" else ["a"], ["d"], **given),
        node("Add", ["c", "d"], ["e"]),
        node("Relu" if last == "known in torch" else "GlobalMaxPool", ["e"], ["y"]),
    ]
    ends = {"low": np.array(-0.5, np.float32), "high": np.array(0.75, np.float32)} if second == "Clip" else {}
    network = opened(tmp_path, nodes, {"w": weight.numpy(), "b": bias.numpy(), **ends})

    beside: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "Relu": torch.relu,
        "MaxPool": lambda a: torch.nn.functional.max_pool2d(a, 1),
        "Softmax": lambda a: a.softmax(1),
        "Clip": lambda a: a.clamp(-0.5, 0.75),
    }

    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a = torch.nn.functional.conv2d(x, weight.to(x), bias.to(x))
            return (a.relu() + beside[second](a)).amax((2, 3))

    x = torch.rand(*SHAPE, generator=torch.Generator().manual_seed(3))
    found, same = (bs.harmless_polyhedron(each, x) for each in (network, bs.load(Same().eval(), SHAPE)))
    assert (found.dim, found.free) == (same.dim, same.free)
    assert (found.free > 0) == (second in ("Relu", "Clip"))
    v = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(4)).double()
    assert torch.allclose(found.project(v), same.project(v), atol=1e-5)
    drawn = found.sample(3, torch.Generator().manual_seed(5))
    assert bool(same.contains(drawn, 1e-5).all())
    assert float((network.outputs((x + drawn).float()) - network.outputs(x[None])).abs().max()) < 1e-4
