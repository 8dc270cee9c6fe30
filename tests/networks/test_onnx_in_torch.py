"""ONNX networks in torch: their outputs are the runtime's, their derivatives those of finite differences."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import blindspace as bs
from blindspace.errors import PrecisionError, UnsupportedLayerError
from blindspace.invariances.features import Features
from blindspace.networks import layers


def written(folder: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], version: int = 17) -> str:
    """A file of a network from x (N, 2, 6, 6) to y."""
    constants = [numpy_helper.from_array(w, name) for name, w in weights.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 6, 6])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes, "net", [given], [made], constants), ir_version=8)
    model.opset_import[0].version = version
    path = folder / "net.onnx"
    onnx.save(model, path)
    return str(path)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def attention(folder: Path) -> str:
    """Patches, one attention and a perceptron, with the shapes that exporters compute."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "patch"], ["c"], name="patches", kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["c"], ["shape"]),
        node("Slice", ["shape", "zero", "two"], ["lead"]),
        node("Concat", ["lead", "minus"], ["sizes"], axis=0),
        node("Reshape", ["c", "sizes"], ["flat"]),
        node("Transpose", ["flat"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["t", "wq"], ["q"], name="query"),
        node("MatMul", ["t", "wk"], ["k0"], name="key"),
        node("Transpose", ["k0"], ["k"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k"], ["scores"]),
        node("Softmax", ["scores"], ["weights"], axis=-1),
        node("MatMul", ["weights", "t"], ["mixed"]),
        node("Add", ["mixed", "t"], ["sum"]),
        node("LayerNormalization", ["sum", "scale"], ["norm"], axis=-1),
        node("Tanh", ["norm"], ["g"]),
        node("ReduceMean", ["g"], ["mean"], axes=[1], keepdims=0),
        node("Gemm", ["mean", "head", "bias"], ["y"], name="head"),
    ]
    weights = {
        "patch": random(4, 2, 2, 2), "zero": np.array([0]), "two": np.array([2]), "minus": np.array([-1]),
        "wq": random(4, 4), "wk": random(4, 4), "scale": random(4), "head": random(4, 3), "bias": random(3),
    }  # fmt: skip
    return written(folder, nodes, weights)


def convolutions(folder: Path) -> str:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"]),
        node("LeakyRelu", ["n"], ["r"], alpha=0.2),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "w2"], ["second_out"], name="second"),
        node("Clip", ["second_out", "low", "high"], ["clipped"]),
        node("Div", ["clipped", "two"], ["halved"]),
        node("Flatten", ["halved"], ["y"]),
    ]
    weights = {
        "w": random(3, 2, 3, 3), "s": random(3), "b": random(3), "m": random(3), "v": np.abs(random(3)) + 0.5,
        "w2": random(2, 3, 2, 2), "low": np.float32(-1.0), "high": np.float32(1.5), "two": np.float32(2),
    }  # fmt: skip
    return written(folder, nodes, {name: np.array(w) for name, w in weights.items()})


@pytest.mark.parametrize("make", [attention, convolutions])
def test_outputs_and_derivatives(tmp_path: Path, make: object) -> None:
    network = bs.load(make(tmp_path))  # type: ignore[operator]
    x = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for layer in ("outputs", *(each.name for each in layers(network))):
        f = Features(network, layer)
        assert f.dtype == torch.float64
        near = (f(x + 1e-6 * v) - f(x - 1e-6 * v)) / 2e-6
        torch.testing.assert_close(f.jvp(x, v), near, atol=1e-5, rtol=1e-5)
    own = network.outputs(x).double()
    torch.testing.assert_close(Features(network)(x), own, atol=1e-5, rtol=1e-5)
    last = layers(network)[-1]
    z = Features(network, last.name)(x)
    assert z.shape == (3, *last.operator.in_shape)


def test_what_goes_past_a_layer(tmp_path: Path) -> None:
    network = bs.load(attention(tmp_path))
    assert bs.through(network, "patches").demands == ("what patches computes",)
    # The tokens go past both of them: nothing else can be asked for.
    for name in ("query", "key"):
        (demand,) = bs.through(network, name).demands
        assert demand.endswith(f"which is read beside {name}")
    x = 0.1 + 0.8 * torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = bs.through(network, "head").find(x, 0.1, beyond_front=True)
    assert found.reasons == ("",)
    assert max(found.output_change) <= 1e-7
    assert max(found.own_output_change) <= 1e-4


def test_operations_that_are_not_known(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("LpNormalization", ["r"], ["y"], axis=1, p=1)]
    network = bs.load(written(tmp_path, nodes, {}))
    with pytest.raises(UnsupportedLayerError, match="LpNormalization y has no derivative here"):
        Features(network)
    with pytest.raises(PrecisionError, match=r"in float64, not in torch\.float32"):
        network.differentiable(torch.float32)


@pytest.mark.skipif("BLINDSPACE_MODELS" not in os.environ, reason="needs the networks of VNN-COMP")
@pytest.mark.parametrize("name", ["ibp_3_3_8.onnx.gz", "resnet_2b.onnx", "cifar_base_kw.onnx", "mnist-net_256x2.onnx"])
def test_networks_of_others(name: str) -> None:
    network = bs.load(str(Path(os.environ["BLINDSPACE_MODELS"]) / name))
    x = torch.rand(2, *network.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(Features(network)(x), network.outputs(x).double(), atol=1e-4, rtol=1e-4)
