"""The command line as its users meet it: what it writes and prints, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file, save_file
from torch import Tensor

import blindspace as bs
from blindspace.cli.main import run
from blindspace.cli.output import progress
from blindspace.data import read_image, samples, write_images, write_png
from blindspace.evidence import verify
from blindspace.subspaces import Subspace
from processes import start

Array = npt.NDArray[Any]

MNIST = ("--model", "mnist-mlp")
WEIGHTS = Path(str(files("blindspace.networks"))) / "weights"
GREY = np.random.default_rng(0).integers(60, 190, (3, 1, 28, 28)) / 255  # 8 bits hold it, away from black and white

AUDIT_KEYS = {"model", "input_shape", "front", "layers"}
FRONT_KEYS = {
    "in_dim",
    "out_dim",
    "rank",
    "dim",
    "fraction",
    "formula_dim",
    "solver",
    "residual",
    "certificate",
}
CERTIFICATE_KEYS = {"kind", "method", "tolerance", "sigma_above", "sigma_above_is", "sigma_below", "exact_rank"}
LAYER_KEYS = {"name", "kind", "in_dim", "out_dim", "rank", "dim", "formula_dim", "harmless_for_network"}
EVIDENCE_KEYS = {
    "max_output_change",
    "max_output_change_float64",
    "relative_residual",
    "labels_changed",
    "pairs",
    "max_front_change",
    "max_front_change_float64",
    "max_perturbation",
    "dtype",
}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, with an empty cache, and leaving warnings as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # which rich takes for a terminal
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


@pytest.fixture(scope="module")
def network() -> bs.Network:
    return bs.load("mnist-mlp")


@pytest.fixture(scope="module")
def space(network: bs.Network) -> Subspace:
    return bs.harmless(network)


Capture = pytest.CaptureFixture[str]


def succeed(capsys: Capture, *arguments: object) -> str:
    """Run a command that must end well and say nothing on standard error; what it prints."""
    code = run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def result_of(capsys: Capture, *arguments: object, code: int = 0) -> dict[str, Any]:
    """The JSON of a command, which must be all there is on standard output."""
    assert run([*map(str, arguments), "--json", "-"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def read(path: str | Path) -> Tensor:
    arrays = load_file(path) if str(path).endswith(".safetensors") else np.load(path, allow_pickle=False)
    return torch.from_numpy(arrays["images"])


def sizes(delta: Tensor, norm: str) -> Tensor:
    return delta.flatten(1).abs().amax(1) if norm == "linf" else delta.flatten(1).norm(dim=1)


# --- the program itself -----------------------------------------------------------------------------------


def test_version(capsys: Capture) -> None:
    assert succeed(capsys, "--version") == f"blindspace {bs.__version__}\n"


@pytest.mark.parametrize("arguments", [["data"], ["--help"], ["perturb", "--help"]])
def test_help(capsys: Capture, arguments: list[str]) -> None:
    assert "Usage:" in succeed(capsys, *arguments)


@pytest.mark.parametrize("command", ["audit", "perturb", "verify", "train", "bench", "demo", "data get"])
def test_every_command_has_help_and_json(capsys: Capture, command: str) -> None:
    assert "--json" in succeed(capsys, *command.split(), "--help")


@pytest.mark.parametrize(("terminal", "after", "shown"), [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)])
def test_progress_shows_on_a_terminal_and_late(capsys: Capture, terminal: bool, after: float, shown: bool) -> None:
    with progress("working", Console(stderr=True, force_terminal=terminal), quiet_for=after) as report:
        report(1, 2, "half")
        time.sleep(0.3)  # the bar is drawn by a thread of its own
    out, err = capsys.readouterr()
    assert out == ""
    assert ("working: half" in err) == shown


# --- audit ------------------------------------------------------------------------------------------------


def test_audit_json(capsys: Capture, space: Subspace) -> None:
    found = result_of(capsys, "audit", "mnist-mlp", "--no-layers")
    assert set(found) == AUDIT_KEYS | {"input", "measured", "shown", "deployed", "soft"}
    assert set(found["front"]) == FRONT_KEYS | {"reason", "ends"}
    assert set(found["front"]["certificate"]) == CERTIFICATE_KEYS | {"rank", "sigma_max"}
    front = found["front"]
    assert (found["model"], found["input_shape"], found["layers"]) == ("mnist-mlp", [1, 28, 28], [])
    assert (front["in_dim"], front["out_dim"], front["rank"], front["dim"]) == (784, 256, 256, 528)
    assert (front["formula_dim"], front["fraction"]) == (528, 528 / 784)
    assert front["residual"] < 1e-14
    assert front["certificate"] == space.certificate.to_dict()


def test_audit_shows_it_on_the_network_beside_noise(capsys: Capture) -> None:
    found = result_of(capsys, "audit", "mnist-mlp", "--no-layers")
    assert found["front"]["ends"] == {"2": ["relu in 3"]}
    assert found["input"] == "pixels"
    assert found["shown"]["labels_changed"] == 0
    assert found["shown"]["harmless"] < 1e-3 < found["shown"]["noise"]
    out = succeed(capsys, "audit", "mnist-mlp", "--no-layers")
    assert "ends at 2, read by relu in 3" in out
    assert "noise of the same norm" in " ".join(out.split())


def test_audit_counts_what_moves_the_front_by_little(capsys: Capture) -> None:
    found = result_of(capsys, "audit", "mnist-mlp", "--no-layers", "--soft", "1e-3,0.5")
    rows = found["soft"]["counts"]
    assert [(row["threshold"], row["kind"]) for row in rows] == [(1e-3, "exact"), (0.5, "exact")]
    assert rows[0]["count"] == 528 < rows[1]["count"] <= 784
    assert "directions that move the front by little" in succeed(
        capsys, "audit", "mnist-mlp", "--no-layers", "--soft", "1e-3"
    )


def test_audit_draws_the_spectrum_and_gives_its_data(capsys: Capture, tmp_path: Path) -> None:
    found = result_of(capsys, "audit", "mnist-mlp", "--no-layers", "--spectrum", tmp_path / "s.svg")
    assert (tmp_path / "s.svg").read_text().lstrip().startswith("<?xml")
    sigma = found["spectrum"]["sigma"]
    assert sigma == sorted(sigma, reverse=True)
    assert sigma[0] == pytest.approx(bs.front(bs.load("mnist-mlp")).norm(), rel=1e-6)


def test_audit_json_of_layers(capsys: Capture) -> None:
    layers = result_of(capsys, "audit", "mnist-mlp")["layers"]
    assert all(set(layer) == LAYER_KEYS | {"in_shape", "certificate", "reason"} for layer in layers)
    assert [(layer["in_dim"], layer["dim"]) for layer in layers] == [
        (784, 528),
        (256, 0),
        (256, 128),
        (128, 64),
        (64, 54),
    ]


def test_audit_to_a_file(capsys: Capture, tmp_path: Path) -> None:
    out = succeed(capsys, "audit", "mnist-mlp", "--json", tmp_path / "new" / "a.json")
    assert "528 of 784" in out
    assert "exact by SVD" in out
    assert "harmless for the network" in " ".join(out.split())
    to_file = json.loads((tmp_path / "new" / "a.json").read_text())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
    assert run(["audit", "mnist-mlp", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == to_file  # and nothing else, and reproducibly
    assert "528 of 784" in err  # the tables make room


def test_an_undecided_rank_is_told_in_one_line(capsys: Capture, tmp_path: Path) -> None:
    weights = load_file(WEIGHTS / "mnist-mlp.safetensors")
    weights["2.weight"] = np.zeros_like(weights["2.weight"])
    np.fill_diagonal(weights["2.weight"], 10.0 ** -(np.arange(256) / 16))  # through the tolerance without a gap
    save_file(weights, tmp_path / "poor.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run(["audit", "mnist-mlp", "--weights", str(tmp_path / "poor.safetensors"), "--no-layers"]) == 0
    out, err = capsys.readouterr()
    assert "undecided" in out
    assert err.startswith("blindspace: warning: the rank of ")
    assert err.count("\n") == 1


# --- perturb ----------------------------------------------------------------------------------------------


def as_png(folder: Path) -> list[str]:
    for name, image in zip("abc", GREY, strict=True):
        write_png(folder / f"{name}.png", image)
    return [f"{name}.png" for name in "abc"]


def as_folder(folder: Path) -> list[str]:
    as_png(folder / "pictures")
    (folder / "pictures" / "notes.txt").write_text("no picture")
    return ["pictures"]


def as_npz(folder: Path) -> list[str]:
    np.savez(folder / "x.npz", images=GREY, labels=[1, 2, 3])
    return ["x.npz"]


def as_safetensors(folder: Path) -> list[str]:
    save_file({"images": GREY}, folder / "x.safetensors")
    return ["x.safetensors"]


@pytest.mark.parametrize("made", [as_png, as_folder, as_npz, as_safetensors])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_perturb_reads_and_writes(
    capsys: Capture, tmp_path: Path, network: bs.Network, made: Callable[[Path], list[str]], suffix: str
) -> None:
    found = result_of(capsys, "perturb", *made(tmp_path), "--out", f"out/y{suffix}", *MNIST, "--size", 2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"y{suffix}"]
    x, y = torch.from_numpy(GREY), read(f"out/y{suffix}")
    assert y.dtype == torch.float64
    torch.testing.assert_close(sizes(y - x, "linf"), torch.full((3,), 2.0).double())
    change = (network.outputs(y, torch.float64) - network.outputs(x, torch.float64)).abs().max()
    assert float(change) < 1e-10
    assert set(found) == EVIDENCE_KEYS | {
        *("out", "names", "model", "also", "kind", "size", "norm", "in_range", "seed", "salt", "unchanged")
    }
    assert found["max_output_change_float64"] == pytest.approx(float(change), abs=1e-10)
    assert (found["pairs"], found["labels_changed"], found["unchanged"]) == (3, 0, 0)
    pictures = made in (as_png, as_folder)
    assert found["names"] == (["a", "b", "c"] if pictures else ["x-0000", "x-0001", "x-0002"])


@pytest.mark.parametrize("in_range", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["noise", "parallel", "least-harmful"])
def test_perturb_of_every_kind(
    capsys: Capture, tmp_path: Path, network: bs.Network, space: Subspace, kind: str, norm: str, in_range: bool
) -> None:
    size = {"linf": 0.4, "l2": 4.0}[norm]
    options = ["--kind", kind, "--norm", norm, "--size", size, *(["--in-range"] if in_range else [])]
    out = succeed(capsys, "perturb", *as_npz(tmp_path), "-o", "y.npz", *MNIST, *options, "--json", "e.json")
    assert "3 perturbed images in y.npz" in out
    evidence = json.loads(Path("e.json").read_text())
    assert evidence["labels_changed"] == 0
    assert evidence["max_output_change"] < 1e-3
    assert (evidence["kind"], evidence["norm"], evidence["in_range"]) == (kind, norm, in_range)
    x, y = torch.from_numpy(GREY), read("y.npz")
    change = network.outputs(y, torch.float64) - network.outputs(x, torch.float64)
    assert float(change.abs().max()) < 1e-9
    found = sizes(y - x, norm)
    if in_range:
        assert float(y.min()) >= 0
        assert float(y.max()) <= 1
        assert bool((found <= size * (1 + 1e-12)).all())
        assert bool((found > 0.2 * size).all())
        assert bool(space.contains(y - x, 1e-8).all())
    else:
        torch.testing.assert_close(found, torch.full((3,), size).double())
        assert bool(space.contains(y - x, 1e-12).all())


def test_perturb_samples_with_preview(capsys: Capture, tmp_path: Path) -> None:
    found = result_of(capsys, "perturb", "samples", "-o", "y.npz", *MNIST, "--preview", "look", "--size", 0.3)
    assert (found["pairs"], found["labels_changed"]) == (200, 0)
    y = read("y.npz")
    assert torch.equal((y - samples("mnist").tensor(torch.float64)).flatten(1).any(1), torch.ones(200).bool())
    pictures = sorted((tmp_path / "look").iterdir())
    assert [path.name for path in pictures] == [f"sample-{index:03d}.png" for index in range(200)]
    assert found["names"] == [path.stem for path in pictures]
    for picture, image in list(zip(pictures, y.clamp(0, 1).numpy(), strict=True))[:5]:
        assert float(np.abs(read_image(picture) - image).max()) <= 0.5 / 255 + 1e-12


def test_images_of_one_name_keep_apart(capsys: Capture, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        as_png(tmp_path / folder)
    found = result_of(capsys, "perturb", "first", "second/a.png", "-o", "y.npz", *MNIST, "--preview", "look")
    assert found["names"] == ["a", "b", "c", "a-2"]
    assert sorted(path.stem for path in (tmp_path / "look").iterdir()) == sorted(found["names"])


@pytest.mark.parametrize("kind", ["noise", "parallel", "least-harmful"])
def test_seeds_reproduce_bit_for_bit(capsys: Capture, tmp_path: Path, kind: str) -> None:
    as_npz(tmp_path)
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        succeed(capsys, "perturb", "x.npz", "-o", f"{name}.npz", *MNIST, "--kind", kind, "--seed", seed)
    assert torch.equal(read("first.npz"), read("again.npz"))
    if kind == "noise":
        assert not torch.equal(read("first.npz"), read("other.npz"))


def test_the_file_says_how_it_was_made(capsys: Capture, tmp_path: Path) -> None:
    succeed(capsys, "perturb", *as_npz(tmp_path), "-o", "y.npz", *MNIST, "--seed", 3)
    words = json.loads(str(np.load("y.npz")["metadata"]))
    assert words == {
        **{"model": "mnist-mlp", "kind": "noise", "size": "0.5", "norm": "linf", "in_range": "false", "seed": "3"},
        "names": '["x-0000", "x-0001", "x-0002"]',
    }


def test_images_without_room_stay_as_they_are_and_that_is_told(capsys: Capture) -> None:
    np.savez("x.npz", images=np.stack([np.zeros((1, 28, 28)), GREY[0]]))
    out = succeed(capsys, "perturb", "x.npz", "-o", "y.npz", *MNIST, "--in-range", "--json", "e.json")
    assert "left as they were 1 of 2" in " ".join(out.split())
    assert json.loads(Path("e.json").read_text())["unchanged"] == 1
    assert not read("y.npz")[0].any()
    succeed(capsys, "perturb", "x.npz", "-o", "y.npz", *MNIST, "--size", 0)
    assert torch.equal(read("y.npz"), read("x.npz"))


def test_names_like_markup_are_names(capsys: Capture, tmp_path: Path) -> None:
    assert "in [bold]y[0].npz" in succeed(capsys, "perturb", *as_npz(tmp_path), "-o", "[bold]y[0].npz", *MNIST)
    assert "[/red].npz" in succeed(capsys, "perturb", "x.npz", "-o", "[/red].npz", *MNIST)


# --- verify -----------------------------------------------------------------------------------------------


def test_verify_says_yes_to_harmless(capsys: Capture, tmp_path: Path, network: bs.Network) -> None:
    succeed(capsys, "perturb", *as_npz(tmp_path), "-o", "y.npz", *MNIST, "--size", 3)
    found = result_of(capsys, "verify", "x.npz", "y.npz", *MNIST)
    assert set(found) == EVIDENCE_KEYS | {"model", "tolerance", "harmless"}
    assert found["harmless"] is True
    assert (found["pairs"], found["labels_changed"], found["dtype"]) == (3, 0, "float32")
    assert found["max_perturbation"] == pytest.approx(3)
    assert found["relative_residual"] < 1e-14
    expected = verify(network, torch.from_numpy(GREY), read("y.npz"))
    assert {key: found[key] for key in EVIDENCE_KEYS} == expected.to_dict()
    assert "3 pairs: read alike" in succeed(capsys, "verify", "x.npz", "y.npz", *MNIST)


def test_verify_says_no_to_noise(capsys: Capture, tmp_path: Path) -> None:
    as_npz(tmp_path)
    np.savez("y.npz", images=GREY + 0.1 * np.random.default_rng(0).standard_normal(GREY.shape))
    assert run(["verify", "x.npz", "y.npz", *MNIST]) == 1
    out, err = capsys.readouterr()
    assert "read differently" in out
    assert err == ""
    found = result_of(capsys, "verify", "x.npz", "y.npz", *MNIST, code=1)
    assert found["harmless"] is False
    assert found["relative_residual"] > 1e-2
    assert run(["verify", "x.npz", "y.npz", *MNIST, "--json", "e.json"]) == 1
    assert json.loads(Path("e.json").read_text()) == found


def test_a_changed_label_is_no_whatever_the_tolerance(capsys: Capture) -> None:
    images = samples("mnist").tensor(torch.float64).numpy()
    np.savez("x.npz", images=images[:2])
    np.savez("y.npz", images=images[[0, 3]])  # a 2 became a 0
    found = result_of(capsys, "verify", "x.npz", "y.npz", *MNIST, "--tolerance", 1e9, code=1)
    assert found["labels_changed"] == 1
    assert result_of(capsys, "verify", "x.npz", "x.npz", *MNIST, "--tolerance", 0)["max_output_change"] == 0


def test_pairs_go_by_name_where_the_names_are_the_same(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    for name, image in (("a.c", GREY[0]), ("a", GREY[1])):
        write_png(tmp_path / "first" / f"{name}.png", image)
    shutil.copy("first/a.c.png", "second/a.c.png")
    write_png(tmp_path / "a.png", GREY[1])
    with Image.open("a.png") as picture:
        picture.save("second/a.bmp")  # now sorted before a.c.png
    found = result_of(capsys, "verify", "first", "second", *MNIST)
    assert found["max_perturbation"] == 0
    # Of other names they go as they come.
    (tmp_path / "second" / "a.bmp").rename(tmp_path / "second" / "b.bmp")
    assert result_of(capsys, "verify", "first", "second", *MNIST)["pairs"] == 2


# --- train, bench, data -----------------------------------------------------------------------------------


def mnist_in(folder: Path, count: int = 256) -> None:
    """The files of MNIST, with few and random images."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for stem in ("train", "t10k"):
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        head = struct.pack(">4BIII", 0, 0, 8, 3, *pixels.shape)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())


