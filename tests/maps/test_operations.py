"""The builders of affine operations against torch, and the three front ends against one another."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import ShapeError, UnknownNameError
from blindspace.maps import LinearMap, from_module, operations
from blindspace.maps.linear_map import broadcast
from blindspace.networks import Network
from blindspace.testing import check_map
from followed import Code, Function

Shape = tuple[int, ...]


def weights(*shape: int) -> Tensor:
    """Random numbers that float32 holds exactly; by NumPy, as the recorder takes torch's own for random inputs."""
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)).double()


def dense(function: Function, shape: Shape) -> Tensor:
    """The matrix of an affine function of one array, by unit vectors."""
    start = function(torch.zeros(shape, dtype=torch.float64)).flatten()
    units = torch.eye(start.new_empty(shape).numel(), dtype=torch.float64)
    return torch.stack([function(unit.reshape(shape)).flatten() - start for unit in units], 1)


def batched(function: Function) -> Function:
    """A function of batches for one array."""
    return lambda x: function(x[None])[0]


# --- every builder against torch ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """One call of a builder, and what torch does to the same array."""

    id: str
    builder: Callable[..., LinearMap | None]
    shape: Shape
    reference: Function
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def built(
    builder: Callable[..., LinearMap | None], shape: Shape, reference: Function, *args: Any, **options: Any
) -> Built:
    return Built(
        f"{builder.__name__}-{shape}-{len(args)}-{'-'.join(options)}", builder, shape, reference, args, options
    )


IMAGE = (3, 6, 8)
PAD = ((1, 2), (0, 3))
VARIANCE = (weights(3).float() ** 2).double()
OPS = operations

