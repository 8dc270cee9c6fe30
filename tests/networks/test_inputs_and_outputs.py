"""Networks of several inputs and outputs, compared with their own code called directly."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.errors import BlindspaceError, FileError, ShapeError, UnknownNameError, ValueRangeError, first_line
from blindspace.networks import Network
from blindspace.networks.outputs import Found, columns, named_tensors, picked, side_by_side


class Two(NamedTuple):
    logits: Tensor
    features: Any


@dataclass
class Holder:
    left: Tensor
    right: Any = None


A, B, C = torch.ones(2, 3), torch.zeros(2, 4, 5), torch.full((2, 1), 7)

FORMS: list[tuple[Any, dict[str, Tensor]]] = [
    (A, {"output": A}),
    ((A, B), {"0": A, "1": B}),
    ([A, None, 3.0], {"0": A}),
    ({"logits": A, "features": [B, C]}, {"logits": A, "features.0": B, "features.1": C}),
    (OrderedDict(out=A), {"out": A}),
    (Two(A, (B, A)), {"logits": A, "features.0": B, "features.1": A}),
    (Holder(A, {"x": Holder(B)}), {"left": A, "right.x.left": B}),
    ([], {}),
    ("text", {}),
]


@pytest.mark.parametrize(("outputs", "expected"), FORMS)
def test_tensors_have_names(outputs: Any, expected: dict[str, Tensor]) -> None:
    found = named_tensors(outputs)
    assert list(found) == list(expected)
    assert all(found[name] is expected[name] for name in found)


def test_outputs_that_are_compared() -> None:
    outputs = {"logits": A, "features": [B, C]}
    found = picked(outputs)
    assert list(Found(found).compared) == ["logits", "features.0"], "whole numbers count only where there are no others"
    assert list(Found(picked([C])).compared) == ["0"]
    named = picked(outputs, ["features", "logits"])
    assert list(Found(named, named=True).compared) == ["features.0", "features.1", "logits"]
    with pytest.raises(UnknownNameError, match=r"no output is called 'feature'; there are logits, features\.0, feat"):
        picked(outputs, ["feature"])
    with pytest.raises(ShapeError, match="returns a list without a tensor"):
        picked([None])


def test_outputs_side_by_side() -> None:
    assert side_by_side({"a": B}, 2) is B
    assert torch.equal(side_by_side({"a": A, "b": B}, 2), torch.cat([A, B.flatten(1)], 1))
    assert side_by_side({"a": torch.tensor(3.0)}, 1).shape == (1, 1)
    assert side_by_side({"a": torch.ones(4)}, 4).shape == (4, 1)
    assert torch.equal(side_by_side({"a": torch.complex(A, 2 * A)}, 2).flatten(1)[0], torch.tensor([1.0, 2] * 3))
    with pytest.raises(ShapeError, match="have no batch axis of 2; give one input at a time"):
        side_by_side({"a": torch.tensor(3.0)}, 2)


def test_columns_of_an_output_among_several() -> None:
    found = {"a": B, "b": torch.complex(A, A), "c": A}
    beside = side_by_side(found, 2)
    assert torch.equal(beside[:, columns(found, "a", 2)], B.flatten(1))
    assert torch.equal(beside[:, columns(found, "c", 2)], A)
    assert columns(found, "b", 2) == slice(20, 26), "a complex number is two real ones"
    assert columns({"a": B}, "a", 2) is None


# --- several outputs ---------------------------------------------------------------------------------------


class Net(nn.Module):
    """The features are affine, the logits are not; the form of the outputs is given."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 4, 4)
        self.head = nn.Linear(16, 5)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        features = self.stem(x)
        return self.form(features, self.head(features.relu().flatten(1)))


def net(form: Callable[[Tensor, Tensor], Any]) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(form).eval()


def lone(features: Tensor, logits: Tensor) -> Any:
    return logits


