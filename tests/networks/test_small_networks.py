"""Small classifiers: names, shapes, training with Adam and against an adversary."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blindspace.attacks import PGDAdversary
from blindspace.data import CLASSES, samples
from blindspace.errors import UnknownNameError
from blindspace.networks import SMALL, ClassifierCard, Normalise, train
from blindspace.networks.trainable import find_trainable, trainable

DIGITS = samples("mnist")


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "cifar10"])
@pytest.mark.parametrize("name", SMALL)
def test_shapes(name: str, dataset: str) -> None:
    network = trainable(f"{name}@{dataset}")
    module = network.build().eval()
    assert network.recipe.dataset == dataset
    assert isinstance(module[0], Normalise)  # type: ignore[index]
    images = torch.rand(2, *network.input_shape)
    assert module(images).shape == (2, len(CLASSES[dataset]))
    assert module[0](torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)).unique().tolist() == [-1, 1]  # type: ignore[index]


def test_sizes() -> None:
    count = {name: sum(p.numel() for p in trainable(name).build().parameters()) for name in SMALL}
    assert count["mlp"] == 784 * 256 + 256 * 256 + 256 * 10 + 256 + 256 + 10
    assert (
        sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in trainable("resnet20").build().modules())
        == 19
    )
    assert 0.26e6 < count["resnet20"] < 0.28e6


def test_what_is_no_name() -> None:
    assert find_trainable("mlp@imagenet") is None
    with pytest.raises(UnknownNameError, match=r"mnist-autoencoder.*also with @ and one of .*, mlp, convnet, resnet20"):
        trainable("mlp@")


def test_adversary_perturbs_within_its_ball_and_leaves_the_module() -> None:
    torch.manual_seed(0)
    module = trainable("resnet20@mnist").build().train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    x, y = DIGITS.tensor()[:8], DIGITS.targets()[:8]
    made = PGDAdversary(1.5, 3)(module, x, y, torch.Generator().manual_seed(0))
    length = (made - x).flatten(1).norm(dim=1)
    assert float(length.max()) <= 1.5 + 1e-5
    assert float(length.min()) > 1
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert module.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


def test_adversarial_training_is_another_training(tmp_path: Path) -> None:
    def card(folder: str, adversary: PGDAdversary | None = None) -> ClassifierCard:
        found = train("mlp", tmp_path / folder, epochs=1, train_set=DIGITS, test_set=DIGITS, adversary=adversary)
        assert isinstance(found, ClassifierCard)
        return found

    plain, robust, again = card("a"), card("b", PGDAdversary(1.5, 2)), card("c", PGDAdversary(1.5, 2))
    assert plain.sha256 != robust.sha256 == again.sha256
    assert robust.recipe["adversary"] == {"eps": 1.5, "steps": 2, "norm": "l2"}
    assert "adversary" not in plain.recipe
    assert (plain.recipe["optimiser"], plain.recipe["schedule"]) == ("adam", "constant")