def test_train_and_use_what_was_trained(capsys: Capture, tmp_path: Path) -> None:
    mnist_in(tmp_path / "home" / "data" / "mnist")
    card = result_of(capsys, "train", "mnist-mlp", "--epochs", 1, "--seed", 5, "--out", "new")
    assert card == json.loads(Path("new/mnist-mlp.json").read_text())
    assert (card["recipe"]["epochs"], card["recipe"]["seed"], card["test_images"]) == (1, 5, 256)
    assert sorted(path.name for path in Path("new").iterdir()) == ["mnist-mlp.json", "mnist-mlp.safetensors"]
    found = result_of(capsys, "audit", "mnist-mlp", "--weights", "new/mnist-mlp.safetensors", "--no-layers")
    assert found["front"]["dim"] == 528
    assert "mnist-mlp: " in succeed(capsys, "train", "mnist-mlp", "--epochs", 1)
    assert (tmp_path / "home" / "networks" / "mnist-mlp.safetensors").is_file()


def test_train_an_autoencoder(capsys: Capture, tmp_path: Path) -> None:
    mnist_in(tmp_path / "home" / "data" / "mnist")
    card = result_of(capsys, "train", "mnist-autoencoder", "--epochs", 1)
    written = tmp_path / "home" / "networks" / "mnist-autoencoder.json"
    assert card == json.loads(written.read_text())
    assert (card["dim"], card["recipe"]["epochs"], card["beats_pca"]) == (16, 1, False)  # of images that are noise
    out = succeed(capsys, "train", "mnist-autoencoder", "--epochs", 1)
    assert "mean squared error" in out
    assert "which is the better manifold" in " ".join(out.split())


