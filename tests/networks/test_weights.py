"""Weights as training code, wrappers and libraries leave them in .safetensors files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

import blindspace as bs
from blindspace.errors import FileError
from blindspace.networks.sources.weights import load_weights

State = dict[str, Tensor]


class Net(nn.Module):
    """A convolution, a batch norm and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.norm(self.conv(x)).relu().flatten(1))
        return found


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.tied = nn.Linear(12, 4, bias=False), nn.Linear(12, 4, bias=False)
        self.tied.weight = self.encoder.weight


class Untied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.tied = nn.Linear(12, 4, bias=False), nn.Linear(12, 4, bias=False)


class Around(nn.Module):
    """A class around a network, as training frameworks have it."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.model = inside


def state_of(module: nn.Module) -> State:
    return {key: value.clone() for key, value in module.state_dict().items()}


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + key: value for key, value in state.items()}


def without_counter(state: State) -> State:
    return {key: value for key, value in state.items() if "num_batches" not in key}


def compiled_inside(state: State) -> State:
    return {key.replace(".", "._orig_mod.", 1): value for key, value in state.items()}


def in_half(state: State) -> State:
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


FITTING: dict[str, Callable[[State], State]] = {
    "plain": dict,
    "DataParallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled in DataParallel": prefixed("module._orig_mod."),
    "compiled parts": compiled_inside,
    "within a class": prefixed("model."),
    "within a class in DataParallel": prefixed("module.model."),
    "of before the counter": without_counter,
    "wrapped, of before the counter": lambda state: prefixed("net.")(without_counter(state)),
    "half": in_half,
    "double": lambda state: {key: x.double() if x.is_floating_point() else x for key, x in state.items()},
}


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("around", [nn.Identity, Around])
def test_files_of_the_same_network_fit(name: str, around: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, fresh = Net(), Net()
    target = fresh if around is nn.Identity else around(fresh)
    save_file(FITTING[name](state_of(trained)), tmp_path / "a.safetensors")
    load_weights(target, tmp_path / "a.safetensors", "net")
    for key, value in without_counter(state_of(trained)).items():
        expected = value.half().float() if name == "half" else value
        assert torch.equal(fresh.state_dict()[key], expected), key


def test_a_compiled_module_reads_plain_files(tmp_path: Path) -> None:
    trained, fresh = Net(), Net()
    save_file(state_of(trained), tmp_path / "a.safetensors")
    compiled = nn.Module()
    compiled.add_module("_orig_mod", fresh)  # as torch.compile names what it has compiled
    load_weights(compiled, tmp_path / "a.safetensors", "net")
    assert torch.equal(fresh.conv.weight, trained.conv.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "head.bias"}, "1 missing: head.bias"),
        (lambda s: {**s, "extra": torch.ones(1)}, "1 not known to it: extra"),
        (lambda s: {**s, "head.bias": torch.ones(6)}, r"1 of another shape: head.bias \(6,\) for \(5,\)"),
        (lambda s: {**s, "head.weight": s["head.weight"].to(torch.int8)}, "1 of another type: head.weight torch.int8"),
        (lambda s: {**s, "module.head.bias": torch.ones(5)}, "1 not known to it: module.head.bias"),
        (lambda s: {"base.head.lora_A.weight": torch.ones(2, 2)}, "is an adapter .*lora_A"),
    ],
)
def test_other_files_are_refused(change: Callable[[State], State], message: str, tmp_path: Path) -> None:
    save_file(change(state_of(Net())), tmp_path / "a.safetensors")
    with pytest.raises(FileError, match=message):
        load_weights(Net(), tmp_path / "a.safetensors", "net")


def test_one_of_several_tied_weights_is_enough(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = Tied()
    path = tmp_path / "a.safetensors"
    save_model(trained, str(path))
    for module in (Tied(), Untied()):  # the header says which names are one weight
        load_weights(module, path, "net")
        assert torch.equal(module.tied.weight, trained.encoder.weight)
    for kept in ("encoder.weight", "tied.weight"):
        save_file({kept: trained.encoder.weight.detach().clone()}, path)
        load_weights(fresh := Tied(), path, "net")
        assert torch.equal(fresh.encoder.weight, trained.encoder.weight)
        with pytest.raises(FileError, match="1 missing"):
            load_weights(Untied(), path, "net")


def test_tied_weights_that_differ_are_refused(tmp_path: Path) -> None:
    save_file(state_of(Untied()), tmp_path / "a.safetensors")
    with pytest.raises(FileError, match=r"tied to others but not equal: encoder\.weight"):
        load_weights(Tied(), tmp_path / "a.safetensors", "net")


def weight_normed(newer: bool) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrap = nn.utils.parametrizations.weight_norm if newer else nn.utils.weight_norm
        return nn.Sequential(wrap(nn.Linear(3, 4)))


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("module", [False, True])
def test_both_spellings_of_a_weight_norm(file: bool, module: bool, tmp_path: Path) -> None:
    trained, fresh = weight_normed(file), weight_normed(module)
    save_file(state_of(trained), tmp_path / "a.safetensors")
    load_weights(fresh, tmp_path / "a.safetensors", "net")
    x = torch.rand(2, 3)
    assert torch.equal(fresh(x), trained(x))


# --- weights in parts ------------------------------------------------------------------------------------------


def parts(folder: Path, **places: str) -> Path:
    """The weights in two files and an index; ``places`` are other files for some of them."""
    state = state_of(Net())
    halves = [dict(list(state.items())[:3]), dict(list(state.items())[3:])]
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    where = {key: name for half, name in zip(halves, names, strict=True) for key in half}
    for half, name in zip(halves, names, strict=True):
        save_file(half, folder / name)
    where |= {key.replace("_", "."): name for key, name in places.items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder / "model.safetensors.index.json"


def test_weights_in_parts(tmp_path: Path) -> None:
    index = parts(tmp_path)
    made = [Net(), Net()]
    for module, path in zip(made, (index, tmp_path), strict=True):
        load_weights(module, path, "net")
    assert torch.equal(made[0].head.weight, made[1].head.weight)
    expected = bs.load("tests.networks.test_weights:Net", (3, 8, 8), weights=index)
    assert torch.equal(expected.module.get_parameter("head.weight"), made[0].head.weight)


@pytest.mark.parametrize("file", ["../a.safetensors", "/etc/passwd", "a/b.safetensors", "a.bin", ""])
def test_parts_lie_beside_their_index(file: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"which is no \.safetensors file beside it"):
        load_weights(Net(), parts(tmp_path, head_bias=file), "net")


def test_parts_that_are_missing_or_lack_weights(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"lists c\.safetensors, which is missing"):
        load_weights(Net(), parts(tmp_path, head_bias="c.safetensors"), "net")
    with pytest.raises(FileError, match=r"lack 1 of its weights: further\.bias"):
        load_weights(Net(), parts(tmp_path, further_bias="model-00001-of-00002.safetensors"), "net")
    for content in ("{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}'):
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(FileError, match="lists no files of weights"):
            load_weights(Net(), tmp_path, "net")


def test_a_folder_with_one_file_of_weights_stands_for_it(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds 0 files of weights"):
        load_weights(Net(), tmp_path, "net")
    trained = Net()
    save_file(state_of(trained), tmp_path / "a.safetensors")
    load_weights(fresh := Net(), tmp_path, "net")
    assert torch.equal(fresh.head.weight, trained.head.weight)
    save_file(state_of(trained), tmp_path / "b.safetensors")
    with pytest.raises(FileError, match=r"2 files of weights \(a\.safetensors, b\.safetensors\)"):
        load_weights(fresh, tmp_path, "net")
