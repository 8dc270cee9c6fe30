"""From a model to its maps: loading, the affine front and the layers; harmless is measured on the network itself."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import FileError, ShapeError, TooLargeError, UnknownNameError, UnsupportedLayerError
from blindspace.files import sha256
from blindspace.maps import Composed, Convolution, Identity, LinearMap, from_module
from blindspace.networks import BUILTIN, Layer, LayerReport, Network, layers, measure
from blindspace.subspaces import Subspace

WEIGHTS = Path(str(files("blindspace.networks"))) / "weights"
LAYER_KEYS = {"name", "kind", "in_dim", "out_dim", "rank", "dim", "formula_dim", "harmless_for_network"}
CERTIFICATE_KEYS = {"rank", "kind", "method", "tolerance", "exact_rank"}
CERTIFICATE_KEYS |= {"sigma_max", "sigma_above", "sigma_below", "sigma_above_is"}


# --- modules made by hand ---------------------------------------------------------------------------------


Together = Callable[[Any, Tensor], Tensor]


class Built(nn.Module):
    """Parts under their own names, put together by a function."""

    def __init__(self, together: Together, **parts: nn.Module) -> None:
        super().__init__()
        self.together = together
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.together(self, x)


class CentredConv(nn.Conv2d):
    """Reads with other weights than it stores, as weight standardisation does."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Negative(nn.Identity):
    """An identity by name alone."""

    def forward(self, x: Tensor) -> Tensor:
        return -x.abs()


def trained_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.running_mean = torch.randn(channels)
    norm.running_var = torch.rand(channels) + 0.5
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    return norm


def shifting(hook: nn.Module) -> nn.Module:
    hook.register_forward_hook(lambda module, given, out: out.abs())
    return hook


def rank_three() -> nn.Linear:
    layer = nn.Linear(6, 6)
    layer.weight = nn.Parameter((torch.randint(-3, 4, (6, 3)) @ torch.randint(-3, 4, (3, 6))).float())
    return layer


@dataclass(frozen=True)
class Front:
    """A module, and the dimension of the harmless space that its front must have."""

    id: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    dim: int


IMAGE = (3, 8, 8)  # 192 values; a 4×4 convolution of stride 4 to 5 channels makes 20 of them

FRONTS = [
    Front("chain", lambda: nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 4)), IMAGE, 172),
    Front(
        "affine to the end",
        lambda: nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.Flatten(), nn.Linear(20, 4)),
        IMAGE,
        188,
    ),
    Front(
        "branches",
        lambda: Built(
            lambda m, x: (lambda y: torch.cat([F.relu(m.left(y)), torch.sigmoid(y)], 1))(m.stem(x)),
            stem=nn.Conv2d(3, 5, 4, 4),
            left=nn.Conv2d(5, 2, 1),  # would lose more
        ),
        IMAGE,
        172,
    ),
    Front(
        "branches at once",
        lambda: Built(lambda m, x: F.relu(m.left(x)).sum((1, 2, 3)) + x.sum((1, 2, 3)), left=nn.Conv2d(3, 5, 4, 4)),
        IMAGE,
        171,
    ),
    Front("added to itself", lambda: Built(lambda m, x: m.stem(x + x), stem=nn.Conv2d(3, 5, 4, 4)), IMAGE, 172),
    Front("starts with ReLU", lambda: nn.Sequential(nn.ReLU(), nn.Conv2d(3, 5, 4, 4)), IMAGE, 0),
    Front(
        "dropout and batch norm",
        lambda: nn.Sequential(
            nn.Dropout(), nn.Conv2d(3, 5, 4, 4), trained_norm(5), nn.Dropout2d(), nn.AvgPool2d(2), nn.ReLU()
        ),
        IMAGE,
        187,
    ),
    Front(
        "batch norm of the batch",
        lambda: nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.BatchNorm2d(5, track_running_stats=False), nn.ReLU()),
        IMAGE,
        172,
    ),
    Front(
        "flatten as a function",
        lambda: Built(
            lambda m, x: torch.tanh(m.head(torch.flatten(m.stem(x), 1))),
            stem=nn.Conv2d(3, 5, 4, 4),
            head=nn.Linear(20, 7),
        ),
        IMAGE,
        185,
    ),
    Front(
        "flatten of other axes",
        lambda: Built(lambda m, x: torch.flatten(m.stem(x), 2).abs(), stem=nn.Conv2d(3, 5, 4, 4)),
        IMAGE,
        172,
    ),
    Front("one layer twice", lambda: Built(lambda m, x: torch.relu(m.a(m.a(x))), a=rank_three()), (6,), 3),
    Front(
        "one layer twice, ReLU between", lambda: Built(lambda m, x: m.a(torch.relu(m.a(x))), a=rank_three()), (6,), 3
    ),
    Front("weights of its own", lambda: nn.Sequential(CentredConv(3, 5, 4, 4), nn.ReLU()), IMAGE, 172),
    Front("no identity", lambda: nn.Sequential(Negative(), nn.Conv2d(3, 5, 4, 4)), IMAGE, 0),
    Front("hooked", lambda: nn.Sequential(shifting(nn.Identity()), nn.Conv2d(3, 5, 4, 4)), IMAGE, 0),
    Front("one layer alone", lambda: nn.Conv2d(3, 5, 4, 4), IMAGE, 172),
    Front("flatten across the batch", lambda: nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.Flatten(0, 1)), IMAGE, 172),
    Front("given by keyword", lambda: Built(lambda m, x: m.a(input=x), a=nn.Linear(6, 2)), (6,), 4),
]


