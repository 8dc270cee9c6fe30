"""Tiny ONNX graphs, affine throughout, on which the rules of every operation and option are tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from numpy.typing import NDArray

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One graph from ``x`` to ``y``, or to more outputs.

    Attributes:
        id: name of the case.
        nodes: (operation, inputs, outputs, attributes) of each, in their order.
        tensor: shape of x, the batch included.
        weights: by name; a shape stands for random numbers.
        outputs: of the graph.
        opset: of the standard.
    """

    id: str
    nodes: Sequence[tuple[str, str, str, dict[str, Any]]]
    tensor: Shape
    weights: Mapping[str, Any] = field(default_factory=dict)
    outputs: str = "y"
    opset: int = 17

    def model(self, dims: Sequence[Any] | None = None) -> Any:
        """The graph as a model, with the same weights on every call.

        Args:
            dims: Sizes of x that the file declares; its shape if None.
        """
        random = np.random.default_rng(crc32(self.id.encode()))
        weights = {
            name: random.standard_normal(w).astype(np.float32) if isinstance(w, tuple) else np.array(w)
            for name, w in self.weights.items()
        }
        return build(self.nodes, self.tensor if dims is None else dims, weights, self.outputs, self.opset)


def build(
    nodes: Sequence[tuple[str, str, str, dict[str, Any]]],
    dims: Sequence[Any],
    weights: Mapping[str, Array] | None = None,
    outputs: str = "y",
    opset: int = 17,
    kind: int = onnx.TensorProto.FLOAT,
) -> Any:
    """A model; names are separated by blanks, an operation of another domain is spelled ``domain:Name``."""
    made = []
    for index, (op, read, written, attributes) in enumerate(nodes):
        domain, _, name = op.rpartition(":")
        read_names = [each.replace("-", "") for each in read.split()]
        made.append(
            onnx.helper.make_node(
                name,
                read_names,
                [each.replace("-", "") for each in written.split()],
                name=f"n{index}",
                domain=domain,
                **attributes,
            )
        )
    graph = onnx.helper.make_graph(
        made,
        "graph",
        [onnx.helper.make_tensor_value_info("x", kind, list(dims))],
        [onnx.ValueInfoProto(name=name) for name in outputs.split()],
        [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opsets = [onnx.helper.make_opsetid("", opset)]
    opsets += [onnx.helper.make_opsetid(domain, 1) for domain in {node.domain for node in made} - {""}]
    # The outputs get their types, which the checker asks for.
    return onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))


def one(
    name: str, op: str, tensor: Shape, opset: int = 17, weights: Mapping[str, Any] | None = None, **given: Any
) -> Case:
    """A graph of a single operation that reads x and then its weights."""
    weights = weights or {}
    return Case(name, [(op, " ".join(["x", *weights]), "y", given)], tensor, weights, opset=opset)


def ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def floats(*values: float) -> Array:
    return np.array(values, dtype=np.float32)


IMAGE = (1, 2, 5, 6)
W = {"w": (3, 2, 3, 3)}

