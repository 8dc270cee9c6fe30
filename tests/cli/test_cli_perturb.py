"""The command ``perturb`` as its users meet it: largest, decoys, keys, families, several networks, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blindspace.cli.main import run
from blindspace.data import read_image, read_images, samples, write_images
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


def test_pictures_in_a_folder_are_measured_as_they_are_read_back(capsys: Capture) -> None:
    found = result_of(capsys, *PERTURB, "new", "--kind", "largest")
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
    assert result_of(capsys, *back[:-2])["salt"] == found["salt"]  # the file states it
    once = ("perturb", "z.npz", "-o", "u.npz", "--kind", "keyed", "--remove", "--size", 3)
    assert "taken off" in refused(capsys, *once)
    Path("z.npz").unlink()
    monkeypatch.setenv("BLINDSPACE_KEY", "open simsim")
    assert run([*map(str, back), "--json", "-"]) == 1
    shown = capsys.readouterr()
    assert "3 of 3 images are not written" in shown.err
    assert list(json.loads(shown.out)["not_removed"]) == [f"x-{n:04d}" for n in range(3)]
    assert not Path("z.npz").exists()


def test_only_images_with_the_noise_are_written(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography", reason="the extra [keyed] is not installed")
    monkeypatch.setenv("BLINDSPACE_KEY", "open sesame")
    salt = result_of(capsys, *PERTURB, "y.npz", "--kind", "keyed", "--size", 3)["salt"]
    noisy = np.load("y.npz")["images"]
    write_images(Path("renamed.npz"), noisy[::-1], metadata={"names": json.dumps(["x-0000", "x-0001", "x-0002"])})
    back = ["-o", "z.npz", "--kind", "keyed", "--remove", "--size", "3", "--salt", salt]
    assert run(["perturb", "renamed.npz", *back]) == 1
    shown = capsys.readouterr().out
    assert "2 of 3 images are not written" in shown
    assert "x-0000: this noise is not in it" in shown
    assert np.abs(np.load("z.npz")["images"] - X[1:2]).max() < 1e-13
    assert [image.name for image in read_images([Path("z.npz")])] == ["x-0001"]
    write_images(Path("lost.npz"), noisy)  # The names are lost.
    write_images(Path("never.npz"), X, metadata={"names": json.dumps(["x-0000", "x-0001", "x-0002"])})
    Path("z.npz").unlink()
    for file in ("lost.npz", "never.npz"):
        assert run(["perturb", file, *back]) == 1
        assert "3 of 3 images are not written" in capsys.readouterr().out
        assert not Path("z.npz").exists()


@pytest.mark.parametrize(
    ("stated", "fragment"),
    [
        ({"size": "2.0"}, "has the size 2.0, not 0.5"),
        ({"norm": "l2"}, "has the norm l2, not linf"),
        ({"salt": "01" * 8}, "has the salt 0101"),
        ({"kind": "noise"}, "has the kind noise, not keyed"),
        ({"in_range": "true"}, "within [0, 1]"),
        ({"removed": "true"}, "taken off"),
        ({"model": "models/other.onnx"}, "harmless for models/other.onnx, not cifar-resnet"),
        ({"model": "cifar-resnet", "also": '["mnist-mlp"]'}, "harmless for cifar-resnet, mnist-mlp, not cifar-resnet"),
    ],
)
def test_what_a_file_states_of_its_noise(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, stated: dict[str, str], fragment: str
) -> None:
    monkeypatch.setenv("BLINDSPACE_KEY", "open sesame")
    for file in ("y.npz", "y.safetensors"):
        write_images(Path(file), X, metadata=stated)
        back = ("perturb", file, "-o", "z.npz", "--kind", "keyed", "--remove", "--salt", "00" * 8)
        message = refused(capsys, *back)
        assert message.startswith(f"blindspace: {file} states that")
        assert fragment in message
        assert not Path("z.npz").exists()


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
    result_of(capsys, *PERTURB, "new", "--in-range", "--size", 0.1, "--format", "npz")
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


def test_units(capsys: Capture) -> None:
    found = result_of(capsys, "units", "cifar-resnet", "x.npz")
    assert (found["images"], len(found["nonlinearities"])) == (3, 13)
    first = found["nonlinearities"][0]
    assert (first["kind"], first["shape"], first["units"]) == ("relu", [32, 16, 16], 8192)
    assert first["least_dim"] <= first["mean_dim"] <= first["largest_dim"]
    assert run(["units", "cifar-resnet", "x.npz"]) == 0
    assert "5.relu1 (relu)" in capsys.readouterr().out
    assert "(1, 28, 28)" in refused(capsys, "units", "mnist-mlp", "x.npz")
    assert "--scaling" in refused(capsys, "units", "cifar-resnet", "x.npz", "--scaling", "-1")


def test_identify(capsys: Capture) -> None:
    found = result_of(capsys, "identify", "cifar-resnet", "--among", "cifar-resnet", "--images", "x.npz")
    assert found["match"] == "cifar-resnet"
    assert found["candidates"][0]["change"] < 1e-5
    assert "(1, 28, 28)" in refused(capsys, "identify", "cifar-resnet", "--among", "mnist-mlp")
    assert "--among" in refused(capsys, "identify", "cifar-resnet")
    assert "size 0" in refused(capsys, "identify", "cifar-resnet", "--among", "cifar-resnet", "--size", "0")
