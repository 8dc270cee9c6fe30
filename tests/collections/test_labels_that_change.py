"""Labels of protected pictures: counted wherever the network writes them, and the exit code where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import blindspace as bs
from blindspace.cli.main import run

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LABELS: list[Any] = [("Softmax", "y", "p", {"axis": 1}), ("ArgMax", "y", "label", {"axis": 1, "keepdims": 0})]


def network(path: Path, nodes: list[Any], outputs: str) -> Path:
    """A network of patches with five scores ``y``."""
    import onnx

    from onnx_cases import build

    random = np.random.default_rng(0)
    kernels, head = (random.standard_normal(shape).astype(np.float32) for shape in ((12, 1, 4, 4), (48, 5)))
    weights = {"k": kernels, "h": head, "all": np.ones((5, 1), np.float32)}
    weights |= {"two": np.array([2]), "minus": np.array([[1], [-1]], np.float32)}
    net = [("Conv", "x k", "c", {"strides": [4, 4]}), ("Relu", "c", "r", {}), ("Flatten", "r", "f", {})]
    onnx.save(build([*net, ("MatMul", "f h", "y", {}), *nodes], ["b", 1, 8, 8], weights, outputs), path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The pictures of 40,000 whose scores are tied most nearly."""
    source = tmp_path / "source"
    source.mkdir()
    pool = np.random.default_rng(0).integers(60, 190, (40000, 1, 8, 8)).astype(np.uint8)
    plain = bs.load(network(tmp_path / "pool.onnx", [], "y"))
    best = plain.outputs(torch.from_numpy(pool / 255)).topk(2, 1).values
    for n, index in enumerate((best[:, 0] - best[:, 1]).argsort()[:24].tolist()):
        Image.fromarray(pool[index, 0]).save(source / f"{n:02}.png")
    return source


def protected(capsys: pytest.CaptureFixture[str], source: Path, model: Path, *options: str) -> tuple[int, Any, str]:
    """The exit code, the summary and the lines."""
    command = ["protect", str(source), "--model", str(model), "--size", "0.3", "--workers", "0", *options]
    code = run([*command, str(model.with_suffix(".1")), "--json", "-"])
    summary = json.loads(capsys.readouterr().out)
    assert run([*command, str(model.with_suffix(".2"))]) == code
    return code, summary, capsys.readouterr().out


@pytest.mark.parametrize("outputs", ["p", "label p", "p label", "label", "label y p"])
def test_labels_count_wherever_they_are_written(
    outputs: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, plain, lines = protected(capsys, pictures, network(tmp_path / "plain.onnx", [], "y"))
    assert (code, plain["protected"], plain["good"]) == (1, 24, False)
    assert 0 < plain["labels_changed"] < 24
    assert f"labels changed         {plain['labels_changed']}: " in lines
    code, other, _ = protected(capsys, pictures, network(tmp_path / "other.onnx", LABELS, outputs))
    assert code == 1
    assert (other["labels_changed"], other["relabelled"]) == (plain["labels_changed"], plain["relabelled"])
    assert outputs == "label" or other["max_output_change"] < 0.5, "a label is no output that moves"


def test_without_labels_the_outputs_decide(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = network(tmp_path / "sum.onnx", [("MatMul", "y all", "s", {}), ("Abs", "s", "a", {})], "a")
    code, summary, lines = protected(capsys, pictures, sums)
    assert (code, summary["labels_changed"], summary["moved"], summary["good"]) == (0, None, 0, True)
    assert "labels changed         —: the network gives none" in lines
    gaps = network(
        tmp_path / "gap.onnx",
        [("TopK", "y two", "best places", {}), ("MatMul", "best minus", "d", {}), ("Abs", "d", "n", {})],
        "n",
    )
    code, summary, lines = protected(capsys, pictures, gaps)
    assert (code, summary["labels_changed"], summary["good"]) == (1, None, False)
    assert f"outputs moved by > 1 % {summary['moved']}: " in lines
    rows = [json.loads(line) for line in (tmp_path / "gap.1" / "manifest.jsonl").read_text().splitlines()]
    assert sum(row["moved"] for row in rows) == summary["moved"] > 0
    assert {row["label"] for row in rows} == {None}


def test_labels_can_be_left_out(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, summary, _ = protected(capsys, pictures, network(tmp_path / "plain.onnx", [], "y"), "--labels", "none")
    assert (code, summary["labels_changed"]) == (0, None)


def test_outputs_and_sessions_can_be_chosen(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = network(tmp_path / "two.onnx", LABELS, "label y p")
    both = protected(capsys, pictures, model)[1]
    one = protected(capsys, pictures, model.rename(tmp_path / "one.onnx"), "--output", "p")[1]
    assert 0 < one["max_output_change"] < both["max_output_change"]
    assert one["labels_changed"] == both["labels_changed"]
    for option, message in (("--output=q", "no output"), ("--session=bad=1", "bad"), ("--vary=z", "'z'")):
        command = ["protect", str(pictures), str(tmp_path / "other"), "--model", str(tmp_path / "one.onnx"), option]
        assert run([*command, "--workers", "0"]) == 2
        assert message in capsys.readouterr().err
