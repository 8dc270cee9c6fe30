"""The command ``perturb`` as its users meet it: largest, decoys, keys, families, several networks, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blindspace.cli.main import run
from blindspace.data import read_image, read_images, samples
from blindspace.networks import load

X = samples("cifar10").tensor(torch.float64)[:3].numpy()


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("BLINDSPACE_KEY", raising=False)
    np.savez("x.npz", images=X)


Capture = pytest.CaptureFixture[str]


def result_of(capsys: Capture, *arguments: object) -> dict[str, Any]:
    assert run([*map(str, arguments), "--json", "-"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: Capture, *arguments: object) -> str:
    assert run([str(argument) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


PERTURB = ("perturb", "x.npz", "-o")


@pytest.mark.parametrize("kind", ["largest", "decoy"])
def test_pictures_in_a_folder_are_measured_as_they_are_read_back(capsys: Capture, kind: str) -> None:
    found = result_of(capsys, *PERTURB, "new", "--kind", kind)
    files = sorted(Path("new").iterdir())
    assert [file.name for file in files] == [f"x-{n:04d}.png" for n in range(3)]
    read = torch.from_numpy(np.stack([read_image(file) for file in files]))
    network = load("cifar-resnet")
    change = (network.outputs(read) - network.outputs(torch.from_numpy(X))).abs().max()
    assert found["max_output_change"] == pytest.approx(float(change))
    assert float(change) > 1e-4  # eight bits are no exact answer
    assert found["labels_changed"] == 0
    assert found["max_perturbation"] > 0.05


@pytest.mark.parametrize("file_format", ["npz", "safetensors"])
def test_formats_that_keep_every_digit(capsys: Capture, file_format: str) -> None:
    found = result_of(capsys, *PERTURB, "new", "--kind", "noise", "--in-range", "--format", file_format)
    assert len(list(Path("new").iterdir())) == 3
    assert found["max_output_change_float64"] < 1e-12


def test_a_key_takes_the_noise_off(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography", reason="the extra [keyed] is not installed")
    Path("key").write_text("open sesame\n")
    found = result_of(capsys, *PERTURB, "y.npz", "--kind", "keyed", "--key-file", "key", "--size", 3)
    assert found["labels_changed"] == 0
    assert "open sesame" not in json.dumps(found)
    assert b"sesame" not in Path("y.npz").read_bytes()
    back = ("perturb", "y.npz", "-o", "z.npz", "--kind", "keyed", "--remove", "--size", 3, "--salt", found["salt"])
    monkeypatch.setenv("BLINDSPACE_KEY", "open sesame")
    result_of(capsys, *back)
    assert np.abs(np.load("z.npz")["images"] - X).max() < 1e-13
    monkeypatch.setenv("BLINDSPACE_KEY", "open simsim")
    result_of(capsys, *back)
    assert np.abs(np.load("z.npz")["images"] - X).max() > 1


@pytest.mark.parametrize("in_range", [False, True])
def test_only_noise_that_can_be_taken_off_is_said_to_be(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, in_range: bool
) -> None:
    pytest.importorskip("cryptography", reason="the extra [keyed] is not installed")
    monkeypatch.setenv("BLINDSPACE_KEY", "open sesame")
    assert run([*PERTURB, "y.npz", "--kind", "keyed", *(["--in-range"] if in_range else [])]) == 0
    assert ("to take the noise off" in capsys.readouterr().out) != in_range


def test_a_family_has_one_effect(capsys: Capture) -> None:
    found = result_of(capsys, *PERTURB, "y.npz", "--kind", "family", "--members", 3, "--size", 2)
    assert found["names"] == [f"x-{n:04d}-{m}" for n in range(3) for m in range(3)]
    network = load("cifar-resnet")
    y = torch.from_numpy(np.load("y.npz")["images"])
    outputs = network.outputs(y, torch.float64).unflatten(0, (3, 3))
    assert (outputs - outputs[:, :1]).abs().max() < 1e-10
    # Each is an attack: the label is another than the image's.
    assert (network.labels(y).view(3, 3) != network.labels(torch.from_numpy(X))[:, None]).all()
    assert (y[0] - y[1]).abs().max() > 1


def test_names_in_an_array_file_come_back(capsys: Capture) -> None:
    result_of(capsys, *PERTURB, "new", "--in-range", "--size", 0.1)
    result_of(capsys, "perturb", "new", "-o", "y.safetensors", "--size", 0.1)
    assert [image.name for image in read_images([Path("y.safetensors")])] == [f"x-{n:04d}" for n in range(3)]


def test_several_networks_notice_nothing(capsys: Capture) -> None:
    """One that adds the same again is no further condition; one that sees all leaves nothing."""
    found = result_of(capsys, *PERTURB, "y.npz", "--also", "cifar-resnet", "--size", 1)
    assert [other["model"] for other in found["others"]] == ["cifar-resnet"]
    assert found["others"][0]["labels_changed"] == 0
    assert found["others"][0]["max_output_change"] < 1e-4
    message = refused(capsys, *PERTURB, "z.npz", "--also", "mnist-mlp")
    assert "read different shapes" in message


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("new",), "add --in-range"),
        (("new", "--format", "npz"), "add --in-range"),
        (("y.png",), "y.png must end in .npz or .safetensors"),
        (("new", "--kind", "largest", "--format", "jpeg"), "JPEG keeps no promise"),
        (("new", "--kind", "largest", "--format", "bmp"), "bmp"),
        (("y.npz", "--text", "hello"), "--kind decoy"),
        (("y.npz", "--remove"), "--kind keyed"),
        (("y.npz", "--kind", "keyed"), "BLINDSPACE_KEY"),
        (("y.npz", "--kind", "keyed", "--key-file", "none"), "cannot read the key file none"),
        (("y.npz", "--kind", "keyed", "--key-file", "x.npz"), "not a text file"),
        (("y.npz", "--kind", "keyed", "--salt", "zz"), "'zz' is not hexadecimal"),
        (("y.npz", "--kind", "keyed", "--remove"), "--salt"),
        (("y.npz", "--kind", "decoy", "--target", "none.png"), "none.png does not exist"),
        (("x.npz/new", "--kind", "largest"), "x.npz is not a folder"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(
    capsys: Capture, tmp_path: Path, arguments: tuple[str, ...], fragment: str
) -> None:
    assert fragment in refused(capsys, *PERTURB, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_identify(capsys: Capture) -> None:
    found = result_of(capsys, "identify", "cifar-resnet", "--among", "cifar-resnet", "--images", "x.npz")
    assert found["match"] == "cifar-resnet"
    assert found["candidates"][0]["change"] < 1e-5
    assert "(1, 28, 28)" in refused(capsys, "identify", "cifar-resnet", "--among", "mnist-mlp")
    assert "--among" in refused(capsys, "identify", "cifar-resnet")
    assert "size 0" in refused(capsys, "identify", "cifar-resnet", "--among", "cifar-resnet", "--size", "0")