FORMS_OF_NETS: list[Callable[[Tensor, Tensor], Any]] = [
    lambda f, y: (f, y),
    lambda f, y: [y, f],
    lambda f, y: {"features": f, "logits": y},
    lambda f, y: Two(y, (f,)),
    lambda f, y: Holder(y, Holder(f)),
    lambda f, y: {"a": [{"b": (y,)}], "argmax": y.argmax(1), "f": f},
]


@pytest.mark.parametrize("form", FORMS_OF_NETS)
def test_every_output_is_followed_and_compared(form: Callable[[Tensor, Tensor], Any]) -> None:
    module, x = net(form), torch.rand(3, 3, 8, 8)
    network = bs.load(module, (3, 8, 8))
    features = module.stem(x)
    parts = [features.flatten(1), module.head(features.relu().flatten(1))]
    found = network.outputs(x)
    assert found.shape == (3, 21)
    assert any(torch.equal(found, torch.cat(order, 1)) for order in (parts, parts[::-1]))
    assert bs.harmless(network).dim == 192 - 16


def test_labels_are_of_the_logits_and_attacks_too() -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = bs.load(net(lone), (3, 8, 8))
    network = bs.load(net(lambda f, y: {"features": 100 * f, "logits": y}), (3, 8, 8))
    assert torch.equal(network.labels(x), alone.labels(x))
    attacked, same = (bs.pgd(each, x, alone.labels(x), steps=3, random_start=0.0) for each in (network, alone))
    assert torch.equal(attacked.images, same.images)


def test_picked_outputs() -> None:
    class Late(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"means": x.reshape(-1, 4, 4).mean(2), "all": x.square()}

    assert bs.load(Late(), (16,)).outputs(torch.ones(2, 16)).shape == (2, 20)
    network = bs.load(Late(), (16,), output="means")
    assert network.outputs(torch.ones(2, 16)).shape == (2, 4)
    assert bs.harmless(network).dim == 0, "what is computed for another output ends the front too"
    with pytest.raises(UnknownNameError, match="no output is called 'mean'; there are means, all"):
        bs.load(Late(), (16,), output=["mean"])


class Odd(nn.Module):
    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Any:
        return self.form(x.reshape(-1, 2, 4).mean(2))


@pytest.mark.parametrize(
    ("form", "width"),
    [
        (lambda y: y.square()[:, 0], 1),
        (lambda y: y.square().sum(), 1),
        (lambda y: (y.square().sum(), y.relu()), 3),
        (lambda y: torch.complex(y.relu(), y.square()), 4),
        (lambda y: (y - 0.5 * y.mean()).square(), 2),  # mixes the images of a batch
        (lambda y: [*y.square()], 2),  # one output per image
    ],
)
def test_outputs_of_a_batch_are_those_of_each_image(form: Callable[[Tensor], Any], width: int) -> None:
    network = bs.load(Odd(form), (8,))
    x = torch.rand(3, 8)
    found = network.outputs(x).flatten(1)
    assert found.shape == (3, width)
    torch.testing.assert_close(found, torch.cat([network.outputs(one).flatten(1) for one in x.split(1)]))
    assert bs.harmless(network).dim == 6


def test_networks_that_draw_random_numbers() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    plain = bs.load("mnist-mlp")
    assert (plain.is_random, plain.takes_batches) == (False, True)
    assert bs.load(Noisy(), (4,)).is_random


# --- several inputs ----------------------------------------------------------------------------------------


