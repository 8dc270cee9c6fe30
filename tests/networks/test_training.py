"""Training: a run that was interrupted and resumed ends with exactly the same weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import blindspace as bs
from blindspace.data import ImageSet, samples
from blindspace.errors import FileError, UnknownNameError, ValueRangeError
from blindspace.files import sha256
from blindspace.networks import BUILTIN, Card, train
from blindspace.networks.training import accuracy, augment
from blindspace.progress import Progress

NAME = "mnist-mlp"
TEST = samples("mnist")
TRAIN = TEST.take(np.arange(300) % 200)
STEPS = 2  # 300 images in batches of 128, the rest left out


def trained(folder: Path, epochs: int = 2, **more: Any) -> Card:
    return train(NAME, folder, epochs=epochs, train_set=TRAIN, test_set=TEST, **more)


def stopped(after: int) -> Progress:
    """A progress function that raises KeyboardInterrupt after step ``after``."""

    def report(done: int, total: int, what: str) -> None:
        if done > after:
            raise KeyboardInterrupt

    return report


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    trained(folder)
    return folder


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run that was interrupted in its second epoch."""
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, progress=stopped(after=STEPS))
    assert [path.name for path in tmp_path.iterdir()] == [f".{NAME}.checkpoint.pt"]
    return tmp_path


def test_weights_and_card(whole: Path) -> None:
    weights, card = whole / f"{NAME}.safetensors", json.loads((whole / f"{NAME}.json").read_text())
    assert sorted(path.name for path in whole.iterdir()) == [f"{NAME}.json", f"{NAME}.safetensors"]
    assert card["sha256"] == sha256(weights)
    assert card["recipe"] == {**BUILTIN[NAME].recipe.to_dict(), "epochs": 2}
    assert (card["name"], card["dataset"], card["test_images"]) == (NAME, "mnist", 200)
    network = bs.load(NAME, weights=weights)
    assert network.card == card
    assert accuracy(network.module, TEST.tensor(), TEST.targets()) == card["test_accuracy"]
    assert card["test_accuracy"] > 0.15  # Four steps are already better than chance.


def test_every_step_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    card = trained(tmp_path, progress=lambda done, total, what: seen.append((done, total, what)))
    first, second = "epoch 1 of 2", "epoch 2 of 2"
    assert [(*step[:2], step[2].partition(", loss ")[0]) for step in seen] == [
        (1, 4, first),
        (2, 4, first),
        (3, 4, second),
        (4, 4, second),
    ]
    assert card.to_dict() == json.loads((tmp_path / f"{NAME}.json").read_text())


def test_resumed_ends_in_the_same_bits(whole: Path, begun: Path) -> None:
    seen: list[int] = []
    trained(begun, progress=lambda done, *_: seen.append(done))
    assert seen == [3, 4]  # The first epoch is not repeated.
    name = f"{NAME}.safetensors"
    assert (begun / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in begun.iterdir()) == [f"{NAME}.json", name]


