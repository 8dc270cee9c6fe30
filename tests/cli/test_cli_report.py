"""``blindspace audit --report``: the page, its images, the network as it is spelled, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blindspace.cli.main import run
from blindspace.cli.options import NetworkOptions
from blindspace.data import samples, write_images


def test_audit_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = samples("mnist").take(slice(3)).tensor().double().numpy()
    write_images(tmp_path / "few.npz", few)
    arguments = ["audit", "mnist-mlp", "--no-layers", "--report", str(tmp_path / "page"), "--seed", "3"]
    assert run([*arguments, "--images", str(tmp_path / "few.npz"), "--json", str(tmp_path / "audit.json")]) == 0
    printed = capsys.readouterr().out
    assert "cannot see" in printed
    assert "index.html in a browser" in printed
    found = json.loads((tmp_path / "page" / "report.json").read_text())
    assert found["audit"] == json.loads((tmp_path / "audit.json").read_text())
    assert found["inputs"] == {"count": 3, "kind": "given", "words": "your own images"}
    assert found["seed"] == 3
    assert len({row["name"] for row in found["gallery"]}) == 3
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "blindspace audit mnist-mlp --report report --seed 3" in page
    assert "Nearly invisible" in page


def test_images_need_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "mnist-mlp", "--images", "samples"]) == 2
    assert capsys.readouterr().err == (
        "blindspace: --images are what the page of --report perturbs; give --report DIR too\n"
    )


def test_a_page_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["audit", "mnist-mlp", "--report", str(tmp_path / "file")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_network_is_spelled_as_it_was_given() -> None:
    options = NetworkOptions(
        "timm:vit",
        random_weights=True,
        input_shape=(3, 48, 64),
        preprocess="resize 32 bicubic",
        fix=["a=b.npy", "c=d e"],
    )
    assert options.spelled() == (
        "timm:vit --random-weights --input-shape 3x48x64 --preprocess 'resize 32 bicubic' --fix a=b.npy --fix 'c=d e'"
    )
    assert NetworkOptions().spelled() == "cifar-resnet"
