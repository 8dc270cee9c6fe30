"""``blindspace mislabel`` and ``blindspace learn``: what they write, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import blindspace as bs
from blindspace.cli.main import run
from blindspace.learning import PerturbedSet, controlled, learn, read_set
from blindspace.networks import Recipe

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    options = ("--attack", "linf", "--eps", "0.2", "--steps", "3", "--workers", "0", "--per-shard", "80")
    arguments = ["mislabel", "mnist-mlp", "mnist:samples", "--out", str(folder / "set"), *options]
    assert run([*arguments, "--json", str(folder / "set.json")]) == 0
    assert run([*arguments, "--json", str(folder / "again.json")]) == 0
    return folder


def learnt(made: Path, *options: str) -> dict[str, Any]:
    path = made / "learnt.json"
    arguments = ["learn", str(made / "set"), "--network", "mlp@mnist", "--test", "mnist:samples", "--epochs", "2"]
    assert run([*arguments, *options, "--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def recipe(seed: int) -> Recipe:
    return Recipe("mnist", 2, 50, 1e-3, weight_decay=0.0, optimiser="adam", schedule="constant", seed=seed)


def clean() -> tuple[torch.Tensor, torch.Tensor]:
    given = bs.data.samples("mnist")
    return given.tensor(), given.targets()


def test_a_set_and_its_figures(made: Path) -> None:
    told, again = (json.loads((made / name).read_text()) for name in ("set.json", "again.json"))
    found = read_set(made / "set")
    assert (told["samples"], told["shards"], told["done_before"]) == (200, 3, 0)
    assert (again["done_before"], again["images_per_second"]) == (3, 0)
    assert told["success"] == pytest.approx(float(found.success.double().mean()))
    assert float(found.perturbation.abs().max()) <= 0.2 + 1e-6
    assert told["settings"]["attack"] == "linf"
    assert len(told["by_target"]) == 10


def test_samples_are_those_of_the_network(made: Path, tmp_path: Path) -> None:
    """As the word means for every other command."""
    out = tmp_path / "set"
    assert run(["mislabel", "mnist-mlp", "samples", "--out", str(out), "--steps", "1", "--workers", "0"]) == 0
    found = read_set(out)
    assert torch.allclose(found.images - found.perturbation, clean()[0].float(), atol=1e-6)


def test_learning_is_that_of_the_function(made: Path) -> None:
    weights = made / "learnt.safetensors"
    told = learnt(made, "--seed", "3", "--batch-size", "50", "--out", str(weights))
    found: PerturbedSet = read_set(made / "set")
    expected = learn("mlp@mnist", found.images, found.targets, recipe(3), clean())
    assert told["last"] == pytest.approx(expected.last)
    assert told["best"] == pytest.approx(expected.best)
    assert [each["test"] for each in told["curve"]] == pytest.approx([each.test for each in expected.curve])
    assert told["recipe"]["seed"] == 3
    read = bs.load("mlp@mnist", weights=weights)
    assert float((read.labels(clean()[0]) == clean()[1]).double().mean()) == pytest.approx(told["last"])


def test_controls_take_the_place_of_perturbations(made: Path, capsys: Capture) -> None:
    told = learnt(made, "--control", "sign-flipped", "--batch-size", "50", "--seed", "2")
    found = read_set(made / "set")
    added = controlled("sign-flipped", found.perturbation, found.targets, torch.Generator().manual_seed(2))
    expected = learn("mlp@mnist", found.originals + added, found.targets, recipe(2), clean())
    assert told["curve"][-1]["loss"] == pytest.approx(expected.curve[-1].loss, rel=1e-4)
    assert "with the control: sign-flipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mislabel", "mnist-mlp", "mnist:samples", "--out", "OUT", "--attack", "l7"], "called 'l7'; there are l2"),
        (["mislabel", "mnist-mlp", "uniform", "--out", "OUT", "--targets", "next"], "noise has no class"),
        (["mislabel", "mnist-mlp", "nowhere.png", "--out", "OUT"], "nowhere.png"),
        (
            ["mislabel", "torchvision:resnet18", "samples", "--random-weights", "--out", "OUT"],
            "no images are embedded for",
        ),
        (["mislabel", "nonsense", "uniform", "--out", "OUT"], "no network is called 'nonsense'"),
        (["mislabel", "mnist-mlp", "uniform", "--out", "OUT", "--eps", "-1"], "eps must be a finite number"),
        (["learn", "OUT", "--network", "mlp@mnist"], "is no finished perturbed data set"),
        (["learn", "SET", "--network", "nonsense"], "no network to be trained is called 'nonsense'"),
        (["learn", "SET", "--network", "mlp@cifar10"], "mlp@cifar10 does not read images of shape (1, 28, 28)"),
        (
            ["learn", "SET", "--network", "mlp@mnist", "--test", "cifar10:samples"],
            "does not read images of shape (3, 32",
        ),
        (["learn", "SET", "--network", "mlp@mnist", "--test", "pets"], "no labelled images are called 'pets'"),
        (["learn", "SET", "--network", "mlp@mnist", "--control", "loud"], "no control is called 'loud'"),
        (["learn", "SET", "--network", "mlp@mnist", "--out", "weights.pt"], "weights are written to a .safetensors"),
        (["learn", "SET", "--network", "mlp@mnist", "--learning-rate", "0"], "--learning-rate must be a finite number"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], told: str, made: Path, tmp_path: Path, capsys: Capture
) -> None:
    places = {"OUT": str(tmp_path / "new"), "SET": str(made / "set")}
    assert run([places.get(word, word) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