BUILDERS = [
    built(OPS.reshape, IMAGE, lambda x: x.reshape(9, 16), (9, 16)),
    built(OPS.reshaped, IMAGE, lambda x: x.permute(2, 0, 1).reshape(12, 12), (12, 12)),
    built(OPS.permute, IMAGE, lambda x: x.permute(2, 0, 1), (2, 0, -2)),
    built(OPS.move, IMAGE, lambda x: x.flip(1)[:, :, ::2], OPS.numbered(IMAGE).flip(1)[:, :, ::2]),
    built(OPS.move, IMAGE, lambda x: F.pad(x, (1, -2)), F.pad(OPS.numbered(IMAGE), (1, -2))),
    built(OPS.pad, IMAGE, lambda x: F.pad(x, (0, 3, 1, 2)), PAD),
    built(OPS.pad, IMAGE, lambda x: F.pad(x, (0, 3, 1, 2), mode="reflect"), PAD, mode="reflect"),
    built(OPS.pad, (4, 5), lambda x: F.pad(x, (0, 3, 1, 2), value=2.0), PAD),
    built(OPS.axis_padding, IMAGE, lambda x: F.pad(x, (0, 3, 1, 2), mode="replicate"), PAD, mode="replicate"),
    built(OPS.expand, (3, 1, 2), lambda x: x.expand(4, 3, 5, 2), (4, 3, 5, 2)),
    built(OPS.pixel_shuffle, (8, 3, 2), lambda x: F.pixel_shuffle(x, 2), 2),
    built(OPS.pixel_shuffle, (2, 9, 2, 2), lambda x: F.pixel_shuffle(x, 3), 3),
    built(
        OPS.pixel_shuffle,
        (8, 3, 2),
        lambda x: F.pixel_shuffle(x.reshape(2, 2, 2, 3, 2).permute(2, 0, 1, 3, 4).reshape(8, 3, 2), 2),
        2,
        blocks_first=True,
    ),
    built(OPS.pixel_unshuffle, (2, 4, 6), lambda x: F.pixel_unshuffle(x, 2), 2),
    built(
        OPS.pixel_unshuffle,
        (2, 4, 6),
        lambda x: F.pixel_unshuffle(x, 2).reshape(2, 2, 2, 2, 3).permute(1, 2, 0, 3, 4).reshape(8, 2, 3),
        2,
        blocks_first=True,
    ),
    built(OPS.multiply, (3, 1, 2), lambda x: x * weights(4, 1), weights(4, 1)),
    built(OPS.multiply, IMAGE, lambda x: -2 * x, -2.0),
    built(OPS.summand, (1, 4), lambda x: 0.5 * x + weights(3, 4), (3, 4), 0.5),
    built(
        OPS.batch_norm,
        IMAGE,
        batched(lambda x: F.batch_norm(x, weights(3), weights(3) ** 2, weights(3), weights(3), eps=0.1)),
        weights(3) ** 2,
        0.1,
        weights(3),
    ),
    built(OPS.batch_norm, (4, 3), lambda x: F.batch_norm(x, weights(3), VARIANCE), VARIANCE, 1e-5, axis=-1),
    built(OPS.linear, (2, 5, 4), lambda x: F.linear(x, weights(3, 4), weights(3)), weights(3, 4)),
    built(OPS.matmul, (5, 4), lambda x: x @ weights(4, 3), weights(4, 3)),
    built(OPS.matmul, (2, 5, 4), lambda x: weights(3, 5) @ x, weights(3, 5), left=True),
    built(OPS.matmul, (4,), lambda x: weights(3, 4) @ x, weights(3, 4), left=True),
    built(OPS.matmul, (2, 5, 4), lambda x: x @ weights(4), weights(4)),
    built(OPS.matmul, (2, 5, 4), lambda x: weights(5) @ x, weights(5), left=True),
    built(OPS.matmul, (2, 5, 4), lambda x: x @ weights(2, 4, 3), weights(2, 4, 3)),
    built(OPS.matmul, (5, 4), lambda x: weights(2, 3, 5) @ x, weights(2, 3, 5), left=True),
    built(OPS.matmul, (4,), lambda x: x @ weights(2, 4, 3), weights(2, 4, 3)),
    built(OPS.matmul, (5, 4), lambda x: x @ weights(1, 4, 3), weights(1, 4, 3)),
    built(
        OPS.einsum,
        (2, 5),
        lambda x: torch.einsum("ab,bc,d->cd", x, weights(5, 3), weights(2)),
        "ab,bc,d->cd",
        [None, weights(5, 3), weights(2)],
    ),
    built(OPS.reduce_sum, IMAGE, lambda x: x.sum((0, 2)), (0, -1)),
    built(OPS.reduce_sum, IMAGE, lambda x: x.sum().reshape(1), (0, 1, 2)),
    built(OPS.reduce_sum, IMAGE, lambda x: x.mean((0, 2)), (0, 2), average=True),
    built(
        OPS.convolution,
        IMAGE,
        lambda x: F.conv2d(F.pad(x, (0, 3, 1, 2)), weights(6, 1, 3, 2), None, (2, 1), 0, (1, 2), 3),
        weights(6, 1, 3, 2),
        (2, 1),
        PAD,
        (1, 2),
        3,
    ),
    built(
        OPS.convolution,
        IMAGE,
        lambda x: F.conv2d(x, weights(2, 3, 3, 4), padding="same"),
        weights(2, 3, 3, 4),
        padding="same",
    ),
    built(OPS.convolution, (2, 3, 7), lambda x: F.conv1d(x, weights(4, 3, 3), None, 2), weights(4, 3, 3), 2),
    built(
        OPS.transposed_convolution,
        (4, 3, 5),
        lambda x: F.conv_transpose2d(x, weights(4, 3, 3, 2), None, (2, 3), 1, (1, 2), 2),
        weights(4, 3, 3, 2),
        (2, 3),
        1,
        output_padding=(1, 2),
        groups=2,
    ),
    built(
        OPS.transposed_convolution,
        (2, 4, 5),
        lambda x: F.conv_transpose1d(x, weights(4, 3, 2), None, 1, 0, 2, 1, 3),
        weights(4, 3, 2),
        output_padding=2,
        dilation=3,
    ),
    built(
        OPS.average_pool,
        IMAGE,
        lambda x: F.avg_pool2d(x, (2, 3), (2, 2), (1, 1), True, False),
        (2, 3),
        2,
        1,
        ceil_mode=True,
        count_include_pad=False,
    ),
    built(OPS.average_pool, IMAGE, lambda x: F.avg_pool2d(x, 2, divisor_override=3), (2, 2), divisor=3),
    built(
        OPS.average_pool,
        IMAGE,
        lambda x: F.conv2d(x, torch.full((3, 1, 2, 2), 0.25).double(), dilation=(2, 3), groups=3),
        (2, 2),
        1,
        dilation=(2, 3),
    ),
    built(OPS.adaptive_average_pool, IMAGE, lambda x: F.adaptive_avg_pool2d(x, (4, 3)), (4, 3)),
    built(OPS.adaptive_average_pool, IMAGE, lambda x: F.adaptive_avg_pool2d(x, (None, 3)), (None, 3)),
    built(OPS.resize, IMAGE, batched(lambda x: F.interpolate(x, (5, 9), mode="bilinear")), (5, 9), "bilinear"),
    built(OPS.resize, IMAGE, batched(lambda x: F.interpolate(x, scale_factor=1.7)), None, "nearest", scale=(1.7, 1.7)),
    built(OPS.resample, IMAGE, lambda x: (x.mT @ weights(4, 6).T).mT, [torch.eye(3), weights(4, 6), torch.eye(8)]),
]