CONVOLUTIONS = [
    one("conv", "Conv", IMAGE, weights={**W, "b": (3,)}),
    one("conv-1d", "Conv", (1, 2, 9), weights={"w": (3, 2, 4)}, strides=[2], pads=[1, 2]),
    one("conv-3d", "Conv", (1, 2, 3, 4, 3), weights={"w": (2, 2, 2, 3, 2)}, strides=[1, 2, 1], pads=[1, 0, 1, 0, 1, 0]),
    one("conv-uneven-pads", "Conv", IMAGE, weights=W, pads=[0, 1, 2, 0], strides=[2, 1]),
    one("conv-dilated", "Conv", (1, 2, 7, 8), weights=W, dilations=[2, 3], pads=[1, 1, 1, 1]),
    one("conv-groups", "Conv", (1, 4, 5, 5), weights={"w": (6, 2, 3, 3)}, group=2),
    one("conv-depthwise", "Conv", (1, 3, 5, 5), weights={"w": (3, 1, 3, 3)}, group=3, pads=[1, 1, 1, 1]),
    *[
        one(
            f"conv-{auto.lower()}-{stride}-{kernel}",
            "Conv",
            IMAGE,
            weights={"w": (2, 2, kernel, 3)},
            auto_pad=auto,
            strides=[stride, stride],
        )
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for stride in (1, 2, 3)
        for kernel in (2, 4)
    ],
    one("conv-two-images", "Conv", (2, 2, 4, 5), weights=W),
    one("transposed-two-images", "ConvTranspose", (2, 4, 3, 3), weights={"w": (4, 2, 2, 3)}, group=2, strides=[2, 1]),
    one("transposed", "ConvTranspose", (1, 2, 4, 3), weights={"w": (2, 3, 3, 3), "b": (3,)}),
    one("transposed-1d", "ConvTranspose", (1, 2, 5), weights={"w": (2, 3, 4)}, strides=[3], pads=[1, 0]),
    one(
        "transposed-strides",
        "ConvTranspose",
        (1, 2, 4, 3),
        weights={"w": (2, 3, 3, 2)},
        strides=[2, 3],
        pads=[1, 0, 0, 1],
        output_padding=[1, 2],
    ),
    one("transposed-groups", "ConvTranspose", (1, 4, 3, 3), weights={"w": (4, 2, 3, 3)}, group=2, dilations=[2, 1]),
    one(
        "transposed-shape",
        "ConvTranspose",
        (1, 2, 4, 3),
        weights={"w": (2, 3, 3, 3)},
        strides=[3, 2],
        output_shape=[10, 8],
    ),
    one(
        "transposed-shape-less",
        "ConvTranspose",
        (1, 2, 4, 3),
        weights={"w": (2, 3, 3, 3)},
        strides=[2, 2],
        output_shape=[8, 6],
    ),
    one(
        "transposed-gaps",
        "ConvTranspose",
        (1, 1, 3, 3),
        weights={"w": (1, 2, 1, 2)},
        strides=[2, 3],
        output_padding=[1, 1],
    ),
    *[
        one(
            f"transposed-{auto.lower()}",
            "ConvTranspose",
            (1, 2, 4, 3),
            weights={"w": (2, 3, 3, 4)},
            strides=[2, 2],
            auto_pad=auto,
        )
        for auto in ("SAME_UPPER", "SAME_LOWER")
    ],
]

