"""Networks from libraries, files and functions, compared with the originals, without a download."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import blindspace as bs
from blindspace.cli.main import run
from blindspace.errors import (
    BlindspaceError,
    FileError,
    MissingExtraError,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
    ValueRangeError,
)
from blindspace.extras import library
from blindspace.networks import Network, layers
from blindspace.networks.sources.factory import split_options
from blindspace.networks.sources.huggingface import _kind
from blindspace.networks.sources.preprocessing import parse
from blindspace.networks.sources.torch_export_graph import operation
from blindspace.networks.sources.weights import load_weights

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something wants to download")

    monkeypatch.setattr(socket.socket, "connect", refuse)


class Net(nn.Module):
    """A network whose export has both kinds of buffers, constants, in-place operations and symbolic sizes."""

    kept: Tensor
    left: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.inner = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding="same", groups=2, bias=False))
        self.fc = nn.Linear(4 * 8 * 8, 5)
        self.register_buffer("kept", torch.ones(4, 1, 1) * 2)
        self.register_buffer("left", torch.ones(4, 1, 1) * 3, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.inner(self.conv(x))) * self.kept + self.left + torch.tensor([0.5])
        first, second = y.chunk(2, 1)
        y = torch.cat([second, first], 1).reshape(x.shape[0], -1)
        return torch.as_tensor(self.fc(y).float())


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net().eval()


# --- names and options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name", "options"),
    [
        ("dinov2", "dinov2", {}),
        ("dinov2[]", "dinov2", {}),
        ("a[b=1]", "a", {"b": 1}),
        ("a[b=1,c=2.5, d=true,e=null]", "a", {"b": 1, "c": 2.5, "d": True, "e": None}),
        ("a[depths=[3,3,9,3],act=gelu]", "a", {"depths": [3, 3, 9, 3], "act": "gelu"}),
        ('a[b="x,y"]', "a", {"b": "x,y"}),
        ("a[b=__import__('os')]", "a", {"b": "__import__('os')"}),
    ],
)
def test_options(given: str, name: str, options: dict[str, Any]) -> None:
    assert split_options(given) == (name, options)


@pytest.mark.parametrize("given", ["a[b]", "a[=1]", "a[b=1", "a[1=2]", "a[b=1]c"])
def test_options_that_cannot_be_read(given: str) -> None:
    with pytest.raises(ValueRangeError, match="cannot be read; write "):
        split_options(given)


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        ("resnet-50", UnknownNameError, "timm:NAME, torchvision:NAME, hf:NAME"),
        ("model.h5", FileError, "is of a kind not read here; convert it to .onnx"),
        ("model.th", FileError, "is a pickle, which can run code"),
        ("model.safetensors", FileError, "package.module:function --weights model.safetensors"),
        ("model.pt2", FileError, "does not exist"),
        (
            "no.such:thing",
            UnknownNameError,
            "the module no.such of no.such:thing cannot be imported (No module named 'no')",
        ),
        ("torch.nn:Liner", UnknownNameError, "torch.nn has no Liner"),
        ("torch.nn:Linear", ValueRangeError, "cannot be built"),
        ("math:sqrt[__x=4]", ValueRangeError, "cannot be built"),
        ("collections:OrderedDict", ValueRangeError, "returned a OrderedDict, not a torch.nn.Module"),
        ("torch.nn:Flatten", ShapeError, "needs the shape of one input"),
    ],
)
def test_what_cannot_be_loaded(model: str, kind: type[BlindspaceError], message: str) -> None:
    with pytest.raises(kind) as caught:
        bs.load(model, random_weights=model[-1] != "2")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_for_what_has_its_own(tmp_path: Path) -> None:
    for model in (nn.Flatten(), str(tmp_path / "a.pt2"), str(tmp_path / "a.onnx")):
        with pytest.raises(FileError, match=r"has its own weights; leave .*w\.safetensors out"):
            bs.load(model, (4,), weights=tmp_path / "w.safetensors")
        with pytest.raises(FileError, match="has its own weights; leave --random-weights out"):
            bs.load(model, (4,), random_weights=True)


@pytest.mark.parametrize(("name", "extra"), [("timm:x", "timm"), ("torchvision:x", "torchvision"), ("hf:x", "hf")])
def test_missing_extras_are_named(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindspace.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'blindspace\[{extra}\]'"):
        bs.load(name)


def test_the_space_is_named() -> None:
    def space(*shape: int) -> str:
        return Network("n", nn.Flatten(), shape).space

    assert [space(3, 8, 8), space(1, 8, 8), space(16, 8, 8), space(8, 8), space(8)] == [
        "pixels",
        "pixels",
        "features",
        "features",
        "features",
    ]
    assert Network("n", nn.Flatten(), (8,), space="samples").space == "samples"


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = bs.load("cifar-resnet", random_weights=True)
    assert torch.equal(state, torch.random.get_rng_state())
    again = bs.load("cifar-resnet", random_weights=True)
    x = noise(1, 3, 32, 32)
    assert torch.equal(first.outputs(x), again.outputs(x))
    assert not torch.equal(first.outputs(x), bs.load("cifar-resnet").outputs(x))
    layer = "torch.nn:Linear[in_features=4,out_features=2]"
    one, other = (bs.load(layer, (4,), random_weights=True).outputs(noise(1, 4)) for _ in range(2))
    assert torch.equal(one, other)


# --- functions and weights ---------------------------------------------------------------------------------

FACTORY = """
from torch import nn
calls = []
class Maker:
    @staticmethod
    def narrow(width=2, name="a"):
        calls.append((width, name))
        return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