def made(case: Front) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return bs.load(case.build(), case.input_shape, name=case.id)


# --- loading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "accuracy"), [("cifar-resnet", 0.80), ("mnist-mlp", 0.975)])
def test_built_in_networks_come_with_their_card(name: str, accuracy: float) -> None:
    network = bs.load(name)
    path = WEIGHTS / f"{name}.safetensors"
    assert network.name == network.card["name"] == name
    assert network.card["test_accuracy"] >= accuracy
    assert network.card["test_images"] == 10_000
    assert network.card["sha256"] == sha256(path)
    assert network.card["recipe"] == BUILTIN[name].recipe.to_dict()
    assert network.card["parameters"] == sum(p.numel() for p in network.module.parameters())
    assert path.stat().st_size < 4_000_000
    assert not network.module.training
    assert network.dtype == torch.float32
    assert len(network.classes) == 10
    assert network.outputs(torch.zeros(2, *network.input_shape)).shape == (2, 10)


def test_weights_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    shutil.copy(WEIGHTS / "mnist-mlp.safetensors", path)
    assert bs.load("mnist-mlp", weights=path).card == {}
    shutil.copy(WEIGHTS / "mnist-mlp.json", tmp_path / "own.json")
    assert bs.load("mnist-mlp", weights=path).card["test_accuracy"] > 0.9


def test_modules_are_put_in_eval() -> None:
    network = bs.load(nn.Sequential(nn.Dropout(), nn.Linear(4, 2)).double(), [4])
    assert not network.module.training
    assert (network.name, network.input_shape, network.dtype) == ("Sequential", (4,), torch.float64)
    assert network.class_name(1) == "1"


def test_outputs_do_not_depend_on_batches_and_keep_their_precision() -> None:
    network = bs.load("mnist-mlp")
    x = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    double = network.outputs(x, torch.float64)
    assert double.dtype == torch.float64
    assert network.outputs(x.double()).dtype == torch.float32
    torch.testing.assert_close(network.outputs(x, torch.float64, batch_size=2), double)
    torch.testing.assert_close(network.outputs(x).double(), double, rtol=0, atol=1e-4)
    assert torch.equal(network.labels(x), double.argmax(1))
    assert network.dtype == torch.float32  # the copy in float64 leaves the network as it was


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("resnet-50", ["'resnet-50'", "cifar-resnet", "mnist-mlp"]),
        ("", ["''", "cifar-resnet"]),
    ],
)
def test_unknown_names_are_answered_with_the_known(name: str, fragments: list[str]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        bs.load(name)
    assert all(fragment in str(caught.value) for fragment in fragments)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".ckpt", ".bin", ".PT"])
def test_pickles_are_refused_unopened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(FileError, match="is a pickle, which can run code"):
        bs.load(str(path))
    with pytest.raises(FileError, match=r"is not a \.safetensors file"):
        bs.load("mnist-mlp", weights=path)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def anothers(path: Path) -> None:
    shutil.copy(WEIGHTS / "cifar-resnet.safetensors", path)


def missing(path: Path) -> None:
    path.unlink()