def test_bench(capsys: Capture) -> None:
    out = succeed(capsys, "bench", "8×8", "--repeats", 3, "--no-rivals", "--json", "b.json")
    assert "patchwise" in out
    found = json.loads(Path("b.json").read_text())
    settings = {"machine", "threads", "torch", "scipy", "seed", "repeats", "patience"}
    assert set(found) == settings | {"rows", "rivals", "refused"}
    (row,) = found["rows"]
    assert (row["name"], row["solver"]) == ("patch 8×8, 3→48 at 32×32", "patchwise")
    assert (row["in_dim"], row["dim"]) == (3072, 3072 - 16 * 48)
    assert row["residual"] < 1e-14
    assert all(row[key] > 0 for key in ("setup", "seconds_1", "ratio_1", "seconds_64", "ratio_64"))


def test_data_get(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str, folder: Path | None, report: Callable[[int, int, str], None]) -> Path:
        report(1, 2, name)
        return folder or tmp_path

    monkeypatch.setattr("blindspace.cli.data.fetch", fetch)
    assert result_of(capsys, "data", "get", "mnist", "--folder", "[/x]") == {"name": "mnist", "folder": "[/x]"}
    assert "mnist is in [/x]" in succeed(capsys, "data", "get", "mnist", "--folder", "[/x]")


