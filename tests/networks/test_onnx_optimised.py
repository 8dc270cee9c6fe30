"""ONNX networks as onnxruntime's optimiser and scikit-learn's converters leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import blindspace as bs
from blindspace.networks import layers
from blindspace.networks.onnx.fused import block
from onnx_cases import build, floats, onnx

runtime: Any = pytest.importorskip("onnxruntime")

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")

RNG = np.random.default_rng(0)
NEITHER: Any = {"kernel_shape": [2, 2], "strides": [2, 2]}


def kernels(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


GRAPHS: dict[str, tuple[Any, tuple[int, ...], dict[str, Any], int]] = {
    "pictures": (
        [("Conv", "x w b", "c", {"strides": [4, 4]}), ("Relu", "c", "r", {}), ("MaxPool", "r", "m", NEITHER),
         ("Conv", "m v", "d", {"pads": [1, 1, 1, 1]}), ("Add", "d m", "e", {}), ("Relu", "e", "f", {}),
         ("Conv", "f g", "h", {"group": 20}), ("Flatten", "h", "y", {})],
        (1, 3, 8, 8),
        {"w": kernels(20, 3, 4, 4), "b": kernels(20), "v": kernels(20, 20, 3, 3), "g": kernels(20, 1, 1, 1)},
        192 - 80,
    ),
    "channels that fill blocks": (
        [("Conv", "x w", "c", {"strides": [2, 2]}), ("Conv", "c v", "d", {}), ("Relu", "d", "y", {})],
        (1, 48, 4, 4), {"w": kernels(32, 48, 2, 2), "v": kernels(16, 32, 1, 1)}, 768 - 64,
    ),
    "channels that leave a block": (
        [("Conv", "x w", "c", {"strides": [2, 2], "pads": [0, 0, 1, 1]}), ("Sigmoid", "c", "y", {})],
        (1, 20, 4, 4), {"w": kernels(12, 20, 2, 2)}, 320 - 48,
    ),
    "a clip": (
        [("Conv", "x w", "c", {"strides": [4, 4]}), ("Clip", "c low high", "y", {})],
        (1, 3, 8, 8), {"w": kernels(4, 3, 4, 4), "low": floats(0).reshape(()), "high": floats(6).reshape(())}, 192 - 16,
    ),
    "a sum before the activation": (
        [("Conv", "x w", "c", {"strides": [4, 4]}), ("Conv", "x v", "d", {"strides": [4, 4]}), ("Add", "c d", "e", {}),
         ("Relu", "e", "y", {})],
        (1, 3, 8, 8), {"w": kernels(4, 3, 4, 4), "v": kernels(4, 3, 4, 4)}, 192 - 16,
    ),
    "a layer norm of a sum": (
        [("MatMul", "x w", "c", {}), ("MatMul", "x v", "d", {}), ("Add", "c d", "e", {}),
         ("LayerNormalization", "e s t", "n", {"axis": -1}), ("Gelu", "n", "y", {})],
        (1, 4, 12), {"w": kernels(12, 8), "v": kernels(12, 8), "s": kernels(8), "t": kernels(8)}, 4 * (12 - 7),
    ),
    "a product": (
        [("Gemm", "x w b", "c", {"transB": 1}), ("Relu", "c", "y", {})],
        (1, 12), {"w": kernels(5, 12), "b": kernels(5)}, 7,
    ),
}  # fmt: skip


def optimised(model: Any, path: Path, level: str) -> Any:
    """The file that onnxruntime writes after it has optimised a model."""
    options = runtime.SessionOptions()
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", GRAPHS)
def test_an_optimised_file_is_the_network_that_it_was(name: str, level: str, tmp_path: Path) -> None:
    nodes, tensor, weights, dim = GRAPHS[name]
    model = build(nodes, tensor, weights, opset=20)
    optimised(model, tmp_path / "net.onnx", level)
    found = bs.load(tmp_path / "net.onnx")
    x = torch.rand(2, *tensor[1:])
    opened = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    own = torch.cat([torch.from_numpy(opened.run(None, {"x": image[None].numpy()})[0]) for image in x])
    assert torch.allclose(found.outputs(x), own, atol=1e-4)
    space = bs.harmless(found)
    assert space.dim == dim
    bs.verify(found, x, x + space.sample(2))
    assert [layer.kind for layer in layers(found)] == [op for op, *_ in nodes if op in ("Conv", "MatMul", "Gemm")]


def test_blocks_are_those_of_this_machine(tmp_path: Path) -> None:
    nodes, tensor, weights, _ = GRAPHS["pictures"]
    model = optimised(build(nodes, tensor, weights), tmp_path / "net.onnx", "ORT_ENABLE_ALL")
    blocked = [node for node in model.graph.node if node.domain == "com.microsoft.nchwc"]
    assert bool(blocked) == (block() > 1)


@pytest.mark.parametrize("op", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
@pytest.mark.parametrize("biased", [False, True])
def test_a_norm_with_its_sum_inside(op: str, biased: bool, tmp_path: Path) -> None:
    """A layer norm loses the mean of the sum, and its simplified form, a root mean square, nothing."""
    read = "c d s" + ("" if "Simplified" in op else " t") + (" b" if biased else "")
    nodes: list[Any] = [
        ("MatMul", "x w", "c", {}),
        ("MatMul", "x v", "d", {}),
        (f"com.microsoft:{op}", read, "y - - z", {}),
    ]
    weights = {"w": kernels(12, 8), "v": kernels(12, 8), "s": kernels(8), "t": kernels(8), "b": kernels(8)}
    model = build(nodes, (1, 4, 12), weights)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert bs.harmless(bs.load(tmp_path / "net.onnx")).dim == 4 * (12 - (8 if "Simplified" in op else 7))
    nodes[-1] = (f"com.microsoft:{op}", read, "y - - z", {})
    model = build(nodes, (1, 4, 12), weights, outputs="y z")  # the sum is an output: nothing of it is lost
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert bs.harmless(bs.load(tmp_path / "net.onnx")).dim == 4 * (12 - 8)


# --- scikit-learn ----------------------------------------------------------------------------------------------------

SCALER: Any = ("ai.onnx.ml:Scaler", "x", "z", {"offset": [0.5] * 6, "scale": [2.0, 1.0, 3.0, 1.0, 1.0, 1.0]})


@pytest.mark.parametrize(
    ("op", "outputs", "rows", "options"),
    [
        ("LinearClassifier", "label p", 3, {"classlabels_ints": [5, 6, 7], "post_transform": "SOFTMAX"}),
        ("LinearClassifier", "label p", 2, {"classlabels_strings": ["a", "b"], "post_transform": "LOGISTIC"}),
        ("LinearClassifier", "label p", 1, {"classlabels_ints": [0, 1], "post_transform": "LOGISTIC"}),
        ("LinearRegressor", "p", 1, {"targets": 1}),
        ("LinearRegressor", "p", 2, {"targets": 2}),
    ],
)
def test_linear_models_of_scikit_learn(
    op: str, outputs: str, rows: int, options: dict[str, Any], tmp_path: Path
) -> None:
    given = {"coefficients": kernels(rows * 6).tolist(), "intercepts": kernels(rows).tolist(), **options}
    model = build([SCALER, (f"ai.onnx.ml:{op}", "z", outputs, given)], ("N", 6), outputs=outputs)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    found = bs.load(tmp_path / "net.onnx")
    x = torch.rand(3, 6)
    opened = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    own = torch.from_numpy(opened.run(["p"], {"x": x.numpy()})[0])
    assert torch.allclose(found.outputs(x)[:, -own.shape[1] :], own, atol=1e-6)
    assert bs.harmless(found).dim == 6 - rows


@pytest.mark.parametrize(("scale", "offset"), [([2.0], [1.0]), ([2.0] * 4, [1.0, 2.0, 3.0, 4.0])])
def test_scaling_is_affine(scale: list[float], offset: list[float], tmp_path: Path) -> None:
    options = {name: x for name, x in (("scale", scale), ("offset", offset)) if x}
    nodes: list[Any] = [("ai.onnx.ml:Scaler", "x", "z", options), ("MatMul", "z w", "c", {}), ("Relu", "c", "y", {})]
    (tmp_path / "net.onnx").write_bytes(build(nodes, (1, 4), {"w": kernels(4, 3)}).SerializeToString())
    assert bs.harmless(bs.load(tmp_path / "net.onnx")).dim == 1