def with_card(text: str) -> Callable[[Path], object]:
    return lambda path: path.with_suffix(".json").write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, "damaged or not of mnist-mlp"),
        (emptied, "damaged or not of mnist-mlp"),
        (anothers, "damaged or not of mnist-mlp"),
        (missing, "does not exist; 'blindspace train mnist-mlp' writes one"),
        (with_card(json.dumps({"sha256": "0" * 64})), "the hashes differ"),
        (with_card("{}"), "the hashes differ"),
        (with_card("{"), "card .* is damaged"),
        (with_card("[]"), "card .* is damaged"),
    ],
)
def test_bad_weights_are_told_in_one_line(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "weights.safetensors"
    shutil.copy(WEIGHTS / "mnist-mlp.safetensors", path)
    change(path)
    with pytest.raises(FileError, match=message) as caught:
        bs.load("mnist-mlp", weights=path)
    assert "\n" not in str(caught.value)
    assert str(path.stem) in str(caught.value)


def failing(error: Exception) -> Together:
    def together(module: Built, x: Tensor) -> Tensor:
        raise error

    return together


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Linear(4, 2), None, "needs the shape of one input"),
        (nn.Linear(4, 2), (5,), r"Linear cannot read an input of shape \(5,\): "),
        (nn.Conv2d(3, 2, 3), (1, 8, 8), r"cannot read an input of shape \(1, 8, 8\): "),
        (nn.Conv2d(3, 2, 3), (3, -8, 8), r"sizes must be at least 1, got the shape \(3, -8, 8\)"),
        (Built(failing(ValueError())), (4,), "cannot read .* ValueError"),
        (Built(failing(KeyError("size"))), (4,), "cannot read .* 'size'"),
        (Built(failing(AssertionError("two\nlines"))), (4,), "cannot read .* two$"),
    ],
)
def test_modules_that_cannot_read_the_shape(module: nn.Module, shape: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        bs.load(module, shape)
    assert "\n" not in str(caught.value)


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"mnist-mlp reads images of shape \(1, 28, 28\), got \(3, 32, 32\)"):
        bs.load("mnist-mlp").outputs(torch.zeros(1, 3, 32, 32))


# --- the front --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cifar:
    network: Network
    space: Subspace


@pytest.fixture(scope="module")
def cifar() -> Cifar:
    network = bs.load("cifar-resnet")
    return Cifar(network, bs.harmless(network))  # some seconds, once


def test_front_of_cifar_resnet(cifar: Cifar) -> None:
    front = bs.front(cifar.network)
    assert isinstance(front, Composed)
    stem, mixing = front.factors  # the normalisation and the batch norm are folded in
    assert isinstance(stem, Convolution)
    assert isinstance(mixing, Convolution)
    assert (stem.in_shape, stem.out_shape, tuple(stem.kernel)) == ((3, 32, 32), (10, 16, 16), (7, 7))
    assert (mixing.in_shape, mixing.out_shape, tuple(mixing.kernel)) == ((10, 16, 16), (32, 16, 16), (3, 3))
    x, other = torch.rand(2, 1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    begin = cifar.network.double[:4]  # type: ignore[index]
    torch.testing.assert_close(front.forward(x - other), (begin(x) - begin(other)).detach(), rtol=0, atol=1e-10)


def test_cifar_resnet_has_a_blind_space_of_512_dimensions(cifar: Cifar) -> None:
    assert (cifar.space.dim, cifar.space.ambient_dim, cifar.space.certificate.rank) == (512, 3072, 2560)
    assert cifar.space.certificate.kind == "exact"


def test_front_of_mnist_mlp() -> None:
    space = bs.harmless(bs.load("mnist-mlp"))
    assert (space.dim, space.ambient_dim, space.certificate.kind) == (528, 784, "exact")


@pytest.mark.parametrize("case", FRONTS, ids=lambda case: case.id)
def test_the_front_ends_where_it_must_and_harmless_is_harmless(case: Front) -> None:
    network = made(case)
    space = bs.harmless(network)
    assert space.dim == case.dim
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, *case.input_shape, dtype=torch.float64, generator=generator)
    delta = space.sample(4, generator)
    assert (float(delta.abs().max()) > 0.1) == (case.dim > 0)
    before = network.outputs(x, torch.float64)
    assert float((network.outputs(x + delta, torch.float64) - before).abs().max()) <= 1e-11 * before.abs().max()
    # … and the measure is not blind: noise of the same size shows.
    noise = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    assert float((network.outputs(x + noise, torch.float64) - before).abs().max()) > 1e-3