# --- bad input --------------------------------------------------------------------------------------------

PERTURB = ("perturb", "x.npz", "-o", "y.npz", *MNIST)


def saved(**arrays: Array) -> Callable[[], None]:
    return lambda: np.savez("bad.npz", allow_pickle=True, **arrays)


def with_value(value: float) -> Callable[[], None]:
    images = GREY.copy()
    images[1, 0, 3, 4] = value
    return saved(images=images)


def truncated_png() -> None:
    write_png(Path("bad.png"), GREY[0])
    Path("bad.png").write_bytes(Path("bad.png").read_bytes()[:-200])


def truncated_safetensors() -> None:
    write_images(Path("bad.safetensors"), GREY)
    Path("bad.safetensors").write_bytes(Path("bad.safetensors").read_bytes()[:-100])


def truncated_npz() -> None:
    np.savez("bad.npz", images=GREY)
    Path("bad.npz").write_bytes(Path("bad.npz").read_bytes()[:-100])


def written(name: str, content: bytes = b"no image") -> Callable[[], object]:
    return lambda: Path(name).write_bytes(content)


def wrong_weights() -> None:
    shutil.copy(WEIGHTS / "cifar-resnet.safetensors", "bad.safetensors")


def nothing() -> None:
    pass


BAD: dict[str, tuple[Callable[[], object], tuple[object, ...], str]] = {
    # images
    "wrong shape": (saved(images=np.zeros((1, 3, 8, 8))), ("perturb", "bad.npz", *PERTURB[2:]), r"(3, 8, 8)"),
    "wrong axes": (saved(images=np.zeros((8, 8))), ("perturb", "bad.npz", *PERTURB[2:]), "(8, 8)"),
    "integers": (saved(images=np.zeros((1, 28, 28), int)), ("perturb", "bad.npz", *PERTURB[2:]), "int64"),
    "no array": (saved(), ("perturb", "bad.npz", *PERTURB[2:]), "none"),
    "two arrays": (saved(a=GREY, b=GREY), ("perturb", "bad.npz", *PERTURB[2:]), "'images'"),
    "objects": (saved(images=np.array([None])), ("perturb", "bad.npz", *PERTURB[2:]), "unpickling"),
    "NaN": (with_value(np.nan), ("perturb", "bad.npz", *PERTURB[2:]), "NaN"),
    "infinite": (with_value(-np.inf), ("perturb", "bad.npz", *PERTURB[2:]), "infinite"),
    "out of range": (with_value(1.5), ("perturb", "bad.npz", *PERTURB[2:]), "1.5"),
    "bytes": (saved(images=GREY * 255), ("perturb", "bad.npz", *PERTURB[2:]), "divide them by 255"),
    "NaN in B": (with_value(np.nan), ("verify", "x.npz", "bad.npz", *MNIST), "NaN"),
    "overflow in B": (with_value(1e39), ("verify", "x.npz", "bad.npz", *MNIST), "overflows in float32"),
    "out of range in A": (with_value(-0.1), ("verify", "bad.npz", "x.npz", *MNIST), "-0.1"),
    "missing": (nothing, ("perturb", "none.png", *PERTURB[2:]), "none.png does not exist"),
    "missing B": (nothing, ("verify", "x.npz", "none.npz", *MNIST), "none.npz does not exist"),
    "empty name": (nothing, ("perturb", "", *PERTURB[2:]), "no picture"),
    "long name": (nothing, ("perturb", "n" * 5000, *PERTURB[2:]), "too long"),
    "truncated PNG": (truncated_png, ("perturb", "bad.png", *PERTURB[2:]), "bad.png"),
    "no PNG": (written("bad.png"), ("perturb", "bad.png", *PERTURB[2:]), "bad.png is not a"),
    "empty PNG": (written("bad.png", b""), ("perturb", "bad.png", *PERTURB[2:]), "bad.png is not a"),
    "truncated safetensors": (
        truncated_safetensors,
        ("perturb", "bad.safetensors", *PERTURB[2:]),
        "bad.safetensors is damaged",
    ),
    "truncated npz": (truncated_npz, ("perturb", "bad.npz", *PERTURB[2:]), "bad.npz is damaged"),
    "pickle": (written("bad.pkl", pickle.dumps(GREY)), ("perturb", "bad.pkl", *PERTURB[2:]), "pickle, which can run"),
    "unknown suffix": (written("bad.txt"), ("perturb", "bad.txt", *PERTURB[2:]), "bad.txt is text, not a picture"),
    "empty folder": (lambda: Path("bad").mkdir(), ("perturb", "bad", *PERTURB[2:]), "contains no picture"),
    "more in A than in B": (
        saved(images=GREY[:2]),
        ("verify", "x.npz", "bad.npz", *MNIST),
        "A holds 3 images and B 2",
    ),
    # models
    "unknown model": (nothing, ("audit", "resnet"), "'resnet'"),
    "pickled model": (written("net.pt"), ("audit", "net.pt"), "net.pt is a pickle, which can run code"),
    "pickled weights": (written("net.pt"), ("audit", "mnist-mlp", "--weights", "net.pt"), "not a .safetensors file"),
    "soft bound no number": (nothing, ("audit", "mnist-mlp", "--soft", "few"), "'few'"),
    "soft bound not above 0": (nothing, ("audit", "mnist-mlp", "--soft", "0"), "above 0"),
    "spectrum no picture": (
        nothing,
        ("audit", "mnist-mlp", "--spectrum", "s.txt"),
        "s.txt is not the name of a picture",
    ),
    "missing weights": (nothing, ("audit", "mnist-mlp", "--weights", "w.safetensors"), "w.safetensors does not exist"),
    "weights of another": (
        wrong_weights,
        (*PERTURB, "--weights", "bad.safetensors"),
        "damaged or not of mnist-mlp",
    ),
    "wrong model for the images": (nothing, ("perturb", "x.npz", "-o", "y.npz"), "cifar-resnet reads images"),
    # what to write
    "another suffix": (nothing, ("perturb", "x.npz", "-o", "y.png", *MNIST), "y.png must end in .npz or .safetensors"),
    "no suffix": (nothing, ("perturb", "x.npz", "-o", "y", *MNIST), "add --in-range"),
    "unwritable": (nothing, ("perturb", "x.npz", "-o", "/proc/nope/y.npz", *MNIST), "cannot write /proc/nope/y.npz"),
    "file as folder": (nothing, ("perturb", "x.npz", "-o", "x.npz/y.npz", *MNIST), "x.npz is not a folder"),
    "folder as file": (
        lambda: Path("bad.npz").mkdir(),
        ("perturb", "x.npz", "-o", "bad.npz", *MNIST),
        "bad.npz: it is a folder",
    ),
    "preview in a file": (nothing, (*PERTURB, "--preview", "x.npz"), "x.npz is not a folder"),
    "preview below a file": (nothing, (*PERTURB, "--preview", "x.npz/look"), "x.npz is not a folder"),
    "JSON below a file": (nothing, (*PERTURB, "--json", "x.npz/e.json"), "x.npz is not a folder"),
    "JSON to a folder": (nothing, (*PERTURB, "--json", "."), "it is a folder"),
    "JSON unwritable": (nothing, ("audit", "mnist-mlp", "--no-layers", "--json", "/proc/nope/a"), "/proc/nope/a"),
    "demo in a file": (nothing, ("demo", "--out", "x.npz"), "x.npz is not a folder"),
    "training in a file": (nothing, ("train", "mnist-mlp", "--out", "x.npz/new"), "x.npz is not a folder"),
    # options
    "unknown command": (nothing, ("adit",), "'adit'"),
    "unknown option": (nothing, (*PERTURB, "--sise", 1), "--sise"),
    "missing argument": (nothing, ("audit",), "MODEL"),
    "missing option": (nothing, ("perturb", "x.npz"), "--out"),
    "one too many": (nothing, ("audit", "mnist-mlp", "cifar-resnet"), "cifar-resnet"),
    "missing value": (nothing, (*PERTURB, "--size"), "--size"),
    "no number": (nothing, (*PERTURB, "--size", "big"), "--size"),
    "negative size": (nothing, (*PERTURB, "--size", -0.5), "--size"),
    "no size": (nothing, (*PERTURB, "--size", "nan"), "--size"),
    "infinite size": (nothing, (*PERTURB, "--size", "inf"), "inf"),
    "too large a size": (nothing, (*PERTURB, "--size", "1e300"), "overflows in float32"),
    "unknown kind": (nothing, (*PERTURB, "--kind", "loud"), "no kind of perturbation is called 'loud'"),
    "unknown norm": (nothing, (*PERTURB, "--norm", "l1"), "--norm"),
    "negative seed": (nothing, (*PERTURB, "--seed", -1), "--seed"),
    "too large a seed": (nothing, (*PERTURB, "--seed", 2**64), "--seed"),
    "no tolerance": (nothing, ("verify", "x.npz", "x.npz", *MNIST, "--tolerance", "nan"), "tolerance"),
    "any tolerance": (nothing, ("verify", "x.npz", "x.npz", *MNIST, "--tolerance", "inf"), "tolerance"),
    # the others
    "training what is not known": (nothing, ("train", "resnet"), "'resnet'"),
    "training without data": (nothing, ("train", "mnist-mlp"), "run: blindspace data get mnist"),
    "no epochs": (nothing, ("train", "mnist-mlp", "--epochs", 0), "--epochs"),
    "unknown data set": (nothing, ("data", "get", "imagenet"), "'imagenet'"),
    "nothing to get": (nothing, ("data", "get"), "NAME"),
    "unknown case": (nothing, ("bench", "13×13"), "'13×13'"),
    "too few repeats": (nothing, ("bench", "8×8", "--repeats", 2), "--repeats"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(capsys: Capture, tmp_path: Path, case: str) -> None:
    prepare, arguments, fragment = BAD[case]
    as_npz(tmp_path)
    prepare()
    before = contents(tmp_path)
    assert run([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("blindspace: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert fragment in err
    assert "Traceback" not in out + err
    assert contents(tmp_path) == before


# --- interrupted ------------------------------------------------------------------------------------------


def test_ctrl_c_while_writing(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_npz(tmp_path)
    before = contents(tmp_path)

    def stop(path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("blindspace.data.array_files.np.savez_compressed", stop)
    assert run(PERTURB) == 2
    err = capsys.readouterr().err
    assert err.startswith("blindspace: interrupted; ")
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


# --- as a program of its own ------------------------------------------------------------------------------

ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"} | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(bs.__file__).parent.parent),
}


def test_program_prints_pure_json_on_a_poor_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blindspace.cli.main", "audit", "mnist-mlp", "--no-layers", "--json", "-"],
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["front"]["dim"] == 528
    assert b"528 of 784" in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr  # no colours, no bar
    assert b"Traceback" not in done.stderr


def test_program_says_no_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blindspace.cli.main", "audit", "σ-net"],
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("blindspace: no network is called '\\u03c3-net'")
    assert done.stderr.count("\n") == 1


def test_program_stopped_while_training(tmp_path: Path) -> None:
    mnist_in(tmp_path / "data" / "mnist")
    out = tmp_path / "out"
    checkpoint = out / ".mnist-mlp.checkpoint.pt"
    arguments = ("train", "mnist-mlp", "--epochs", 100_000, "--out", out)
    training = start(*arguments, environment={"BLINDSPACE_HOME": str(tmp_path)})
    try:
        until = time.monotonic() + 120
        while not checkpoint.exists() and training.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        training.send_signal(signal.SIGINT)
        printed, err = training.communicate(timeout=60)
    finally:
        training.kill()
    assert (training.returncode, printed) == (2, b"")
    assert err.startswith(b"blindspace: interrupted; ")
    assert err.count(b"\n") == 1
    assert [path.name for path in out.iterdir()] == [checkpoint.name]
    assert torch.load(checkpoint, weights_only=True)["measured"]  # whole, so that training can go on