def test_stopped_between_training_and_weights(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("blindspace.networks.training.save_file", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".{NAME}.checkpoint.pt"]
    trained(tmp_path, progress=stopped(after=0))  # Nothing is left to do.
    assert sha256(tmp_path / f"{NAME}.safetensors") == sha256(whole / f"{NAME}.safetensors")


@pytest.mark.parametrize("other", [{"epochs": 3}, {"seed": 1}])
def test_another_recipe_starts_afresh(begun: Path, tmp_path_factory: pytest.TempPathFactory, other: Any) -> None:
    seen: list[int] = []
    resumed = trained(begun, **other, progress=lambda done, *_: seen.append(done))
    assert seen[0] == 1
    assert resumed.sha256 == trained(tmp_path_factory.mktemp("other"), **other).sha256


def test_seeds_decide(whole: Path, tmp_path: Path) -> None:
    once = sha256(whole / f"{NAME}.safetensors")
    assert trained(tmp_path / "again").sha256 == once
    torch.manual_seed(5)  # whatever was drawn before
    assert trained(tmp_path / "later").sha256 == once
    assert trained(tmp_path / "largest", epochs=1, seed=2**63 - 1).sha256 != once


class Runs:
    """An object that writes a file if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "run")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "code", "tensor", "parts"])
def test_damaged_checkpoints(begun: Path, damage: str) -> None:
    path = begun / f".{NAME}.checkpoint.pt"
    content = path.read_bytes()
    state = torch.load(path, weights_only=True)
    if damage in ("empty", "text", "cut"):
        path.write_bytes({"empty": b"", "text": b"no checkpoint", "cut": content[: len(content) // 2]}[damage])
    else:
        other: Any = {"code": Runs(begun / "ran"), "tensor": torch.zeros(3), "parts": {"settings": state["settings"]}}
        torch.save(other[damage], path)
    with pytest.raises(FileError, match=r"checkpoint .* is damaged; delete it to start afresh") as caught:
        trained(begun)
    assert "\n" not in str(caught.value)
    assert [file.name for file in begun.iterdir()] == [path.name]  # and no code was run


def test_bad_calls_are_refused_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nope")):
        with pytest.raises(FileError, match="cannot write"):
            trained(folder, progress=stopped(after=0))
    for epochs in (0, -1):
        with pytest.raises(ValueRangeError, match="at least 1 epoch"):
            trained(tmp_path, epochs=epochs)
    with pytest.raises(UnknownNameError, match="cifar-resnet, mnist-mlp"):
        train("nope", tmp_path, train_set=TRAIN, test_set=TEST)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    with pytest.raises(FileError, match="blindspace data get mnist"):
        train(NAME)
    assert not list(tmp_path.iterdir())


def test_weights_go_to_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    train(NAME, epochs=1, train_set=TRAIN, test_set=TEST)
    assert (tmp_path / "networks" / f"{NAME}.safetensors").is_file()


def test_sets_smaller_than_a_batch(tmp_path: Path) -> None:
    card = train(NAME, tmp_path, epochs=1, train_set=TRAIN.take([3]), test_set=TEST.take([3]))
    assert card.test_images == 1


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("padding", [0, 2])
def test_augmentation_only_translates_and_mirrors(padding: int, flip: bool) -> None:
    recipe = replace(BUILTIN[NAME].recipe, crop_padding=padding, flip=flip)
    images = torch.rand(64, 2, 6, 7, generator=torch.Generator().manual_seed(0)) + 0.1
    first, again = (augment(images, recipe, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == images.shape
    assert torch.equal(first, again)
    padded = F.pad(images, (padding,) * 4)
    moves = set()
    for index, image in enumerate(first):
        found = [
            (top, left, mirrored)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for mirrored in ([False, True] if flip else [False])
            if torch.equal(image.flip(-1) if mirrored else image, padded[index, :, top : top + 6, left : left + 7])
        ]
        assert len(found) == 1, f"image {index} is not a translation of itself"
        moves.add(found[0])
    assert {move[0] for move in moves} == {move[1] for move in moves} == set(range(2 * padding + 1))
    assert {move[2] for move in moves} == ({False, True} if flip else {False})


def test_accuracy_counts_over_batches() -> None:
    scores = torch.eye(10)[torch.tensor([0, 1, 2, 3, 4])]
    right = torch.tensor([0, 1, 2, 0, 0])
    assert accuracy(torch.nn.Identity(), scores, right, batch_size=2) == pytest.approx(0.6)


def test_image_sets_are_not_changed() -> None:
    assert isinstance(TRAIN, ImageSet)
    before = TRAIN.images.copy()
    augment(TRAIN.tensor(), BUILTIN["cifar-resnet"].recipe, torch.Generator().manual_seed(0))
    assert np.array_equal(TRAIN.images, before)