def test_a_front_that_starts_non_linear_is_the_identity() -> None:
    assert isinstance(bs.front(bs.load(nn.ReLU(), IMAGE)), Identity)


def test_modules_maps_and_subspaces_stand_for_networks() -> None:
    linear = nn.Linear(4, 2)
    by_network = bs.harmless(bs.load(linear, (4,)))
    a = from_module(linear, (4,))
    assert torch.equal(bs.front(linear, (4,)).to_dense(), a.to_dense())
    for space in (bs.harmless(linear, input_shape=(4,)), bs.harmless(a), bs.harmless(bs.nullspace(a))):
        assert space.dim == by_network.dim == 2
        assert torch.allclose(space.project(torch.eye(4)), by_network.project(torch.eye(4)))
    other = nn.Sequential(nn.Linear(4, 1), nn.ReLU())
    assert bs.harmless(linear, other, a, input_shape=(4,)).dim == 1
    assert bs.load(other, (4,)).linear_map().out_shape == (1,)


@pytest.mark.parametrize("ask", [bs.front, bs.harmless])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        (nn.Linear(4, 2), "Linear needs the shape of its input"),
        ("cifar-resnet", "a linear operator is .*; got str"),
        (nn.Linear, "got the class Linear"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(ask: Callable[..., Any], given: Any, named: str) -> None:
    with pytest.raises(bs.BlindspaceError, match=named) as caught:
        ask(given)
    assert "\n" not in str(caught.value)


def test_networks_of_different_input_shapes_are_refused_by_name() -> None:
    with pytest.raises(ShapeError, match=r"different shapes: Sequential \(6,\), Dense \(4,\)"):
        bs.harmless(bs.load(nn.Sequential(nn.Linear(6, 2)), (6,)), from_module(nn.Linear(4, 2), (4,)))


def test_layers_in_training_do_not_belong_to_the_front() -> None:
    network = bs.load(nn.Sequential(nn.Dropout(), nn.Conv2d(3, 5, 4, 4)), IMAGE)
    network.module.train()
    assert isinstance(bs.front(network), Identity)


@pytest.mark.parametrize(
    ("together", "reason"),
    [
        (lambda m, x: m.a(x) if x.sum() > 0 else x, "control flow"),
        (lambda m, x: torch.from_numpy(x.numpy()), "numpy"),
        (lambda m, x: x * x.relu().max().item(), "control flow"),
        (failing(KeyError("first\nsecond")), "first"),
    ],
)
def test_code_that_cannot_be_followed(together: Together, reason: str) -> None:
    network = Network("winding", Built(together, a=nn.Linear(4, 4)).eval(), (4,))
    for follow in (bs.front, bs.harmless, layers):
        with pytest.raises(UnsupportedLayerError, match="the code of winding cannot be followed") as caught:
            follow(network)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)


# --- layers -----------------------------------------------------------------------------------------------


def test_layers_of_cifar_resnet(cifar: Cifar) -> None:
    found = {layer.name: layer for layer in layers(cifar.network)}
    assert list(found)[:4] == ["1", "2", "5.conv1", "5.conv2"]
    assert list(found)[-1] == "13"
    assert {name for name in found if name.endswith("skip.0")} == {"7.skip.0", "9.skip.0"}
    # Where the skip connection carries the input past, the layer's own nullspace is not harmless for the network.
    for name, layer in found.items():
        assert layer.harmless_for_network == (not name.endswith(("conv1", "skip.0"))), name
    assert (found["13"].kind, found["5.conv1"].kind) == ("Linear", "Conv2d")
    assert found["7.skip.0"].operator.in_shape == (32, 16, 16)


def names(together: Together, **parts: nn.Module) -> list[tuple[str, bool]]:
    network = bs.load(Built(together, **parts), (6,))
    return [(layer.name, layer.harmless_for_network) for layer in layers(network)]


def test_harmless_for_the_network_or_not() -> None:
    a, b = nn.Linear(6, 6), nn.Linear(6, 2)
    assert names(lambda m, x: m.b(torch.relu(m.a(x))), a=a, b=b) == [("a", True), ("b", True)]
    assert names(lambda m, x: m.b(torch.relu(m.a(x)) + x), a=a, b=b) == [("a", False), ("b", True)]
    assert names(lambda m, x: m.a(m.a(x)), a=a) == [("a", True), ("a", True)]
    assert names(lambda m, x: m.a(input=x) + x, a=a) == [("a", False)]
    assert names(lambda m, x: m.a(x), a=shifting(nn.Linear(6, 6))) == [("a", True)]


