"""Perturbed data sets as files: the same in whatever way they are made, resumable, and read with care."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import blindspace as bs
from blindspace.data import samples, write_images
from blindspace.errors import BlindspaceError, FileError, ShapeError, UnknownNameError, ValueRangeError
from blindspace.learning import SetSettings, mislabel, mislabel_set, read_set
from blindspace.networks import Named

PREVIOUS: Any = "previous"
SETTINGS = SetSettings(Named("mnist-mlp"), "mnist:samples", count=50, steps=2, per_shard=20)


def tree(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in root.iterdir() if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "set"
    told: list[tuple[int, int]] = []
    summary = mislabel_set(SETTINGS, folder, workers=0, report=lambda done, total, what: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert (summary.samples, summary.shards, summary.done_before, summary.classes) == (50, 3, 0, 10)
    return folder


def test_a_set_holds_what_the_attack_makes(made: Path) -> None:
    found, given = read_set(made), samples("mnist").take(slice(50))
    assert torch.equal(found.labels, given.targets())
    assert not bool((found.targets == found.labels).any())
    torch.testing.assert_close(found.originals, given.tensor(), rtol=0, atol=1e-6)
    expected = mislabel(bs.load("mnist-mlp"), given.tensor(), found.targets, "l2", steps=2)
    torch.testing.assert_close(found.images, expected.images, rtol=0, atol=1e-5)
    summary = found.summary
    assert summary.success == pytest.approx(float(found.success.double().mean()))
    assert sum(each.count for each in summary.by_target) == 50
    for each in summary.by_target:
        of = found.targets == each.target
        assert each.success == pytest.approx(float(found.success[of].double().mean()))
        assert each.l2 == pytest.approx(float(found.perturbation[of].flatten(1).norm(dim=1).median()), rel=1e-5)
    assert summary.settings["attack"] == "l2"


def test_a_set_is_the_same_by_processes_and_after_an_interruption(made: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mislabel_set(SETTINGS, tmp_path / "set", workers=0, report=stop)
    with pytest.raises(FileError, match="is no finished perturbed data set"):
        read_set(tmp_path / "set")
    summary = mislabel_set(SETTINGS, tmp_path / "set", workers=1)
    assert summary.done_before == 1
    assert tree(tmp_path / "set") == tree(made)
    with pytest.raises(FileError, match="seed 0 instead of 1"):
        mislabel_set(replace(SETTINGS, seed=1), tmp_path / "set", workers=0)


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
def test_noise_has_random_targets_and_no_class(kind: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, source=kind, attack="linf", steps=1, count=40)
    mislabel_set(settings, tmp_path / "set", workers=0)
    found = read_set(tmp_path / "set")
    assert set(found.labels.tolist()) == {-1}
    assert len(found.targets.unique()) > 5
    assert not torch.equal(found.originals[:20], found.originals[20:])
    with pytest.raises(ValueRangeError, match="noise has no class"):
        mislabel_set(replace(settings, targets="next"), tmp_path / "next", workers=0)


def test_of_files_the_network_says_the_class(tmp_path: Path) -> None:
    given = samples("mnist").take(slice(12)).tensor(torch.float64)
    write_images(tmp_path / "x.npz", given.numpy())
    settings = replace(SETTINGS, source=str(tmp_path / "x.npz"), count=None, targets="next")
    mislabel_set(settings, tmp_path / "set", workers=0)
    found, seen = read_set(tmp_path / "set"), bs.load("mnist-mlp").labels(given.float())
    assert torch.equal(found.labels, seen)
    assert torch.equal(found.targets, (seen + 1) % 10)
    write_images(tmp_path / "x.npz", given.flip(0).numpy())
    with pytest.raises(FileError, match="was begun with files"):
        mislabel_set(settings, tmp_path / "set", workers=0)


def test_a_damaged_set_is_one_line(made: Path, tmp_path: Path) -> None:
    def copied(name: str) -> Path:
        (tmp_path / name).mkdir()
        for file, content in tree(made).items():
            (tmp_path / name / file).write_bytes(content)
        return tmp_path / name

    shard = "samples-000000020.safetensors"
    changed, cut, missing, text, outside = map(copied, ("changed", "cut", "missing", "text", "outside"))
    words, few, short = map(copied, ("words", "few", "short"))
    for folder, name, value in ((words, "success", "high"), (few, "classes", 3), (short, "samples", 49)):
        stated: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**stated, name: value}))
    content = (changed / shard).read_bytes()
    (changed / shard).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (cut / shard).write_bytes(content[:100])
    (missing / shard).unlink()
    (text / "manifest.json").write_text("[1]")
    manifest: dict[str, Any] = json.loads((outside / "manifest.json").read_text())
    manifest["files"]["../../x"] = ""
    (outside / "manifest.json").write_text(json.dumps(manifest))
    for folder, told in (
        (changed, f"{shard} is missing, or not the file"),
        (cut, f"{shard} is missing, or not the file"),
        (missing, f"{shard} is missing, or not the file"),
        (text, "is no manifest of a perturbed data set"),
        (outside, "x is missing, or not the file"),
        (words, "is no manifest of a perturbed data set"),
        (few, "a target in .* is none of its 3 classes"),
        (short, "are not the 49 samples of"),
    ):
        with pytest.raises(FileError, match=told) as caught:
            read_set(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (
            lambda: replace(SETTINGS, targets=PREVIOUS),
            UnknownNameError,
            "called 'previous'; there are random and next",
        ),
        (lambda: replace(SETTINGS, attack="l7"), UnknownNameError, "called 'l7'; there are l2, linf"),
        (lambda: replace(SETTINGS, per_shard=0), ValueRangeError, "images per shard must be"),
        (lambda: replace(SETTINGS, source="mnist:half"), UnknownNameError, "called 'mnist:half'; give a data set"),
        (lambda: replace(SETTINGS, source="cifar10:samples"), ShapeError, "reads images of shape"),
        (lambda: replace(SETTINGS, source="nowhere"), FileError, "nowhere"),
        (lambda: replace(SETTINGS, count=300), ValueRangeError, "has 200 images, fewer than 300"),
        (lambda: 7, BlindspaceError, "mislabel_set takes SetSettings, got 7"),
        (lambda: replace(SETTINGS, network=Named("nonsense")), UnknownNameError, "no network is called 'nonsense'"),
    ],
)
def test_wrong_settings_are_one_line(call: Any, error: type[Exception], told: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=told) as caught:
        mislabel_set(call(), tmp_path / "set", workers=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()
