"""The clean operator in onnxruntime, alone and in front of models, against ``Subspace.reject`` and the mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.evidence._conditional_mean import conditional_mean
from blindspace.evidence.prior import Prior
from blindspace.integrations._clean import affine
from blindspace.integrations.onnx_graph import Graph
from blindspace.integrations.onnx_iteration import Iterated
from blindspace.integrations.onnx_visible import visible
from blindspace.maps import from_module
from blindspace.subspaces import Subspace
from cases import CASES, Case

pytestmark = pytest.mark.filterwarnings("ignore::blindspace.errors.BlindspaceWarning", "ignore:Using padding='same'")


def computed(model: onnx.ModelProto | Path, images: Tensor) -> Tensor:
    content = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    opened = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = opened.run(None, {opened.get_inputs()[0].name: images.float().numpy()})
    return torch.from_numpy(found).double()


def model_of(graph: Graph, found: str, shape: tuple[int, ...], opset: int = 17) -> onnx.ModelProto:
    kind = onnx.TensorProto.FLOAT
    given = helper.make_tensor_value_info("x", kind, ["batch", *shape])
    end = helper.make_tensor_value_info(found, kind, ["batch", *shape])
    made = helper.make_graph(graph.nodes, "visible", [given], [end], list(graph.weights.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def images_of(space: Subspace, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, *space.shape, generator=generator, dtype=torch.float64).float().double()


# --- the visible component, by every structure -------------------------------------------------------------


WITH_STRUCTURE = ("patchwise", "separable", "dense", "diagonal", "local", "blockwise")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_structures_compute_the_visible_component(case: Case) -> None:
    space = bs.nullspace(from_module(*case.make()))
    graph = Graph()
    try:
        found = visible(graph, "x", space)
    except bs.BlindspaceError:
        assert space.solver not in WITH_STRUCTURE or "pad" in case.id or "below-stride" in case.id
        return
    x = images_of(space)
    error = computed(model_of(graph, found, space.shape, 7), x) - space.reject(x)
    assert float(error.abs().max()) <= 5e-6


@pytest.mark.parametrize(
    ("solver", "module", "shape"),
    [
        ("local", nn.Conv2d(1, 6, 2), (1, 60, 61)),
        ("blockwise", nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 7, 1), nn.Conv2d(7, 3, 2, 2)), (3, 48, 48)),
        ("fourier", nn.Conv2d(3, 8, 3, 2, 1), (3, 48, 40)),
    ],
)
def test_structures_of_large_maps(solver: str, module: nn.Module, shape: tuple[int, ...]) -> None:
    with torch.no_grad():
        torch.manual_seed(0)
        for each in module.parameters():
            each.normal_()
    space = bs.nullspace(module.requires_grad_(False), shape)
    assert space.solver == solver
    graph = Graph()
    x = images_of(space)
    found = computed(model_of(graph, visible(graph, "x", space, Iterated()), shape), x)
    assert float((found - space.reject(x)).abs().max()) <= 1e-4


# --- the conditional mean ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", [2, 40])  # the nullspace is the larger one, or the row space
def test_the_affine_map_is_the_conditional_mean(kernels: int) -> None:
    torch.manual_seed(0)
    space = bs.nullspace(nn.Conv2d(3, kernels, 4, 4).requires_grad_(False), (3, 12, 12))
    found, x = affine(space, Prior.of(space.shape)), images_of(space)
    assert found.keeps == (kernels == 40)
    expected = conditional_mean(space, x, tolerance=1e-12, iterations=3000)
    assert float((found(x.flatten(1)).view_as(x) - expected).abs().max()) <= 1e-8
    plain = affine(space, None)(x.flatten(1)).view_as(x)
    assert float((plain - space.reject(x)).abs().max()) <= 1e-12


# --- files -------------------------------------------------------------------------------------------------


def stem() -> nn.Module:
    torch.manual_seed(1)
    return (
        nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
        .eval()
        .requires_grad_(False)
    )


def as_onnx(module: Any, path: Path, batch: int | str = "n", opset: int = 9) -> Path:
    """The stem as others would have exported it."""
    weights = {name: each.numpy() for name, each in module.named_parameters()}
    nodes = [
        helper.make_node("Conv", ["image", "0.weight", "0.bias"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "3.weight", "3.bias"], ["logits"], transB=1),
    ]
    return saved(nodes, weights, [batch, 3, 12, 12], path, opset)


def saved(
    nodes: Any, weights: Any, shape: list[Any], path: Path, opset: int, kind: int = onnx.TensorProto.FLOAT
) -> Path:
    values = helper.make_tensor_value_info
    ends = values("image", kind, shape), values("logits", kind, [shape[0], 5])
    tensors = [numpy_helper.from_array(weight, name) for name, weight in weights.items()]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6), path)
    return path


@pytest.mark.parametrize("plain", [False, True])
def test_alone(plain: bool, tmp_path: Path) -> None:
    network = bs.load(stem(), (3, 12, 12))
    found = bs.export_clean(network, tmp_path / "clean.onnx", plain=plain)
    model = onnx.load(found.path)
    stated = {entry.key: entry.value for entry in model.metadata_props}
    assert int(stated["blindspace.dim"]) == found.dim == bs.harmless(network).dim
    assert stated["blindspace.residual"] == str(found.residual)
    assert found.size == found.path.stat().st_size
    space = bs.harmless(network)
    x = images_of(space)
    expected = space.reject(x) if plain else conditional_mean(space, x, tolerance=1e-10, iterations=3000)
    clean = computed(found.path, x)
    assert float((clean - expected).abs().max()) <= 1e-5
    assert float((network.outputs(clean) - network.outputs(x)).abs().max()) <= 1e-5
    hidden = 0.5 * space.sample(3, torch.Generator().manual_seed(2))
    assert float((computed(found.path, x + hidden) - clean).abs().max()) <= 1e-5
    layer = bs.Clean(network, plain=plain)
    assert float((layer(x) - expected).abs().max()) <= 1e-6
    assert torch.autograd.gradcheck(layer, (x[:1, :, :, :].clone().requires_grad_(),), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("batch", "opset"), [("n", 9), (1, 13)])
def test_in_front_of_a_model(batch: int | str, opset: int, plain: bool, tmp_path: Path) -> None:
    file = as_onnx(stem(), tmp_path / "stem.onnx", batch, opset)
    found = bs.export_clean(bs.load(str(file)), tmp_path / "both.onnx", attach=file, plain=plain)
    assert (found.attached, found.opset) == ("stem.onnx", opset)
    assert found.output_change <= 1e-6
    before, after = bs.load(str(file)), bs.load(str(found.path))
    assert after.input_shape == before.input_shape
    space = bs.harmless(before)
    x = images_of(space)
    assert float((after.outputs(x) - before.outputs(x)).abs().max()) <= 1e-5
    assert [value.name for value in onnx.load(found.path).graph.input] == ["image"]


def test_in_front_of_a_model_in_float64_that_reads_the_image_twice(tmp_path: Path) -> None:
    """The second time, inside a condition."""
    torch.manual_seed(0)
    kind = onnx.TensorProto.DOUBLE
    weights: dict[str, Any] = {"w": torch.randn(48, 5, dtype=torch.float64).numpy(), "yes": np.array(True)}
    branches = [
        helper.make_graph(
            [helper.make_node(operation, ["flat", "w"], [operation])]
            if operation == "MatMul"
            else [helper.make_node("Flatten", ["image"], ["f"]), helper.make_node("MatMul", ["f", "w"], [operation])],
            operation,
            [],
            [helper.make_tensor_value_info(operation, kind, None)],
        )
        for operation in ("MatMul", "again")
    ]
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("If", ["yes"], ["same"], then_branch=branches[1], else_branch=branches[0]),
        helper.make_node("Relu", ["same"], ["logits"]),
    ]
    file = saved(nodes, weights, ["n", 1, 6, 8], tmp_path / "twice.onnx", 17, kind)
    space = bs.span(torch.from_numpy(weights["w"].T.copy()).reshape(5, 1, 6, 8)).complement
    found = bs.export_clean(space, tmp_path / "both.onnx", attach=file)
    assert found.output_change <= 1e-6
    x = images_of(space)
    hidden = space.sample(3, torch.Generator().manual_seed(0))
    both = bs.load(str(found.path))
    assert both.dtype == torch.float64
    assert float((both.outputs(x + hidden) - both.outputs(x)).abs().max()) <= 1e-4


def test_a_model_that_sees_it_is_not_attached_to(tmp_path: Path) -> None:
    file = as_onnx(stem(), tmp_path / "stem.onnx")
    other = bs.nullspace(nn.Conv2d(3, 4, 4, 2, 1).requires_grad_(False), (3, 12, 12))
    with pytest.raises(bs.BlindspaceError, match="is withdrawn"):
        bs.export_clean(other, tmp_path / "both.onnx", attach=file)
    assert not (tmp_path / "both.onnx").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: bs.export_clean(nn.Linear(3, 5), f / "a.onnx", input_shape=(3,)), "sees all of its input"),
        (lambda f: bs.export_clean(nn.Linear(5, 3), f / "a.onnx", input_shape=(5,)), "prior of natural images"),
        (lambda f: bs.export_clean(stem(), f / "a.pt", input_shape=(3, 12, 12)), "must end in .onnx"),
        (lambda f: bs.export_clean(stem(), f / "a.onnx", input_shape=(3, 12, 12), opset=6), "at least 7"),
        (lambda f: bs.export_clean(stem(), f / "a.onnx", input_shape=(3, 12, 12), limit=10), "plain=True"),
        (lambda f: bs.export_clean(stem(), f / "a.onnx", attach=f / "no.onnx", input_shape=(3, 12, 12)), "no.onnx"),
        (lambda f: bs.Clean(nn.Linear(3, 5), (3,)), "sees all of its input"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(bs.BlindspaceError, match=message) as error:
        call(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clean.onnx"
    assert run(["export-clean", "mnist-mlp", "--plain", "-o", str(out), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dim"] == 528
    assert found["form"] == "structure"
    assert max(found["residual"], found["remainder"], found["error"]) <= 1e-5
    assert run(["export-clean", "mnist-mlp"]) == 2