class Pair(nn.Module):
    """Reads an image, a mask, token ids and a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.mix = nn.Linear(12, 4)

    def forward(self, image: Tensor, mask: Tensor, ids: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        y: Tensor = self.mix((image * mask).flatten(1)) * scale
        return y.relu() + (0 if ids is None else self.words(ids).sum(1)[:, :4])


def pair() -> Pair:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Pair().eval()


MASK = torch.tensor([[1.0, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]])[None]


def test_other_inputs_are_held() -> None:
    module, x, ids = pair(), torch.rand(2, 1, 3, 4), torch.tensor([1, 2, 8])
    network = bs.load(module, (1, 3, 4), fix={"mask": MASK, "ids": ids.tolist(), "scale": 2.0})
    assert torch.equal(network.outputs(x), module(x, MASK.expand(2, 1, 3, 4), ids.expand(2, 3), scale=2.0))
    assert network.outputs(x, torch.float64).dtype == torch.float64
    space = bs.harmless(network)
    assert space.dim == 12 - 4
    masked = torch.diag(1 - MASK.flatten().double())
    torch.testing.assert_close(space.project(masked.reshape(12, 1, 3, 4)).reshape(12, 12), masked)
    other = bs.load(module, (1, 3, 4), vary="mask", fix={"image": np.ones((1, 3, 4))})
    assert bs.harmless(other).dim == 12 - 4
    assert bs.harmless(bs.load(module, vary={"mask": (1, 3, 4)}, fix={"image": x[0]})).dim == 12 - 4


class Sum(nn.Module):
    """Affine in two inputs of different shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 3, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        y: Tensor = self.a(left.flatten(1)) + self.b(right)
        return y.relu()


def test_inputs_vary_jointly() -> None:
    module = Sum()
    network = bs.load(module, vary={"left": (2, 3), "right": (4,)})
    assert (network.input_shape, network.space) == ((10,), "values, left 2 × 3, right 4")
    x = torch.rand(2, 10)
    assert torch.equal(network.outputs(x), module(x[:, :6].reshape(2, 2, 3), x[:, 6:]))
    assert bs.harmless(network).dim == 7
    expected = torch.cat([module.a.weight, module.b.weight], 1).detach().double()
    found = network.front.forward(torch.eye(10, dtype=torch.float64)).T
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, ShapeError, "Pair also reads mask; hold each at a value, --fix mask=FILE"),
        ({"fix": {"mask": MASK, "musk": 1}}, UnknownNameError, "reads no input 'musk'; there are image, mask, ids"),
        ({"vary": "picture"}, UnknownNameError, "reads no input 'picture'; there are image, mask, ids"),
        ({"vary": "mask", "fix": {"mask": MASK}}, ValueRangeError, "mask cannot vary and be held at a value"),
        ({"fix": {"mask": object()}}, ValueRangeError, "mask is held at an array, a number or a file"),
        ({"fix": {"mask": ["x"]}}, ValueRangeError, "mask is held at an array of numbers"),
        ({"fix": [1]}, ValueRangeError, "fix takes values by the names of inputs"),
        ({"fix": {"mask": "mask.npy"}}, FileError, "mask.npy"),
        ({"fix": {"mask": "mask.pkl"}}, FileError, "does not exist"),
        ({"fix": {"mask": MASK[..., :3]}}, ShapeError, "cannot read an input of shape (1, 3, 4)"),
        ({"vary": {"image": (0, 3)}}, ShapeError, "sizes must be at least 1"),
    ],
)
def test_inputs_that_do_not_fit(options: dict[str, Any], kind: type[BlindspaceError], message: str) -> None:
    with pytest.raises(kind) as caught:
        bs.load(pair(), (1, 3, 4), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_has_chosen_already() -> None:
    with pytest.raises(ValueRangeError, match="choose them where it is loaded"):
        bs.load(bs.load("mnist-mlp"), output="0")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".png"])
def test_values_from_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mask{suffix}"
    match suffix:
        case ".npy":
            np.save(path, MASK.numpy())
        case ".npz":
            np.savez(path, any_name=MASK.numpy())
        case ".safetensors":
            save_file({"any": MASK}, path)
        case _:
            Image.fromarray((255 * MASK[0]).byte().numpy()).save(path)
    module, x = pair(), torch.rand(1, 1, 3, 4)
    assert torch.equal(bs.load(module, (1, 3, 4), fix={"mask": path}).outputs(x), module(x, MASK[None]))