def test_dropout_does_not_hide_a_skip_connection() -> None:
    a, drop = nn.Linear(6, 6), nn.Dropout()
    assert names(lambda m, x: m.a(m.drop(x)) + x, a=a, drop=drop) == [("a", False)]
    assert names(lambda m, x: m.a(torch.flatten(m.drop(x), 1)) + x, a=a, drop=drop) == [("a", False)]
    assert names(lambda m, x: m.a(torch.relu(x)) + x, a=a) == [("a", True)]  # the ReLU's output is read by a alone
    assert names(lambda m, x: m.a(m.drop(x)), a=a, drop=drop) == [("a", True)]


@pytest.mark.parametrize(
    ("flat", "own"),
    [
        (nn.Flatten(), False),
        (Built(lambda m, x: x.view(-1, 6)), False),
        (Built(lambda m, x: x.relu().flatten(1)), True),  # what a ReLU writes is a value of its own
    ],
)
def test_a_view_does_not_hide_another_reader(flat: nn.Module, own: bool) -> None:
    def alone(together: Together) -> list[bool]:
        network = bs.load(Built(together, a=nn.Linear(6, 4), flat=flat), (2, 3))
        return [layer.harmless_for_network for layer in layers(network)]

    assert alone(lambda m, x: m.a(m.flat(x))) == [True]
    assert alone(lambda m, x: m.a(m.flat(x)).sum(1) + x.sum((1, 2))) == [own]
    assert alone(lambda m, x: (lambda y: m.a(y).sum(1) + y.sum(1))(m.flat(x))) == [False]


def test_measure_and_its_json() -> None:
    network = made(FRONTS[0])
    reports = list(measure(layers(network)))
    assert [(r.layer.name, r.layer.kind, r.dim) for r in reports] == [("0", "Conv2d", 172), ("3", "Linear", 16)]
    for report in reports:
        row = json.loads(json.dumps(report.to_dict()))
        assert set(row) == LAYER_KEYS | {"in_shape", "certificate", "reason"}
        assert set(row["certificate"]) == CERTIFICATE_KEYS
        assert row["rank"] + row["dim"] == row["in_dim"]
        assert row["dim"] == row["formula_dim"]
        assert row["harmless_for_network"] is True
    assert reports[0].to_dict()["in_shape"] == list(IMAGE)


def test_the_formula_never_falls_below_zero_and_is_no_certificate() -> None:
    wide, poor = nn.Linear(3, 9), rank_three()
    first, second = measure(layers(bs.load(nn.Sequential(nn.Linear(6, 3), wide), (6,))))
    assert (first.to_dict()["formula_dim"], second.to_dict()["formula_dim"], second.dim) == (3, 0, 0)
    (report,) = measure(layers(bs.load(poor, (6,))))
    assert (report.to_dict()["formula_dim"], report.dim) == (0, 3)


def test_layers_too_large_are_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(operator: LinearMap) -> None:
        raise TooLargeError(f"{operator} takes 99 GiB")

    monkeypatch.setattr(sys.modules["blindspace.networks._layers"], "nullspace", refuse)
    layer = Layer("stem", "Conv2d", from_module(nn.Conv2d(3, 10, 7, 2, 3), (3, 224, 224)), True)
    (report,) = measure([layer])
    assert isinstance(report, LayerReport)
    row = json.loads(json.dumps(report.to_dict()))
    assert row["rank"] is row["dim"] is row["certificate"] is None
    assert row["formula_dim"] == 25088
    assert "GiB" in row["reason"]


def test_large_layers_that_widen_are_measured_where_asked_for() -> None:
    layer = Layer("wide", "Conv2d", from_module(nn.Conv2d(8, 8, 3, 1, 1), (8, 24, 24)), True)
    (report,) = measure([layer])
    assert report.certificate is None
    assert "--thorough" in report.reason
    (report,) = measure([layer], thorough=True)
    assert report.dim == 0
    cheap = Layer("1×1", "Conv2d", from_module(nn.Conv2d(8, 8, 1), (8, 24, 24)), True)
    assert next(measure([cheap])).dim == 0