POOLS = [
    one("pool", "AveragePool", IMAGE, kernel_shape=[2, 3]),
    one("pool-uneven", "AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 2, 1]),
    one(
        "pool-counting",
        "AveragePool",
        IMAGE,
        kernel_shape=[3, 3],
        strides=[2, 1],
        pads=[1, 0, 2, 1],
        count_include_pad=1,
    ),
    one("pool-ceil", "AveragePool", IMAGE, opset=19, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    one(
        "pool-ceil-counting",
        "AveragePool",
        (1, 2, 6, 8),
        opset=19,
        kernel_shape=[3, 3],
        strides=[2, 3],
        pads=[1, 1, 1, 1],
        ceil_mode=1,
        count_include_pad=1,
    ),
    one("pool-dilated", "AveragePool", (1, 2, 6, 7), opset=19, kernel_shape=[2, 3], dilations=[2, 2]),
    one("pool-same", "AveragePool", IMAGE, kernel_shape=[2, 4], strides=[2, 1], auto_pad="SAME_UPPER"),
    one("pool-same-lower", "AveragePool", IMAGE, kernel_shape=[2, 4], strides=[2, 1], auto_pad="SAME_LOWER"),
    one("pool-1d", "AveragePool", (1, 3, 7), kernel_shape=[3], strides=[2]),
    one("pool-global", "GlobalAveragePool", IMAGE),
    one("mean", "ReduceMean", IMAGE, axes=[2, 3]),
    one("mean-flat", "ReduceMean", IMAGE, axes=[-1, -2], keepdims=0),
    one("mean-channels", "ReduceMean", IMAGE, axes=[1]),
    one("mean-batch", "ReduceMean", IMAGE, axes=[0], keepdims=0),
    one("mean-all", "ReduceMean", IMAGE, keepdims=0),
    one("mean-18", "ReduceMean", IMAGE, opset=18, weights={"axes": ints(-2)}),
    one("sum", "ReduceSum", IMAGE, weights={"axes": ints(1, 3)}, keepdims=0),
    one("sum-nothing", "ReduceSum", IMAGE, weights={"axes": ints()}, noop_with_empty_axes=1),
    one("sum-11", "ReduceSum", IMAGE, opset=11, axes=[2]),
]

PRODUCTS = [
    one("gemm", "Gemm", (1, 6), weights={"w": (6, 4), "b": (4,)}),
    one("gemm-turned", "Gemm", (1, 6), weights={"w": (4, 6), "b": (4,)}, transB=1, alpha=0.5, beta=2.0),
    one("gemm-rows", "Gemm", (3, 4), weights={"w": (4, 5)}, alpha=0.25),
    one("gemm-transposed", "Gemm", (4, 3), weights={"w": (4, 5)}, transA=1),
    one("gemm-both-transposed", "Gemm", (4, 3), weights={"w": (5, 4), "b": (3, 5)}, transA=1, transB=1, alpha=3.0),
    one("gemm-column", "Gemm", (1, 3), weights={"w": (1, 5)}, transA=1),
    *[
        Case(
            f"gemm-second-{a}{b}",
            [("Gemm", "w x", "y", {"transA": a, "transB": b, "alpha": 0.5})],
            (3, 4),
            {"w": (2, 4 if b else 3)[:: -1 if a else 1]},
        )
        for a in (0, 1)
        for b in (0, 1)
    ],
    Case("gemm-bias", [("Gemm", "a b x", "y", {"beta": 0.5})], (1, 3), {"a": (2, 4), "b": (4, 3)}),
    Case("gemm-residual", [("Gemm", "x w x", "y", {"beta": 0.5})], (1, 3), {"w": (3, 3)}),
    one("matmul", "MatMul", (1, 5), weights={"w": (5, 3)}),
    one("matmul-tokens", "MatMul", (1, 4, 5), weights={"w": (5, 3)}),
    one("matmul-tokens-wide", "MatMul", (1, 2, 3, 4), weights={"w": (1, 1, 4, 3)}),
    one("matmul-vector", "MatMul", (1, 3, 4), weights={"w": (4,)}),
    one("matmul-heads", "MatMul", (1, 2, 3, 4), weights={"w": (2, 4, 3)}),
    Case("matmul-left", [("MatMul", "w x", "y", {})], (1, 4, 5), {"w": (3, 4)}),
    Case("matmul-left-images", [("MatMul", "w x", "y", {})], IMAGE, {"w": (3, 5)}),
    Case("matmul-left-heads", [("MatMul", "w x", "y", {})], IMAGE, {"w": (2, 3, 5)}),
    Case("matmul-left-of-one", [("MatMul", "w x", "y", {})], (4,), {"w": (3, 4)}),
    one("einsum-permutes", "Einsum", (1, 3, 2, 4, 2), equation="n c h w q -> n h w q c"),
    one("einsum-sums", "Einsum", (1, 3, 4), equation="nij->nj"),
    one("einsum-diagonal", "Einsum", (1, 4, 4), equation="...ii->...i"),
    *[
        Case(
            f"fused-matmul-{a}{b}{order[0]}",
            [("com.microsoft:FusedMatMul", order, "y", {"transA": a, "transB": b, "alpha": 0.5})],
            (1, 3, 3),
            {"w": (3, 3)},
        )
        for a in (0, 1)
        for b in (0, 1)
        for order in ("x w", "w x")
    ],
    Case("einsum", [("Einsum", "w x", "y", {"equation": "hdk,bthd->btk"})], (1, 3, 2, 2), {"w": (2, 2, 4)}),
]

POINTWISE = [
    one("add", "Add", IMAGE, weights={"w": (2, 1, 1)}),
    Case("add-wider", [("Add", "w x", "y", {})], (1, 2, 1, 3), {"w": (1, 2, 4, 3)}),
    Case("add-twice", [("Add", "x x", "y", {})], IMAGE),
    Case(
        "add-branches",
        [("Conv", "x w", "h", {"pads": [1, 1, 1, 1]}), ("Add", "h x", "y", {})],
        IMAGE,
        {"w": (2, 2, 3, 3)},
    ),
    Case("add-narrow-branch", [("ReduceMean", "x", "h", {"axes": [2, 3]}), ("Add", "x h", "y", {})], IMAGE),
    Case("subtract-mean", [("ReduceMean", "x", "h", {"axes": [-1]}), ("Sub", "x h", "y", {})], (1, 3, 4)),
    Case("subtract-from", [("Sub", "w x", "y", {})], IMAGE, {"w": (1,)}),
    Case("sum-of-three", [("Neg", "x", "h", {}), ("Sum", "x w h x", "y", {})], IMAGE, {"w": (6,)}),
    Case("mean-of-three", [("Mean", "x w x", "y", {})], IMAGE, {"w": (6,)}),
    one("multiply", "Mul", IMAGE, weights={"w": (1, 2, 1, 1)}),
    one("multiply-scalar", "Mul", IMAGE, weights={"w": floats(2.5).reshape(())}),
    Case("multiply-wider", [("Mul", "w x", "y", {})], (1, 2, 1, 3), {"w": (4, 3)}),
    Case("multiply-batch", [("Mul", "w x", "y", {})], (1, 2, 3), {"w": (4, 1, 3)}),
    one("divide", "Div", IMAGE, weights={"w": floats(0.5, 3.0).reshape(2, 1, 1)}),
    one("negate", "Neg", IMAGE),
    *[
        one(
            f"norm-{len(tensor)}d",
            "BatchNormalization",
            tensor,
            weights={"s": (2,), "b": (2,), "m": (2,), "v": floats(0.3, 2.0)},
            epsilon=1e-3,
        )
        for tensor in ((1, 2), (1, 2, 4), IMAGE)
    ],
    one("norm-rows", "BatchNormalization", (3, 2), weights={"s": (2,), "b": (2,), "m": (2,), "v": floats(0.3, 2.0)}),
]

MOVES = [
    *[
        one(f"pad-{mode}", "Pad", IMAGE, opset=19, weights={"pads": ints(0, 0, 1, 2, 0, 0, 3, 0)}, mode=mode)
        for mode in ("constant", "reflect", "edge", "wrap")
    ],
    one("pad-2", "Pad", IMAGE, opset=2, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=3.0),
    one("pad-value", "Pad", IMAGE, weights={"pads": ints(0, 1, 0, 0, 0, 0, 0, 1), "value": floats(7).reshape(())}),
    one("pad-crops", "Pad", IMAGE, weights={"pads": ints(0, 0, -1, 2, 0, 0, 0, -3)}),
    one("pad-batch", "Pad", (1, 2, 3), weights={"pads": ints(1, 0, 0, 0, 0, 0)}),
    Case(
        "pad-axes",
        [("Pad", "x pads - axes", "y", {"mode": "reflect"})],
        IMAGE,
        {"pads": ints(2, 1, 0, 1), "axes": ints(-1, 2)},
        opset=19,
    ),
    one("reshape", "Reshape", IMAGE, weights={"shape": ints(0, -1, 3)}),
    one("reshape-batch", "Reshape", IMAGE, weights={"shape": ints(5, 12)}),
    one("flatten", "Flatten", IMAGE),
    one("flatten-deeper", "Flatten", IMAGE, axis=2),
    one("transpose", "Transpose", IMAGE, perm=[0, 3, 1, 2]),
    one("transpose-batch", "Transpose", IMAGE, perm=[2, 0, 3, 1]),
    one("transpose-reversed", "Transpose", (1, 2, 3)),
    one("squeeze", "Squeeze", (1, 2, 1, 3), weights={"axes": ints(2)}),
    one("squeeze-9", "Squeeze", (1, 2, 1, 3), opset=9, axes=[0, 2]),
    one("unsqueeze", "Unsqueeze", (1, 2, 3), weights={"axes": ints(0, -1)}),
    one("slice", "Slice", IMAGE, weights={"starts": ints(1, -3), "ends": ints(4, 9999), "axes": ints(2, -1)}),
    one(
        "slice-steps",
        "Slice",
        IMAGE,
        weights={"starts": ints(-1, 0), "ends": ints(-9999, 5), "axes": ints(3, 2), "steps": ints(-2, 3)},
    ),
    one("slice-9", "Slice", IMAGE, opset=9, starts=[1], ends=[2], axes=[1]),
    Case("concat", [("Neg", "x", "h", {}), ("Concat", "h w x", "y", {"axis": 1})], IMAGE, {"w": (1, 1, 5, 6)}),
    Case("concat-tokens", [("Concat", "w x", "y", {"axis": -2})], (1, 3, 4), {"w": (1, 1, 4)}),
    Case("concat-batch", [("Concat", "x w x", "y", {"axis": 0})], (1, 2, 3), {"w": (2, 2, 3)}),
    Case("split", [("Split", "x", "a b", {"axis": 1})], (1, 4, 3), outputs="a b"),
    Case("split-uneven", [("Split", "x s", "a b c", {"axis": -1})], (1, 2, 6), {"s": ints(1, 3, 2)}, "a b c"),
    Case("split-18", [("Split", "x", "a b c", {"axis": 1, "num_outputs": 3})], (1, 8, 2), outputs="a b c", opset=18),
    Case("split-9", [("Split", "x", "a b", {"axis": 1, "split": [3, 1]})], (1, 4, 3), outputs="a b", opset=9),
    one("gather", "Gather", IMAGE, weights={"i": ints(1, 0, -1, 1)}, axis=2),
    one("gather-one", "Gather", (1, 4, 3), weights={"i": ints(2).reshape(())}, axis=1),
    one("gather-table", "Gather", (1, 4, 3), weights={"i": ints(0, 1, 2, 3).reshape(2, 2)}, axis=1),
    one("gather-elements", "GatherElements", (1, 2, 3), weights={"i": ints(2, 0).reshape(1, 2, 1)}, axis=2),
    one("gather-nd", "GatherND", (1, 2, 3), weights={"i": ints(0, 1, 2, 0, 0, 0).reshape(2, 3)}),
    one("expand", "Expand", (1, 2, 1), weights={"shape": ints(3, 1, 4)}),
    one("tile", "Tile", (1, 2, 3), weights={"n": ints(1, 3, 2)}),
    one("lower-triangle", "Trilu", (1, 4, 4), upper=0),
    one("crop-and-pad", "CenterCropPad", (1, 2, 5, 4), opset=18, weights={"n": ints(3, 7)}, axes=[2, 3]),
    one("reversed", "ReverseSequence", (1, 4, 2), weights={"n": ints(3)}, batch_axis=0, time_axis=1),
    *[one(f"depth-to-space-{mode}", "DepthToSpace", (1, 8, 2, 3), blocksize=2, mode=mode) for mode in ("DCR", "CRD")],
    one("space-to-depth", "SpaceToDepth", (1, 2, 4, 6), blocksize=2),
    one("identity", "Identity", IMAGE),
    one("max-of-one", "Max", IMAGE),
    one("max-pool-of-one", "MaxPool", IMAGE, kernel_shape=[1, 1], strides=[2, 3]),
    Case(
        "where", [("Neg", "x", "h", {}), ("Where", "c x h", "y", {})], IMAGE, {"c": np.array([True, False, False] * 2)}
    ),
    Case("where-constant", [("Where", "c w x", "y", {})], (1, 1, 6), {"c": np.eye(4, 6) > 0, "w": floats(-np.inf)}),
    one("compress", "Compress", IMAGE, weights={"c": np.array([True, False, True, True])}, axis=3),
    one("compress-flat", "Compress", (1, 2, 3), weights={"c": np.array([False, True, True, False, True])}),
    one("scatter-nd", "ScatterND", (1, 8), weights={"i": ints(0, 2, 0, 5).reshape(2, 2), "u": (2,)}),
    Case("scatter-nd-into", [("ScatterND", "w i x", "y", {})], (1, 3), {"w": (4, 3), "i": ints(2).reshape(1, 1)}),
    Case(
        "scatter-both",
        [("Slice", "x b e", "h", {}), ("ScatterElements", "x i h", "y", {"axis": 1})],
        (1, 5),
        {"b": ints(0, 1), "e": ints(1, 3), "i": ints(4, 0).reshape(1, 2)},
    ),
    one("scatter-9", "Scatter", (1, 5), opset=9, weights={"i": ints(4, 0).reshape(1, 2), "u": (1, 2)}, axis=1),
    one("cast-like", "CastLike", IMAGE, weights={"w": floats(0).astype(np.float64)}),
    Case("dropout-mask", [("Dropout", "x", "d mask", {}), ("Neg", "d", "y", {})], IMAGE),
    Case(
        "dropout-mask-read",
        [("Dropout", "x", "d mask", {}), ("Cast", "mask", "m", {"to": 1}), ("Add", "d m", "y", {})],
        IMAGE,
    ),
    *[
        Case(
            f"sequence-{keep}",
            [
                ("SplitToSequence", "x", "q", {"axis": 1, "keepdims": keep}),
                ("SequenceAt", "q last", "a", {}),
                ("SequenceErase", "q first", "r", {}),
                ("SequenceInsert", "r a first", "t", {}),
                ("SequenceInsert", "t w", "u", {}),
                ("ConcatFromSequence", "u", "y", {"axis": 1, "new_axis": 1 - keep}),
            ],
            (1, 4, 3),
            {"last": ints(-1).reshape(()), "first": ints(0).reshape(()), "w": (1, 1, 3) if keep else (1, 3)},
        )
        for keep in (0, 1)
    ],
    Case(
        "sequence-sizes",
        [
            ("SplitToSequence", "x n", "q", {"axis": -1}),
            ("SequenceAt", "q one", "a", {}),
            ("SequenceLength", "q", "l", {}),
            ("Cast", "l", "k", {"to": 1}),
            ("Mul", "a k", "y", {}),
        ],
        (1, 2, 6),
        {"n": ints(1, 3, 2), "one": ints(1).reshape(())},
    ),
    Case(
        "sequence-made",
        [("Neg", "x", "h", {}), ("SequenceConstruct", "h w x", "q", {}), ("ConcatFromSequence", "q", "y", {"axis": 2})],
        (1, 2, 3),
        {"w": (1, 2, 2)},
    ),
    one("cast", "Cast", IMAGE, to=onnx.TensorProto.DOUBLE),
    one("dropout", "Dropout", IMAGE),
    one("dropout-9", "Dropout", IMAGE, opset=9, ratio=0.3),
]

AXES = [
    *[
        one(
            f"cumulative-sum-{axis}{e}{r}",
            "CumSum",
            (1, 3, 4),
            weights={"a": ints(axis).reshape(())},
            exclusive=e,
            reverse=r,
        )
        for axis in (1, -1)
        for e in (0, 1)
        for r in (0, 1)
    ],
    one("fourier", "DFT", (1, 5, 1), opset=17),
    one("fourier-onesided", "DFT", (1, 2, 6, 1), opset=17, axis=2, onesided=1),
    one("fourier-inverse", "DFT", (1, 5, 3, 2), opset=17, axis=-3, inverse=1),
    Case(
        "fourier-20",
        [("DFT", "x n a", "y", {})],
        (1, 4, 3, 1),
        {"n": ints(7).reshape(()), "a": ints(1).reshape(())},
        opset=20,
    ),
    one("fourier-20-last", "DFT", (1, 4, 3, 2), opset=20),
    one("short-time", "STFT", (1, 16, 1), weights={"step": ints(3).reshape(()), "w": (5,)}),
    one("short-time-flat", "STFT", (1, 16), weights={"step": ints(3).reshape(()), "w": (6,), "n": ints(6).reshape(())}),
    Case(
        "short-time-whole",
        [("STFT", "x step - n", "y", {"onesided": 0})],
        (1, 9, 2),
        {"step": ints(2).reshape(()), "n": ints(4).reshape(())},
    ),
    *[
        one(
            f"grid-{mode}-{padding}-{corners}",
            "GridSample",
            IMAGE,
            opset=20,
            weights={"g": np.random.default_rng(0).uniform(-1.4, 1.4, (1, 3, 4, 2)).astype(np.float32)},
            mode=mode,
            padding_mode=padding,
            align_corners=corners,
        )
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ],
    one("grid-16", "GridSample", IMAGE, opset=16, weights={"g": floats(*np.linspace(-1, 1, 8)).reshape(1, 2, 2, 2)}),
    one("add-infinite", "Add", (1, 3, 3), weights={"w": np.triu(np.full((3, 3), -np.inf, np.float32), 1)}),
]

SAME = {"s": (2,), "b": (2,)}

COLUMNS = [
    Case("kernels", [("Conv", "k x b", "y", {"pads": [1, 0, 1, 0]})], (1, 2, 3, 3), {"k": (2, 2, 4, 5), "b": (1,)}),
    Case("biases", [("Conv", "k w x", "y", {})], (3,), {"k": (1, 2, 4, 5), "w": (3, 2, 3, 3)}),
    Case("kernels-transposed", [("ConvTranspose", "k x", "y", {"group": 2})], (2, 1, 3, 3), {"k": (1, 2, 2, 3)}),
    one("windows-added", "Col2Im", (1, 8, 6), weights={"n": ints(3, 4), "k": ints(2, 2)}, opset=18),
    Case("norm-scale", [("LayerNormalization", "w x b", "y", {})], (4,), {"w": (2, 3, 4), "b": (4,)}),
    Case("norm-bias", [("InstanceNormalization", "w s x", "y", {})], (2,), {"w": (1, 2, 4), "s": (2,)}),
    Case(
        "norm-mean", [("BatchNormalization", "w s b x v", "y", {})], (2,), {**SAME, "w": (1, 2, 4), "v": floats(1, 2)}
    ),
    *[
        Case(
            f"scatter-add-{order}",
            [("ScatterND", f"{order[0]} i {order[1]}", "y", {"reduction": "add"})],
            tensor,
            {"w": other, "i": ints(2, 1, 2).reshape(3, 1)},
            opset=16,
        )
        for order, tensor, other in (("xw", (4, 2), (3, 2)), ("wx", (3, 2), (4, 2)))
    ],
    Case(
        "scatter-elements-add",
        [("ScatterElements", "w i x", "y", {"reduction": "add", "axis": 1})],
        (1, 3),
        {"w": (1, 5), "i": ints(4, 0, 4).reshape(1, 3)},
        opset=16,
    ),
    one(
        "regions",
        "RoiAlign",
        IMAGE,
        weights={"r": floats(0, 0, 3, 4, 1, 1, 2.5, 5).reshape(2, 4), "i": ints(0, 0)},
        output_height=2,
        output_width=3,
    ),
    Case("one-hot", [("OneHot", "i n x", "y", {})], (2,), {"i": ints(0, 3, 1), "n": ints(4)}),
    Case("likelihood", [("NegativeLogLikelihoodLoss", "x t", "y", {})], (3, 5), {"t": ints(0, 4, 2)}),
    Case(
        "steps",
        [("DequantizeLinear", "q x z", "y", {"axis": 1})],
        (3,),
        {"q": np.arange(6, dtype=np.uint8).reshape(2, 3), "z": np.array([1, 2, 3], np.uint8)},
    ),
    Case("slopes", [("PRelu", "w x", "y", {})], (2, 1), {"w": (1, 2, 3)}),
    one(
        "scatter-multiplies",
        "ScatterND",
        (4, 2),
        weights={"i": ints(2, 1, 2).reshape(3, 1), "u": (3, 2)},
        opset=16,
        reduction="mul",
    ),
    one(
        "unpooled",
        "MaxUnpool",
        (1, 1, 2, 2),
        weights={"i": ints(5, 7, 13, 15).reshape(1, 1, 2, 2)},
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
    Case("affine-grid", [("AffineGrid", "x n", "y", {})], (1, 2, 3), {"n": ints(1, 1, 3, 4)}, opset=20),
    Case("constant-cast-like", [("CastLike", "w x", "c", {}), ("Add", "x c", "y", {})], IMAGE, {"w": ints(3)}),
    Case(
        "empty-part",
        [("Split", "x n", "a b", {"axis": 1}), ("Concat", "b a", "y", {"axis": 1})],
        (1, 4),
        {"n": ints(4, 0)},
        opset=18,
    ),
]

SCALED = {"r": floats(), "s": floats(1, 1, 1.6, 0.5)}
SIZED = {"r": floats(), "s": floats(), "n": ints(1, 2, 8, 3)}
HALVES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")

RESIZES = [
    *[
        one(
            f"resize-{mode}-{place}-{by}",
            "Resize",
            IMAGE,
            opset=19,
            weights=weights,
            mode=mode,
            coordinate_transformation_mode=place,
        )
        for mode in ("nearest", "linear", "cubic")
        for place in (*HALVES, "half_pixel_symmetric")
        for by, weights in (("scales", SCALED), ("sizes", SIZED))
    ],
    *[
        one(f"resize-nearest-{rounding}", "Resize", IMAGE, weights=SCALED, nearest_mode=rounding)
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ],
    *[
        one(
            f"resize-antialias-{mode}-{place}-{outside}",
            "Resize",
            (1, 2, 9, 7),
            opset=18,
            mode=mode,
            antialias=1,
            exclude_outside=outside,
            weights={"r": floats(), "s": floats(), "n": ints(1, 2, 4, 10)},
            coordinate_transformation_mode=place,
        )
        for mode in ("linear", "cubic")
        for place in ("half_pixel", "align_corners")
        for outside in (0, 1)
    ],
    one("resize-cubic-outside", "Resize", IMAGE, weights=SCALED, mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    one(
        "resize-crop",
        "Resize",
        IMAGE,
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=5.0,
        weights={"r": floats(0, 0, 0.2, -0.1, 1, 1, 0.7, 0.9), "s": floats(), "n": ints(1, 2, 4, 7)},
    ),
    one(
        "resize-aspect",
        "Resize",
        IMAGE,
        opset=18,
        mode="linear",
        keep_aspect_ratio_policy="not_larger",
        axes=[2, 3],
        weights={"r": floats(), "s": floats(), "n": ints(8, 7)},
    ),
    one(
        "resize-into-one",
        "Resize",
        IMAGE,
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
        weights={"r": floats(), "s": floats(), "n": ints(1, 2, 1, 3)},
    ),
    one(
        "resize-corner",
        "Resize",
        IMAGE,
        mode="linear",
        coordinate_transformation_mode="align_corners",
        weights={"r": floats(), "s": floats(), "n": ints(1, 2, 1, 1)},
    ),
    one(
        "resize-last-axes",
        "Resize",
        (1, 5, 6, 2),
        mode="linear",
        weights={"r": floats(), "s": floats(), "n": ints(1, 8, 6, 2)},
    ),
    one(
        "resize-crop-nearest",
        "Resize",
        IMAGE,
        mode="nearest",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=10.0,
        weights={"r": floats(0, 0, -0.5, -0.5, 1, 1, 1.5, 1.5), "s": floats(), "n": ints(1, 2, 6, 7)},
    ),
    one("resize-1d", "Resize", (1, 2, 5), mode="linear", weights={"r": floats(), "s": floats(1, 1, 2)}),
    one("resize-10", "Resize", IMAGE, opset=10, mode="linear", weights={"s": floats(1, 1, 2, 2)}),
    one("upsample", "Upsample", IMAGE, opset=9, mode="linear", weights={"s": floats(1, 1, 2, 3)}),
    one("upsample-nearest", "Upsample", IMAGE, opset=9, weights={"s": floats(1, 1, 2, 3)}),
    one("upsample-7", "Upsample", IMAGE, opset=7, scales=[1.0, 1.0, 2.0, 1.0]),
]

CONSTANT = onnx.numpy_helper.from_array(np.array([[1, -2, 3], [4, 5, 6]], dtype=np.float32), "c")

CHAINS = [
    Case("constant-node", [("Constant", "", "c", {"value": CONSTANT}), ("Mul", "x c", "y", {})], (1, 2, 3)),
    Case(
        "constant-of-shape",
        [
            ("Shape", "x", "s", {}),
            ("ConstantOfShape", "s", "c", {"value": onnx.numpy_helper.from_array(floats(2), "v")}),
            ("Mul", "x c", "y", {}),
        ],
        (1, 2, 3),
    ),
    Case(
        "shape-chain",
        [
            ("Conv", "x w", "h", {}),
            ("Shape", "h", "s", {}),
            ("Gather", "s two", "k", {}),
            ("Concat", "minus k", "t", {"axis": 0}),
            ("Reshape", "h t", "y", {}),
        ],
        IMAGE,
        {"w": (3, 2, 3, 3), "two": ints(2), "minus": ints(-1)},
    ),
    Case(
        "quantised-weight",
        [("DequantizeLinear", "q s z", "w", {"axis": 0}), ("Conv", "x w", "y", {})],
        IMAGE,
        {
            "q": np.arange(-9, 9, dtype=np.int8).reshape(1, 2, 3, 3),
            "s": floats(0.25),
            "z": np.array([3], dtype=np.int8),
        },
    ),
    Case(
        "images-to-tokens",
        [
            ("Conv", "x w b", "h", {"strides": [2, 2]}),
            ("Reshape", "h s", "f", {}),
            ("Transpose", "f", "t", {"perm": [0, 2, 1]}),
            ("Concat", "c t", "k", {"axis": 1}),
            ("Add", "k p", "y", {}),
        ],
        (1, 2, 4, 6),
        {"w": (5, 2, 2, 2), "b": (5,), "s": ints(0, 5, -1), "c": (1, 1, 5), "p": (1, 7, 5)},
    ),
    Case(
        "focus",
        [("Slice", f"x s{i} e a t", f"p{i}", {}) for i in range(4)]
        + [("Concat", "p0 p1 p2 p3", "f", {"axis": 1}), ("Conv", "f w", "y", {})],
        (1, 2, 6, 6),
        {
            "w": (3, 8, 2, 2),
            "e": ints(99, 99),
            "a": ints(2, 3),
            "t": ints(2, 2),
            **{f"s{i}": ints(i % 2, i // 2) for i in range(4)},
        },
    ),
]

CASES = [*CONVOLUTIONS, *POOLS, *PRODUCTS, *POINTWISE, *MOVES, *AXES, *COLUMNS, *RESIZES, *CHAINS]