def make(case: Built) -> LinearMap:
    if case.builder is operations.reshaped:
        return operations.reshaped(operations.permute(case.shape, (2, 0, 1)), case.shape, *case.args)
    operator = case.builder(case.shape, *case.args, **case.options)
    assert operator is not None
    return operator


@pytest.mark.parametrize("case", BUILDERS, ids=lambda case: case.id)
def test_every_builder_does_what_torch_does(case: Built) -> None:
    operator = make(case)
    assert operator.in_shape == case.shape
    assert operator.out_shape == tuple(case.reference(torch.zeros(case.shape, dtype=torch.float64)).shape)
    expected = dense(case.reference, case.shape)
    torch.testing.assert_close(operator.to_dense(), expected, rtol=0, atol=1e-12)
    assert np.allclose(operator.to_scipy().toarray(), expected, rtol=0, atol=1e-12)
    check_map(operator)


def test_the_table_holds_every_builder() -> None:
    functions = inspect.getmembers(operations, inspect.isfunction)
    public = {name for name, each in functions if each.__module__ == operations.__name__ and name[0] != "_"}
    assert public - {"numbered"} == {case.builder.__name__ for case in BUILDERS}


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: OPS.reshape((3, 4), (5,)), r"12 values"),
        (lambda: OPS.permute((3, 3), (0, 0)), "permutation"),
        (lambda: OPS.pad((3, 4), [(-2, -2), (0, 0)]), "of 3"),
        (lambda: OPS.expand((3, 2), (3, 4)), r"\(3, 2\) does not broadcast to \(3, 4\)"),
        (lambda: OPS.multiply((3, 2), weights(4, 4)), r"\(3, 2\) and \(4, 4\)"),
        (lambda: OPS.batch_norm((4, 2), weights(3), 0.1), "3 channels"),
        (lambda: OPS.linear((4,), weights(2, 3)), "3 features"),
        (lambda: OPS.matmul((), weights(2, 3)), "at least one axis"),
        (lambda: OPS.matmul((2, 5, 4), weights(3, 4, 2)), r"\(3, 4, 2\) cannot be multiplied"),
        (lambda: OPS.matmul((2, 5, 4), weights(2, 3, 2)), r"\(2, 3, 2\) cannot be multiplied"),
        (lambda: OPS.pixel_shuffle((4, 4), 2), "3 axes"),
        (lambda: OPS.pixel_shuffle((6, 4, 4), 2), "rearrange"),
        (lambda: OPS.convolution((4, 5, 5), weights(2, 3, 3, 3)), "3 channels"),
        (lambda: OPS.convolution((3, 5, 5), weights(2, 3, 3, 3), padding="most"), "'most'"),
        (lambda: OPS.transposed_convolution((4, 5, 5), weights(3, 2, 3, 3)), "3 channels"),
        (lambda: OPS.average_pool((2, 3), (4,)), "window of 4"),
        (lambda: OPS.resize((2, 3), None), "size or a scale"),
        (lambda: OPS.resample((2, 3), [weights(2, 2)]), r"\(2, 2\) does not fit axis 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(build: Callable[[], LinearMap], named: str) -> None:
    with pytest.raises(ShapeError, match=named) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_an_unknown_padding_mode_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="mirror"):
        operations.pad(IMAGE, PAD, "mirror")


