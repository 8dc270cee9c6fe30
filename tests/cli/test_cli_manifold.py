"""``blindspace manifold``: the figures it writes, beside a second implementation in numpy; what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blindspace.cli.main import run
from blindspace.data import read_image, samples, write_images, write_png
from blindspace.data.array_files import read_metadata

ALL = samples("mnist").tensor().double().numpy()
DIM = 5


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder with images to fit to, images, the same perturbed (in another order), and one that is not."""
    noise = np.random.default_rng(0).standard_normal((4, 1, 28, 28)) * 0.1
    noise[3] = 0
    write_images(tmp_path / "fit.npz", ALL[8:108])
    write_images(tmp_path / "x.npz", ALL[:4], metadata={"names": json.dumps(["a", "b", "c", "d"])})
    order = [2, 0, 3, 1]
    names = {"names": json.dumps([["a", "b", "c", "d"][index] for index in order])}
    write_images(tmp_path / "y.npz", (ALL[:4] + noise)[order], metadata=names)
    return tmp_path


def found(there: Path, *options: str) -> dict[str, Any]:
    path = there / "out.json"
    fit = ("--manifold", "pca", "--fit", str(there / "fit.npz"), "--dim", str(DIM))
    assert run(["manifold", str(there / "x.npz"), *fit, *options, "--json", str(path)]) == 0
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_the_split_is_that_of_numpy(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, parts = there / "pictures", there / "parts.safetensors"
    result = found(there, "--perturbed", str(there / "y.npz"), "--out", str(pictures), "--parts", str(parts))
    fit = ALL[8:108].reshape(100, -1)
    basis = np.linalg.svd(fit - fit.mean(0), full_matrices=False)[2][:DIM]
    noise = np.random.default_rng(0).standard_normal((4, 784)) * 0.1
    noise[3] = 0
    shares = ((noise @ basis.T) ** 2).sum(1)[:3] / (noise**2).sum(1)[:3]
    assert result["share"] == pytest.approx([*shares, 0])
    assert result["chance"] == pytest.approx(DIM / 784)
    assert result["norms"]["whole"] == pytest.approx(np.linalg.norm(noise, axis=1))
    centred = ALL[:4].reshape(4, -1) - fit.mean(0)
    distance = np.linalg.norm(centred - centred @ basis.T @ basis, axis=1)
    assert result["distance_from_manifold"] == pytest.approx(distance)
    assert (result["unperturbed"], result["farther_from_manifold_than_perturbation"]) == (1, 3)
    random = np.array(result["random_shares"])
    assert random.shape == (10, 4)
    assert random[:, :3].mean() == pytest.approx(DIM / 784, rel=0.5)
    assert result["over_random"]["ratio"] == pytest.approx(np.median(shares) / np.median(random[:, :3]))
    assert result["labels"] == {}
    shown = capsys.readouterr().out
    assert f"PCA-{DIM}: {DIM} of 784 dimensions" in shown
    assert "left out of the medians  1 of 4 images" in shown
    assert "3 of 3 images lie farther from the manifold than their perturbation is long" in shown
    assert sorted(path.name for path in pictures.iterdir()) == ["a.png", "b.png", "c.png", "d.png"]
    with Image.open(pictures / "a.png") as picture:
        assert picture.width > 5 * picture.height / 2
    from safetensors.numpy import load_file

    arrays = load_file(parts)
    assert np.array_equal(arrays["original"], ALL[:4])
    assert np.abs(arrays["on"] + arrays["off"] - noise.reshape(arrays["on"].shape)).max() < 1e-15
    assert np.abs(arrays["images"] - arrays["original"] - arrays["on"] - arrays["off"]).max() < 1e-15
    assert json.loads(read_metadata(parts)["names"]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("attack", ["pgd", "fgsm", "minimal-norm"])
@pytest.mark.parametrize("part", ["on", "off"])
def test_attacks_are_confined(there: Path, attack: str, part: str) -> None:
    options = ["--attack", attack, "--model", "mnist-mlp", "--confined", part]
    result = found(there, *options, *(["--unboxed"] if attack == "minimal-norm" else []))
    moved = np.array(result["norms"]["whole"]) > 0
    assert np.array(result["share"])[moved] == pytest.approx(float(part == "on"), abs=1e-9)
    assert result["residual"] < 1e-9
    assert result["labels"]["plain"] == result["labels"]["off" if part == "on" else "on"]
    if attack == "minimal-norm":
        assert moved.all()
        assert result["failed"] == 0
        assert result["changed"]["whole"] == result["changed"][part] == 4


def test_where_there_is_no_room_it_says_so(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--attack", "minimal-norm", "--model", "mnist-mlp", "--confined", "on")
    assert found(there, *options)["failed"] == 4
    assert "no room                  for 4 of 4 images" in capsys.readouterr().out


def test_minimal_norms_change_labels_in_the_networks_own_precision(there: Path) -> None:
    result = found(there, "--attack", "minimal-norm", "--model", "mnist-mlp", "--seed", "3")
    assert (result["failed"], result["changed"]["whole"]) == (0, 4)
    assert result["share"] == found(there, "--attack", "minimal-norm", "--model", "mnist-mlp", "--seed", "3")["share"]


def test_a_folder_of_pictures_is_fitted_to(there: Path) -> None:
    for index in range(12):
        write_png(there / f"folder/{index:02d}.png", ALL[20 + index])
    path = there / "out.json"
    fit = ("--manifold", "local-pca", "--fit", str(there / "folder"), "--dim", "2")
    options = ("manifold", str(there / "x.npz"), *fit, "--perturbed", str(there / "y.npz"), "--json", str(path))
    assert run(options) == 2  # fewer images than neighbours
    assert run([*options[:3], "pca", *options[4:]]) == 0
    fitted = np.stack([read_image(there / f"folder/{index:02d}.png") for index in range(12)]).reshape(12, -1)
    basis = np.linalg.svd(fitted - fitted.mean(0), full_matrices=False)[2][:2]
    noise = np.random.default_rng(0).standard_normal((4, 784))[:1]
    expected = ((noise @ basis.T) ** 2).sum() / (noise**2).sum()
    assert json.loads(path.read_text())["share"][0] == pytest.approx(expected)


BAD = {
    "neither": ([], "give --perturbed"),
    "both": (["--perturbed", "y.npz", "--attack", "pgd"], "give --perturbed"),
    "no network": (["--attack", "pgd"], "add --model"),
    "eps without an attack": (["--perturbed", "y.npz", "--eps", "1"], "add --attack"),
    "eps of a minimal norm": (["--attack", "minimal-norm", "-m", "mnist-mlp", "--eps", "1"], "no --eps"),
    "unboxed pgd": (["--attack", "pgd", "-m", "mnist-mlp", "--unboxed"], "belongs to minimal-norm"),
    "other shape": (["--perturbed", "y.npz", "-m", "cifar-resnet"], "reads (3, 32, 32)"),
    "fewer images": (["--perturbed", "fit.npz"], "give the same images twice"),
    "ending": (["--perturbed", "y.npz", "--parts", "p.png"], "must end in"),
    "unknown": (["--perturbed", "y.npz", "--manifold", "pcaa"], "--fit and --dim belong"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(
    case: str, there: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options, message = BAD[case]
    monkeypatch.chdir(there)
    assert run(["manifold", "x.npz", "--manifold", "pca", "--fit", "fit.npz", "--dim", "3", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--manifold", "pca"], "add --fit IMAGES and --dim K"),
        (["--manifold", "none"], "no manifold is called 'none'"),
        (["--manifold", "pca", "--fit", "missing", "--dim", "2"], "missing"),
        (["--manifold", "pca", "--fit", "samples", "--dim", "2"], "does not say of which data set"),
        (["--manifold", "pca", "--fit", "x.npz", "--dim", "9"], "dimension must be from 1 to"),
    ],
)
def test_a_manifold_that_cannot_be_made(
    options: list[str], message: str, there: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(there)
    assert run(["manifold", "x.npz", "--perturbed", "y.npz", *options]) == 2
    assert message in capsys.readouterr().err