def failing():
    raise KeyError("first\\nsecond")
"""


@pytest.fixture
def makers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"makers_{os.getpid()}_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_function_makes_the_network_and_a_file_its_weights(makers: str, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7))
    path = tmp_path / "weights.safetensors"
    save_file(module.state_dict(), path)
    network = bs.load(f"{makers}:Maker.narrow[width=7,name=b]", (4,), weights=path)
    x = noise(5, 4)
    with torch.no_grad():
        assert torch.equal(network.outputs(x), module.eval()(x))
    assert __import__(makers).calls == [(7, "b")]
    assert bs.load(f"{makers}:Maker.narrow", (4,), random_weights=True, name="mine").name == "mine"


def test_a_function_that_fails(makers: str) -> None:
    with pytest.raises(ValueRangeError, match=r"cannot be built: 'first.nsecond'$"):
        bs.load(f"{makers}:failing", (4,), random_weights=True)
    with pytest.raises(FileError, match=r"no weights for .*; give a \.safetensors file by --weights"):
        bs.load(f"{makers}:Maker.narrow", (4,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), "1 missing: 0.bias)"),
        (lambda s: s.update(extra=torch.ones(1)), "1 not known to it: extra)"),
        (lambda s: s.update({"0.weight": torch.ones(2, 5)}), "1 of another shape: 0.weight (2, 5) for (2, 4))"),
        (lambda s: s.clear(), "missing: 0.weight, 0.bias, 1.weight, …)"),
    ],
)
def test_weights_that_do_not_fit(change: Callable[[dict[str, Tensor]], Any], message: str, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    state = dict(module.state_dict())
    change(state)
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    with pytest.raises(FileError) as caught:
        load_weights(module, path, "net")
    assert f"{path} is damaged or not of net (" in str(caught.value)
    assert message in str(caught.value)


def test_weights_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(trap(tmp_path))
    with pytest.raises(FileError, match="is damaged or not of net"):
        load_weights(nn.Linear(2, 2), path, "net")
    assert not sprung(tmp_path)


# --- .pt2 --------------------------------------------------------------------------------------------------


def exported(folder: Path, module: nn.Module, *inputs: Tensor, free: bool = False) -> Path:
    path = folder / "net.pt2"
    shapes = ({0: torch.export.Dim("batch")},) if free else None
    torch.export.save(torch.export.export(module, inputs, dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize("free", [False, True])
def test_exports(free: bool, tmp_path: Path) -> None:
    module = net()
    network = bs.load(str(exported(tmp_path, module, noise(1 + free, 3, 16, 16), free=free)))
    assert (network.name, network.input_shape, network.dtype) == ("net.pt2", (3, 16, 16), torch.float32)
    x = noise(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network.outputs(x), module(x), rtol=1e-6, atol=1e-6)
    double = network.outputs(x, torch.float64)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double, net().double()(x.double()).double(), rtol=0, atol=1e-6)
    # A cast to float in the file means the dtype of the input, which is float64 here.
    y, finer = x.double() + 1e-12, network.outputs(x.double() + 1e-12, torch.float64)
    assert 0 < float((finer - network.outputs(y - 1e-12, torch.float64)).abs().max()) < 1e-10
    assert [(layer.name, layer.kind) for layer in layers(network)] == [
        ("conv", "Conv2d"),
        ("inner.1", "Conv2d"),
        ("fc", "Linear"),
    ]
    assert bs.harmless(network).dim == bs.harmless(bs.load(module, (3, 16, 16))).dim > 0


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.Sequential(nn.Conv1d(2, 3, 5, 2, dilation=2), nn.GELU(), nn.Flatten(), nn.LazyLinear(2)), (2, 40)),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
        (lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.AvgPool2d(3), nn.Softmax(1)), (3, 6, 6)),
        (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.GroupNorm(1, 2), nn.AdaptiveAvgPool3d(2)), (1, 4, 4, 4)),
        (lambda: nn.Sequential(nn.ConvTranspose2d(3, 2, 3, 2), nn.MaxPool2d(2), nn.Hardswish()), (3, 6, 6)),
        (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.ReflectionPad2d(1), nn.LayerNorm(5)), (3, 6, 6)),
    ],
)
def test_exports_of_many_operations(build: Callable[[], nn.Module], shape: tuple[int, ...], tmp_path: Path) -> None:
    module = build().eval()
    module(noise(1, *shape))
    network = bs.load(str(exported(tmp_path, module, noise(1, *shape))))
    x = noise(3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(network.outputs(x), module(x), rtol=1e-5, atol=1e-6)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Several(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x.sum((1, 2, 3), keepdim=True)


class Counting(nn.Module):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        return x + self.count


def test_exports_with_several_outputs(tmp_path: Path) -> None:
    x = noise(2, 1, 2, 2)
    found = bs.load(str(exported(tmp_path, Several(), x[:1]))).outputs(x)
    assert torch.equal(found, torch.cat([x.flatten(1) * 2, x.sum((1, 2, 3))[:, None]], 1))


def test_exports_that_are_refused(tmp_path: Path) -> None:
    x = noise(1, 3, 16, 16)
    with pytest.raises(ShapeError, match="also reads y; hold each at a value, --fix y=FILE"):
        bs.load(str(exported(tmp_path, Two(), x, x)))
    with pytest.raises(UnsupportedLayerError, match="changes its own state"):
        bs.load(str(exported(tmp_path, Counting(), x)))


def sprung(folder: Path) -> bool:
    return (folder / "sprung").exists()


class _Trap:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder / "sprung"),)


def trap(folder: Path) -> bytes:
    """A pickle that creates a folder when it is opened."""
    return pickle.dumps(_Trap(folder))


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], how: int = zipfile.ZIP_STORED) -> Path:
    """A copy with changed files; None omits a file."""
    copy = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w", how) as target:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return copy


def in_json(ending: str, change: Callable[[Any], Any]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, content: bytes) -> bytes:
        if not name.endswith(ending):
            return content
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return changed


def nodes(model: Any) -> Any:
    return model["graph_module"]["graph"]["nodes"]


def first_size(model: Any) -> Any:
    return model["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]


def as_pickle(config: Any) -> None:
    next(iter(config["config"].values()))["use_pickle"] = True


def shifted(config: Any) -> None:
    next(iter(config["config"].values()))["tensor_meta"]["storage_offset"] = {"as_int": 10_000}


def elsewhere(config: Any) -> None:
    next(iter(config["config"].values()))["path_name"] = "weight_/../../../../etc/passwd"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_json("weights_config.json", as_pickle), "as a pickle, which can run code; export it with plain weights"),
        (in_json("weights_config.json", shifted), "cannot be read as a .pt2 file"),
        (in_json("weights_config.json", elsewhere), "cannot be read as a .pt2 file"),
        (
            in_json("model.json", lambda m: nodes(m)[0].update(target="torch.os.mkdir")),
            "the operation torch.os.mkdir is not",
        ),
        (
            in_json("model.json", lambda m: nodes(m)[0].update(target="torch.ops.aten.save.default")),
            "is not among those",
        ),
        (in_json("model.json", lambda m: nodes(m)[0].update(target="_operator.attrgetter")), "is not among those"),
        (in_json("model.json", lambda m: nodes(m)[0].pop("inputs")), "it lacks 'inputs'"),
        (in_json("model.json", lambda m: first_size(m).pop()), "cannot read an input of shape (3, 16), its own"),
        (in_json("model.json", lambda m: first_size(m).clear()), "cannot be read as a .pt2 file"),
        (in_json("model.json", lambda m: m.clear()), "it lacks 'graph_module'"),
        (lambda n, c: b"big" if n.endswith("byteorder") else c, "another byte order"),
        (lambda n, c: None if "models/" in n else c, "holds 0 exported programs"),
        (lambda n, c: None if n.endswith("weight_0") else c, "cannot be read as a .pt2 file"),
        (lambda n, c: b"{" if n.endswith("model.json") else c, "cannot be read as a .pt2 file"),
    ],
)
def test_exports_that_are_damaged_or_wicked(
    change: Callable[[str, bytes], bytes | None], message: str, tmp_path: Path
) -> None:
    path = rewritten(exported(tmp_path, net(), noise(1, 3, 16, 16)), change)
    with pytest.raises(BlindspaceError) as caught:
        bs.load(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_formulas_and_pickles_in_exports_are_not_run(tmp_path: Path) -> None:
    """Each of these executes code in ``torch.export.load``; here they are ignored."""
    path = exported(tmp_path, net(), noise(2, 3, 16, 16), free=True)
    code = f"__import__('os').mkdir({str(tmp_path / 'sprung')!r})"

    def spring(name: str, content: bytes) -> bytes:
        if "sample_inputs" in name:
            return trap(tmp_path)
        return (
            content.replace(b"Symbol('s", f"{code} or Symbol('s".encode()) if name.endswith("model.json") else content
        )

    wicked = rewritten(path, spring)
    assert code.encode() in wicked.read_bytes()
    network = bs.load(str(wicked))
    assert not sprung(tmp_path)
    x = noise(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network.outputs(x), net()(x), rtol=1e-6, atol=1e-6)
    # … and it would have executed them.
    with zipfile.ZipFile(wicked) as file:
        pickled = next(name for name in file.namelist() if "sample_inputs" in name)
        pickle.loads(file.read(pickled))
    assert sprung(tmp_path)


def test_exports_are_not_unpacked_to_any_size(tmp_path: Path) -> None:
    path = rewritten(exported(tmp_path, net(), noise(1, 3, 16, 16)), lambda _, c: c, zipfile.ZIP_DEFLATED)
    with pytest.raises(FileError, match="holds compressed parts"):
        bs.load(str(path))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileError, match=r"cannot be read as a \.pt2 file of torch.export \(File is not a zip file\)"):
        bs.load(str(path))


@pytest.mark.parametrize(
    "name", ["from_file.default", "save.default", "set_.source_Tensor", "fbgemm_linear_int8_weight.default"]
)
def test_operations_on_files_and_addresses_are_not_allowed(name: str) -> None:
    with pytest.raises(UnsupportedLayerError):
        operation(f"torch.ops.aten.{name}")
    assert operation("torch.ops.aten.relu_.default") is torch.ops.aten.relu_.default


# --- timm and torchvision ----------------------------------------------------------------------------------


def bytes_of(module: nn.Module, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, path)
    return path


@needs("timm")
def test_timm(tmp_path: Path) -> None:
    timm = library("timm", "timm")
    module = timm.create_model("resnet10t", num_classes=7).eval()
    path = bytes_of(module, tmp_path / "w.safetensors")
    network = bs.load("timm:resnet10t[num_classes=7]", weights=path)
    assert (network.input_shape, network.space) == ((3, 176, 176), "pixels")
    x = noise(2, 3, 176, 176)
    with torch.no_grad():  # The normalisation of its config is applied in front.
        torch.testing.assert_close(network.outputs(x), module((x - MEAN) / STD), rtol=1e-5, atol=1e-6)
    assert bs.load("timm:resnet10t[num_classes=7]", (3, 64, 96), weights=path).outputs(noise(1, 3, 64, 96)).shape == (
        1,
        7,
    )
    with pytest.raises(FileError, match=r"2 of another shape: fc\.(bias|weight)"):
        bs.load("timm:resnet10t", weights=path)
    assert bs.load("timm:vit_tiny_patch16_224[img_size=64,depth=1]", random_weights=True).input_shape == (3, 64, 64)


@needs("timm")
def test_timm_takes_weights_from_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = library("timm", "timm")
    module = timm.create_model("resnet10t").eval()
    path = bytes_of(module, tmp_path / "model.safetensors")
    requests = []

    def cached(repository: str | None, name: str) -> Path:
        requests.append((repository, name))
        return path

    monkeypatch.setattr("blindspace.networks.sources.timm_torchvision.cached", cached)
    x = noise(1, 3, 176, 176)
    with torch.no_grad():
        torch.testing.assert_close(bs.load("timm:resnet10t").outputs(x), module((x - MEAN) / STD), rtol=1e-5, atol=1e-6)
    assert requests == [("timm/resnet10t.c3_in1k", "model.safetensors")]


@needs("timm")
@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        ("timm:resnet10t", FileError, "no weights for timm:resnet10t; give a .safetensors file by --weights"),
        ("timm:resnet9000", UnknownNameError, "timm has no model 'resnet9000'; did you mean "),
        ("timm:hf-hub:someone/else", UnknownNameError, "timm has no model"),
        ("timm:resnet10t[colour=1]", ValueRangeError, "cannot be built"),
    ],
)
def test_timm_refuses(model: str, kind: type[BlindspaceError], message: str) -> None:
    with pytest.raises(kind) as caught:
        bs.load(model)
    assert message in str(caught.value)


@needs("torchvision")
def test_torchvision(tmp_path: Path) -> None:
    models = library("torchvision", "torchvision").models
    module = models.mobilenet_v3_small(num_classes=7).eval()
    path = bytes_of(module, tmp_path / "w.safetensors")
    network = bs.load("torchvision:mobilenet_v3_small[num_classes=7]", (3, 64, 64), weights=path)
    x = noise(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.outputs(x), module((x - MEAN) / STD), rtol=1e-5, atol=1e-9)
    assert bs.load("torchvision:mobilenet_v3_small", random_weights=True).input_shape == (3, 224, 224)
    for name, kind in (("mobilenet_v9", UnknownNameError), ("mobilenet_v3_small", FileError)):
        with pytest.raises(kind, match=name):
            bs.load(f"torchvision:{name}")


@needs("torchvision")
def test_of_detectors_the_features() -> None:
    """Boxes are chosen by their scores, so that the number of outputs depends on the image; features have a form."""
    network = bs.load("torchvision:ssdlite320_mobilenet_v3_large", random_weights=True)
    detector = library("torchvision", "torchvision").models.get_model(
        "ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None
    )
    assert network.input_shape == (3, 320, 320)
    own = network.module.get_submodule("model")
    detector.load_state_dict({**detector.state_dict(), **own.state_dict()})
    x = noise(2, 3, 320, 320)
    with torch.no_grad():
        expected = detector.eval().backbone(2 * x - 1)  # its published normalisation
    found = torch.cat([each.flatten(1) for each in expected.values()], 1)
    torch.testing.assert_close(network.outputs(x), found, rtol=1e-4, atol=1e-5)


@needs("torchvision")
def test_two_pictures_of_torchvision() -> None:
    network = bs.load("torchvision:raft_small", random_weights=True)
    assert (network.input_shape, network.space) == ((98304,), "values, image1 3 × 128 × 128, image2 3 × 128 × 128")
    second = torch.zeros(3, 128, 128)
    held = bs.load("torchvision:raft_small", random_weights=True, vary="image1", fix={"image2": second})
    assert held.input_shape == (3, 128, 128)
    x = noise(1, 3, 128, 128)
    both = torch.cat([x.flatten(1), second.reshape(1, -1)], 1)
    torch.testing.assert_close(held.outputs(x), network.outputs(both), rtol=1e-3, atol=1e-3)


# --- transformers ------------------------------------------------------------------------------------------


def transformers() -> Any:
    return library("transformers", "hf")


@needs("transformers")
@pytest.mark.parametrize(
    ("model", "shape", "space", "out"),
    [
        (
            "hf:dinov2[hidden_size=12,num_attention_heads=2,num_hidden_layers=1,image_size=28]",
            (3, 28, 28),
            "pixels",
            5 * 12 + 12,
        ),
        ("hf:clip_vision_model[num_hidden_layers=1]", (3, 224, 224), "pixels", 50 * 768 + 768),
        (
            "hf:bert[hidden_size=12,num_attention_heads=2,num_hidden_layers=1,vocab_size=9]",
            (16, 12),
            "token embeddings",
            16 * 12 + 12,
        ),
        ("hf:wav2vec2[num_hidden_layers=1]", (16000,), "samples", 49 * 768 + 49 * 512),
        ("hf:convnext[depths=[1,1,1,1],hidden_sizes=[4,8,8,8]]", (3, 224, 224), "pixels", 8 * 49 + 8),
    ],
)
def test_types_of_transformers(model: str, shape: tuple[int, ...], space: str, out: int) -> None:
    network = bs.load(model, random_weights=True)
    assert (network.input_shape, network.space) == (shape, space)
    x = noise(2, *shape)
    assert network.outputs(x).shape == (2, out)  # the last hidden state, and the pooled one or the features
    torch.testing.assert_close(network.outputs(x, torch.float64).float(), network.outputs(x), rtol=1e-3, atol=1e-4)


SMALL = "num_hidden_layers=1,hidden_size=12,num_attention_heads=2,intermediate_size=8"


@needs("transformers")
@pytest.mark.parametrize(
    ("model", "shape", "space", "dim"),
    [
        # tubes of 2 × 16 × 16 pixels of 3 colours, and 12 numbers for each
        (f"hf:vivit[{SMALL},num_frames=4,image_size=32]", (4, 3, 32, 32), "pixels", 2 * 4 * (1536 - 12)),
        (f"hf:timesformer[{SMALL},num_frames=3,image_size=32]", (3, 3, 32, 32), "pixels", 3 * 4 * (768 - 12)),
        # two by two patches of 16 with stride 10, which leave the last rows and columns unread
        (
            f"hf:audio-spectrogram-transformer[{SMALL},max_length=29,num_mel_bins=28]",
            (29, 28),
            "values of a spectrogram",
            29 * 28 - 4 * 12,
        ),
        (
            "hf:perceiver[num_latents=4,d_latents=8,d_model=6,num_self_attends_per_block=1,num_self_attention_heads=2,"
            "num_cross_attention_heads=2,max_position_embeddings=10]",
            (10, 6),
            "features",
            10,  # a normalisation reads each position alone, and not its mean
        ),
        (f"hf:siglip2_vision_model[{SMALL},num_patches=4,patch_size=4]", (4, 48), "pixels", 4 * (48 - 12)),
        (
            "hf:whisper[d_model=12,encoder_layers=1,decoder_layers=1,encoder_attention_heads=2,"
            "decoder_attention_heads=2,encoder_ffn_dim=8,max_source_positions=8]",
            (80, 16),
            "values of a spectrogram",
            80 * 16 - 12 * 16,
        ),
    ],
)
def test_inputs_are_those_that_configs_state(model: str, shape: tuple[int, ...], space: str, dim: int) -> None:
    network = bs.load(model, random_weights=True)
    assert (network.input_shape, network.space) == (shape, space)
    assert bs.harmless(network).dim == dim


@needs("transformers")
def test_a_class_that_is_not_auto_model_is_found() -> None:
    """Some types have no bare network."""
    module = transformers()
    assert _kind(module, module.DepthAnythingConfig()).__name__ == "AutoModelForDepthEstimation"
    assert _kind(module, module.SuperPointConfig()).__name__ == "AutoModelForKeypointDetection"
    assert _kind(module, module.ViTConfig()).__name__ == "AutoModel"


def vit(folder: Path, **options: Any) -> Any:
    module = transformers()
    config = module.ViTConfig(
        hidden_size=12, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8, image_size=32, **options
    )
    config.id2label = {0: "cat", 1: "dog", 2: "owl"}
    model = module.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    return model


@needs("transformers")
def test_a_folder_of_transformers(tmp_path: Path) -> None:
    model = vit(tmp_path)
    plain = bs.load(f"hf:{tmp_path}")
    assert (plain.input_shape, plain.classes) == ((3, 32, 32), ("cat", "dog", "owl"))
    x = noise(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(plain.outputs(x), model(pixel_values=x).logits, rtol=1e-5, atol=1e-6)
    # With a config beside it the normalisation is applied in front, or the whole preprocessing on request.
    transformers().ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(pixel_values=(x - 0.5) / 0.5).logits
        torch.testing.assert_close(bs.load(f"hf:{tmp_path}").outputs(x), expected, rtol=1e-5, atol=1e-6)
    whole = bs.load(f"hf:{tmp_path}", (3, 50, 60), preprocess="hf")
    assert whole.outputs(noise(1, 3, 50, 60)).shape == (1, 3)
    assert len(list(whole.module.get_submodule("preprocessing").children())) == 2


@needs("transformers")
def test_of_images_and_text_the_half_that_sees() -> None:
    network = bs.load("hf:clip", random_weights=True)
    assert network.outputs(noise(1, *network.input_shape)).shape == (1, 50 * 768 + 768)
    assert "text" not in str([name for name, _ in network.module.named_modules()])


@needs("transformers")
def test_folders_of_transformers_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"contains no readable config\.json"):
        bs.load(f"hf:{tmp_path}")
    vit(tmp_path)
    weights = tmp_path / "model.safetensors"
    header = struct.unpack("<Q", weights.read_bytes()[:8])[0]
    names = json.loads(weights.read_bytes()[8 : 8 + header])
    from safetensors.torch import load_file

    state = load_file(weights)
    lacking = next(name for name in names if name.endswith("query.weight") or name.endswith("q_proj.weight"))
    save_file({key: value for key, value in state.items() if key != lacking}, weights, {"format": "pt"})
    with pytest.raises(FileError, match=r"lack 1 of its own, such as .*weight"):
        bs.load(f"hf:{tmp_path}")
    weights.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(trap(tmp_path))
    with pytest.raises(
        FileError, match=r"there is no model.safetensors; pickles such as pytorch_model\.bin are not read"
    ):
        bs.load(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoConfig": "trap.Config"}}))
    (tmp_path / "trap.py").write_text(f"import os; os.mkdir({str(tmp_path / 'sprung')!r})")
    with pytest.raises(FileError, match=r"contains no readable config\.json"):
        bs.load(f"hf:{tmp_path}")
    assert not sprung(tmp_path)


@needs("transformers")
@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        ("hf:dinov9", UnknownNameError, "transformers has no type of model 'dinov9'; did you mean dinov2"),
        ("hf:no-one/nothing", FileError, "nothing is downloaded: fetch it with the tool 'hf download' first"),
        ("hf:dinov2", FileError, "no weights for hf:dinov2"),
        ("hf:dinov2[hidden_sise=4]", UnknownNameError, "has no value 'hidden_sise'; did you mean hidden_size"),
        ("hf:dinov2[hidden_size=large]", ValueRangeError, "hidden_size=large is not valid for the config of hf:dinov2"),
        (
            "hf:patchtst",
            UnsupportedLayerError,
            "reads past_values, which is neither images, text nor sound",
        ),
    ],
)
def test_transformers_refuses(model: str, kind: type[BlindspaceError], message: str) -> None:
    with pytest.raises(kind) as caught:
        bs.load(model, random_weights=kind is not FileError)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- ONNX --------------------------------------------------------------------------------------------------


@needs("onnx")
@needs("onnxruntime")
@pytest.mark.parametrize("zipped", [False, True])
def test_onnx_with_its_preprocessing(zipped: bool, tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx")
    info = onnx.helper.make_tensor_value_info
    weight = noise(2, 3, 4, 4)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"])],
        "net",
        [info("x", onnx.TensorProto.FLOAT, [1, 3, 4, 4])],
        [info("y", onnx.TensorProto.FLOAT, [1, 2, 1, 1])],
        [onnx.numpy_helper.from_array(weight.numpy(), "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / ("net.onnx.gz" if zipped else "net.onnx")
    content = model.SerializeToString()
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert bs.load(str(path)).input_shape == (3, 4, 4)
    spec = "resize 4x4 bicubic, scale 255, bgr"
    network = bs.load(path, (3, 9, 8), preprocess=spec, name="mine")
    assert (network.name, network.input_shape, network.space) == ("mine", (3, 9, 8), "pixels")
    x = noise(3, 3, 9, 8)
    expected = nn.functional.conv2d(nn.Sequential(*parse(spec))(x), weight)
    torch.testing.assert_close(network.outputs(x), expected, rtol=1e-5, atol=1e-3)
    with pytest.raises(ShapeError, match="needs the shape of the images"):
        bs.load(path, preprocess=spec)
    with pytest.raises(ShapeError, match=r"got the shape \(3, 5, 5\)"):
        bs.load(path, (3, 9, 8), preprocess="resize 5x5")


# --- the command line --------------------------------------------------------------------------------------

CONV = "torch.nn:Conv2d[in_channels=3,out_channels=4,kernel_size=4,stride=4]"


def test_the_command_line_loads_as_python_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["audit", CONV, "--random-weights", "--input-shape", "3x8x12", "--json", "-"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["model"], result["input_shape"], result["front"]["dim"]) == (CONV, [3, 8, 12], 3 * 96 - 4 * 6)
    assert CONV in captured.err  # The table; brackets are not mark-up.
    spec = "resize 8x8 bicubic, normalise imagenet"
    command = ["audit", CONV, "--random-weights", "--input-shape", "3x16x16", "--preprocess", spec, "--json", "-"]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["front"]["dim"] == 3 * 256 - 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", CONV, "--input-shape", "3x8x8"], "no weights for"),
        (["audit", CONV, "--random-weights"], "needs the shape of one input"),
        (["audit", "mnist-mlp", "--input-shape", "3x8x"], "'3x8x' is not a shape; give numbers with x between them"),
        (["audit", "mnist-mlp", "--input-shape", "0x8"], "has 0 values"),
        (["audit", "mnist-mlp", "--input-shape", "99999999x99999999"], "has 9999999800000001 values"),
        (["audit", "mnist-mlp", "--input-shape", "1x28x29"], "cannot read an input of shape (1, 28, 29)"),
        (["audit", "mnist-mlp", "--preprocess", "resise"], "no preprocessing step is called 'resise'"),
        (
            ["verify", "samples", "samples", "-m", "mnist-mlp", "--preprocess", "resize 28"],
            "needs the shape of the images",
        ),
        (["perturb", "samples", "-o", "x.npz", "-m", "nothing"], "no network is called 'nothing'"),
    ],
)
def test_bad_input_gets_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_a_module_of_torch_export() -> None:
    """Such a module refuses ``eval()``; its mode was decided when it was exported."""
    linear = nn.Sequential(nn.Linear(8, 3), nn.ReLU()).eval()
    exported = torch.export.export(linear, (torch.zeros(1, 8),), dynamic_shapes=({0: torch.export.Dim.AUTO},)).module()
    network = bs.load(exported, input_shape=(8,))
    assert bs.harmless(network).dim == 5
    assert torch.equal(network.outputs(torch.ones(1, 8)), linear(torch.ones(1, 8)))


@pytest.mark.parametrize("images", [None, 3, [[0.0]], "images"])
def test_outputs_of_what_is_no_tensor(images: Any) -> None:
    with pytest.raises(ShapeError, match=type(images).__name__):
        bs.load("mnist-mlp").outputs(images)