# --- one operation in three front ends ----------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """One operation as a torch module, as PyTorch code and as an ONNX node: its name, weights by input, attributes."""

    id: str
    shape: Shape
    module: nn.Module | None
    code: Function
    node: str
    inputs: dict[str, Tensor] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def weighted(module: Any, weight: Tensor) -> nn.Module:
    module.weight = nn.Parameter(weight.float())
    made: nn.Module = module
    return made


def normed() -> nn.Module:
    norm = nn.BatchNorm2d(3, eps=0.125)
    norm.running_var = weights(3).float() ** 2
    return weighted(norm, weights(3))


def ints(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


NORM = {"scale": weights(3), "bias": weights(3), "mean": weights(3), "variance": VARIANCE}
SIDES = {"region": weights(0), "scales": weights(0)}

OPERATIONS = [
    Written("linear", (4,), weighted(nn.Linear(4, 3), weights(3, 4)), lambda x: F.linear(x, weights(3, 4)),
            "Gemm", {"w": weights(3, 4)}, {"transB": 1}),
    Written("linear-tokens", (5, 4), weighted(nn.Linear(4, 3), weights(3, 4)), lambda x: x @ weights(3, 4).T,
            "MatMul", {"w": weights(3, 4).T}),
    Written("matrices", (2, 5, 4), None, lambda x: x @ weights(2, 4, 3), "MatMul", {"w": weights(2, 4, 3)}),
    Written("convolution", IMAGE, weighted(nn.Conv2d(3, 4, 3, 2, 1), weights(4, 3, 3, 3)),
            lambda x: F.conv2d(x, weights(4, 3, 3, 3), None, 2, 1),
            "Conv", {"w": weights(4, 3, 3, 3)}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Written("convolution-groups", IMAGE, weighted(nn.Conv2d(3, 6, 3, 1, "same", 2, 3), weights(6, 1, 3, 3)),
            lambda x: F.conv2d(x, weights(6, 1, 3, 3), None, 1, "same", 2, 3),
            "Conv", {"w": weights(6, 1, 3, 3)}, {"dilations": [2, 2], "group": 3, "pads": [2, 2, 2, 2]}),
    Written("transposed", IMAGE, weighted(nn.ConvTranspose2d(3, 2, 3, 2, 1, 1), weights(3, 2, 3, 3)),
            lambda x: F.conv_transpose2d(x, weights(3, 2, 3, 3), None, 2, 1, 1), "ConvTranspose",
            {"w": weights(3, 2, 3, 3)}, {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    Written("batch-norm", IMAGE, normed(), lambda x: F.batch_norm(x, weights(3), VARIANCE, weights(3), eps=0.125),
            "BatchNormalization", NORM, {"epsilon": 0.125}),
    Written("average-pool", IMAGE, nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
            lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), "AveragePool", {},
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    Written("global-pool", IMAGE, nn.AdaptiveAvgPool2d(1), lambda x: F.adaptive_avg_pool2d(x, 1), "GlobalAveragePool"),
    Written("mean", IMAGE, None, lambda x: x.mean((2, 3)), "ReduceMean", {}, {"axes": [2, 3], "keepdims": 0}),
    Written("bilinear", IMAGE, nn.Upsample((9, 10), mode="bilinear"),
            lambda x: F.interpolate(x, (9, 10), mode="bilinear"), "Resize",
            {**SIDES, "sizes": ints(1, 3, 9, 10)}, {"mode": "linear"}),
    Written("nearest", IMAGE, nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, scale_factor=2), "Resize",
            {"region": weights(0), "scales": torch.tensor([1.0, 1, 2, 2])},
            {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    Written("zeros", IMAGE, nn.ZeroPad2d((0, 3, 1, 2)), lambda x: F.pad(x, (0, 3, 1, 2)), "Pad",
            {"pads": ints(0, 0, 1, 0, 0, 0, 2, 3)}),
    Written("reflect", IMAGE, nn.ReflectionPad2d((0, 3, 1, 2)), lambda x: F.pad(x, (0, 3, 1, 2), "reflect"), "Pad",
            {"pads": ints(0, 0, 1, 0, 0, 0, 2, 3)}, {"mode": "reflect"}),
    Written("replicate", IMAGE, nn.ReplicationPad2d((0, 3, 1, 2)), lambda x: F.pad(x, (0, 3, 1, 2), "replicate"), "Pad",
            {"pads": ints(0, 0, 1, 0, 0, 0, 2, 3)}, {"mode": "edge"}),
    Written("shuffle", (8, 3, 2), nn.PixelShuffle(2), lambda x: F.pixel_shuffle(x, 2), "DepthToSpace", {},
            {"blocksize": 2, "mode": "CRD"}),
    Written("flatten", IMAGE, nn.Flatten(), lambda x: x.flatten(1), "Flatten"),
    Written("permute", IMAGE, None, lambda x: x.permute(0, 2, 3, 1), "Transpose", {}, {"perm": [0, 2, 3, 1]}),
    Written("slice", IMAGE, None, lambda x: x[..., 1:7:2], "Slice",
            {"starts": ints(1), "ends": ints(7), "axes": ints(3), "steps": ints(2)}),
    Written("gather", IMAGE, None, lambda x: x[:, [2, 0]], "Gather", {"i": ints(2, 0)}, {"axis": 1}),
    Written("expand", (3, 1, 2), None, lambda x: x.expand(1, 3, 4, 2), "Expand", {"n": ints(1, 3, 4, 2)}),
    Written("scale", IMAGE, None, lambda x: x * weights(3, 1, 1), "Mul", {"w": weights(3, 1, 1)}),
    Written("add", IMAGE, None, lambda x: x + weights(4, 3, 1, 1), "Add", {"w": weights(4, 3, 1, 1)}),
    Written("identity", IMAGE, nn.Identity(), lambda x: x * 1, "Identity"),
]  # fmt: skip


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case.id)
def test_the_three_front_ends_give_the_same_map(case: Written) -> None:
    expected = dense(lambda x: case.code(x[None]), case.shape)
    network = Network("code", Code(case.code).eval(), case.shape)
    assert [by for _, by in network.record().graph.front.items()] == [["output"]]
    torch.testing.assert_close(network.front.to_dense(), expected, rtol=0, atol=1e-12)
    if case.module is not None:
        operator = from_module(case.module.eval(), case.shape)
        torch.testing.assert_close(operator.to_dense(), expected, rtol=0, atol=1e-12)
        assert operator.out_shape == network.front.out_shape


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case.id)
def test_onnx_nodes_give_the_same_map_as_the_code(case: Written) -> None:
    pytest.importorskip("onnxruntime")
    import onnx

    from blindspace.networks.affine_graph import front_map
    from blindspace.networks.onnx.recorder import record_onnx

    arrays = {name: (x.float() if x.is_floating_point() else x).numpy() for name, x in case.inputs.items()}
    node = onnx.helper.make_node(case.node, ["x", *arrays], ["y"], name="n", **case.attributes)
    opset = 19 if case.node in ("AveragePool", "Pad") else 17
    graph = onnx.helper.make_graph(
        [node],
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, *case.shape])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    recording = record_onnx(onnx.shape_inference.infer_shapes(model), case.shape)
    assert list(recording.graph.front.values()) == [["output"]]
    front = bs.front(Network("code", Code(case.code).eval(), case.shape))
    found = front_map(recording.graph)
    assert found.out_shape == front.out_shape
    torch.testing.assert_close(found.to_dense(), front.to_dense(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shapes", [((),), ((3, 1), (2,)), ((2, 1, 4), (3, 1), ()), ((0, 2), (1, 1))], ids=str)
def test_shapes_broadcast_as_in_torch(shapes: tuple[tuple[int, ...], ...]) -> None:
    assert broadcast(*shapes) == tuple(torch.broadcast_shapes(*shapes))
    with pytest.raises(RuntimeError):
        broadcast((2, 3), (4, 3))
