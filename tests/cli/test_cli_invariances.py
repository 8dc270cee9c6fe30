"""``blindspace level-set`` and ``blindspace local``: the files they write, their figures, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import blindspace as bs
from blindspace.cli.main import run
from blindspace.data import read_images, samples, write_images

DIGITS = samples("mnist").tensor().double()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    for number in range(2):
        write_images(tmp_path / f"{number}.npz", DIGITS[number : number + 1].numpy())
    return tmp_path


def test_a_path_as_a_file(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = there / "path.npz", there / "path.json"
    given = ["level-set", "mnist-mlp", str(there / "0.npz"), str(there / "1.npz"), "--steps", "4"]
    assert run([*given, "--tolerance", "1e-3", "-o", str(out), "--preview", str(there), "--json", str(report)]) == 0
    assert "constant" in capsys.readouterr().out
    result = json.loads(report.read_text())
    vertices = np.stack([image.pixels for image in read_images([out])])
    assert len(vertices) == result["vertices"]
    assert np.array_equal(vertices[0], DIGITS[0].numpy())
    outputs = bs.load("mnist-mlp").outputs(torch.from_numpy(vertices), torch.float64).numpy()
    assert abs(outputs - outputs[0]).max() <= result["max_change"] * abs(outputs[0]).max() * (1 + 1e-9)
    assert result["level"]
    assert len(list(there.glob("?.png"))) == 9


def test_local_figures(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = there / "least.npz", there / "local.json"
    pictures = [str(there / "0.npz"), str(there / "1.npz")]
    assert run(["local", "mnist-mlp", *pictures, "-k", "3", "-o", str(out), "--json", str(report)]) == 0
    assert "nullity" in capsys.readouterr().out
    first, second = json.loads(report.read_text())["images"]
    assert first["nullity"] == second["nullity"] == 774
    assert max(first["least"]["residual"]) < 1e-8
    assert len(np.load(out)["images"]) == 6


def test_what_is_refused(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = str(there / "0.npz"), str(there / "1.npz")
    for arguments, word in (
        (["level-set", "mnist-mlp", "samples", two], "200 images"),
        (["level-set", "mnist-mlp", one, two, "--layer", "nowhere"], "nowhere"),
        (["level-set", "mnist-mlp", one, two, "-o", str(there / "a.png")], ".npz"),
        (["local", "mnist-mlp", one, "-k", "1000"], "784"),
    ):
        assert run(arguments) == 2
        assert word in capsys.readouterr().err