def test_values_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "mask.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "mask.pkl").write_bytes(pickle.dumps(Trap()))
    for name in ("mask.npy", "mask.pkl"):
        with pytest.raises(FileError, match=r"pickl"):
            bs.load(pair(), (1, 3, 4), fix={"mask": tmp_path / name})
    assert not (tmp_path / "sprung").exists()


def test_onnx_files_choose_likewise(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    kind = onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", ["image", "mask"], ["masked"]),
        helper.make_node("Relu", ["masked"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["logits"], axes=[1], keepdims=1),
    ]
    inputs = [helper.make_tensor_value_info(name, kind, ["N", 4]) for name in ("image", "mask")]
    outputs = [helper.make_tensor_value_info(name, kind, ["N", n]) for name, n in (("features", 4), ("logits", 1))]
    model = helper.make_model(helper.make_graph(nodes, "two", inputs, outputs), ir_version=10)
    model.opset_import[0].version = 17
    path = tmp_path / "two.onnx"
    onnx.save(model, path)
    mask, x = torch.tensor([1.0, 0, 2, 0]), torch.rand(3, 4)
    network = bs.load(path, fix={"mask": mask})
    assert bs.harmless(network).dim == 2
    assert network.outputs(x).shape == (3, 5)
    assert torch.equal(network.labels(x), torch.ones(3, dtype=torch.int64)), "the only logit is above 0"
    assert bs.load(path, vary="mask", fix={"image": mask}, output="features").outputs(x).shape == (3, 4)
    assert bs.load(path, vary=("image", "mask")).input_shape == (8,)
    with pytest.raises(UnknownNameError, match="reads no input 'musk'"):
        bs.load(path, fix={"musk": mask})
    with pytest.raises(ValueRangeError, match="session and float_meaning are options of ONNX files"):
        bs.load("mnist-mlp", float_meaning=True)


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "makers_of_pairs.py").write_text(
        "from torch import nn\n"
        "class Pair(nn.Module):\n"
        "    def forward(self, x, mask):\n"
        "        return {'means': (x * mask).mean(1, keepdim=True).relu(), 'first': x[:, :1]}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    np.save(tmp_path / "mask.npy", np.array([1.0, 2, 3, 4]))
    start = ["audit", "makers_of_pairs:Pair", "--random-weights"]
    held = ["--fix", f"mask={tmp_path / 'mask.npy'}"]
    assert run([*start, *held, "--vary", "x=4", "--no-layers"]) == 0
    assert "cannot see 2 of 4" in capsys.readouterr().out
    assert run([*start, *held, "--input-shape", "4", "--output", "means", "--no-layers"]) == 0
    assert "cannot see 3 of 4" in capsys.readouterr().out
    for options, message in (
        (["--vary", "=4"], "--vary takes NAME or NAME=SHAPE, got '=4'"),
        (["--vary", "x=four"], "--vary 'four' is not a shape"),
        (["--fix", "mask"], "--fix takes NAME=FILE, got 'mask'"),
        ([*held, "--input-shape", "4", "--output", "mean"], "no output is called 'mean'; there are means, first"),
        (["--input-shape", "4"], "also reads mask"),
    ):
        assert run([*start, *options]) == 2
        assert message in capsys.readouterr().err


def test_the_reason_of_scripted_code_is_named() -> None:
    @torch.jit.script
    def strict(x: Tensor) -> Tensor:
        assert x.ndim == 3, "three axes are needed"
        return x

    with pytest.raises(torch.jit.Error) as caught:
        strict(torch.ones(2))
    assert first_line(caught.value) == "RuntimeError: AssertionError: three axes are needed"


def test_videos_have_pixels() -> None:
    shapes: list[tuple[int, ...]] = [(3, 8, 16, 16), (8, 3, 16, 16), (1, 28, 28), (16, 8), (64, 16, 16)]
    found = [Network("", nn.Identity(), shape).space for shape in shapes]
    assert found == ["pixels"] * 3 + ["features"] * 2
