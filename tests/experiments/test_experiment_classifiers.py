"""The small classifiers of the experiments: cached, seeded, adversarially trained, or untrained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blindspace.data import samples
from blindspace.experiments.common.classifiers import classifier, recipe_of
from blindspace.experiments.parts import Preset, Settings


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    return tmp_path


def weights(
    kind: str, dataset: str, seed: int, preset: Preset, adversarial: bool = False, untrained: bool = False
) -> torch.Tensor:
    network = classifier(kind, dataset, seed, Settings(preset), adversarial, untrained=untrained)
    return torch.cat([p.detach().flatten() for p in network.module.parameters()])


def test_trained_once(cache: Path) -> None:
    seen: list[str] = []
    first = classifier("mlp", "mnist", 3, Settings("smoke"), progress=lambda done, total, what: seen.append(what))
    assert seen[0].startswith("training mlp@mnist, epoch 1 of")
    again = classifier("mlp", "mnist", 3, Settings("smoke"), progress=lambda *_: pytest.fail("trained again"))
    assert first.card == again.card
    assert first.card["test_accuracy"] > 0.8
    assert torch.equal(first.labels(samples("mnist").tensor()), again.labels(samples("mnist").tensor()))


def test_seeds_and_adversary_make_other_networks() -> None:
    plain, other, robust = (
        weights("mlp", "mnist", 0, "smoke"),
        weights("mlp", "mnist", 1, "smoke"),
        weights("mlp", "mnist", 0, "smoke", adversarial=True),
    )
    assert not torch.equal(plain, other)
    assert not torch.equal(plain, robust)


def test_untrained_has_the_initial_weights_of_its_seed() -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    start = weights("convnet", "cifar10", 0, "cpu", untrained=True)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(start, weights("convnet", "cifar10", 0, "smoke", untrained=True))
    assert not torch.equal(start, weights("convnet", "cifar10", 1, "cpu", untrained=True))


def test_recipes() -> None:
    assert recipe_of("mlp", "mnist", 0, "cpu").epochs == 4
    assert recipe_of("mlp", "mnist", 0, "cpu", True).images == 30_000
    assert recipe_of("resnet20", "cifar10", 4, "paper").seed == 4


def test_shuffled_labels_are_learnt_by_heart(cache: Path) -> None:
    network = classifier("mlp", "mnist", 0, Settings("smoke"), shuffled=True)
    digits = samples("mnist")
    assert network.card["dataset"] == "mnist, shuffled labels"
    assert float((network.labels(digits.tensor()) == digits.targets()).double().mean()) < 0.3
    assert network.card["recipe"]["epochs"] == 100
    assert len(list((cache / "networks").iterdir())) == 1
    assert classifier("mlp", "mnist", 0, Settings("smoke")).card["test_accuracy"] > 0.8
