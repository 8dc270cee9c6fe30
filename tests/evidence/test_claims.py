"""The claims of the README about cifar-resnet, measured on all 200 embedded photographs."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import blindspace as bs
from blindspace.data import samples
from blindspace.subspaces import Subspace

SIZES = [0.0, *(2**k * 8 / 255 for k in range(9))]


@dataclass(frozen=True)
class Setting:
    network: bs.Network
    space: Subspace
    images: Tensor
    outputs: Tensor
    labels: Tensor


@pytest.fixture(scope="module")
def setting() -> Setting:
    network = bs.load("cifar-resnet")
    images = samples("cifar10").tensor(torch.float64)
    return Setting(
        network, bs.harmless(network), images, network.outputs(images, torch.float64), network.labels(images)
    )


def test_the_accuracy_of_the_card_holds_for_the_samples(setting: Setting) -> None:
    right = float((setting.labels == samples("cifar10").targets()).float().mean())
    assert right == pytest.approx(setting.network.card["test_accuracy"], abs=0.07)  # 200 images: ± 3 standard errors


def test_its_blind_space_is_certified(setting: Setting) -> None:
    assert setting.space.dim == 512
    assert setting.space.certificate.kind == "exact"
    assert setting.space.residual(torch.randn(8, 3, 32, 32, dtype=torch.float64)) <= 1e-15
    assert setting.space.residual(torch.randn(8, 3, 32, 32)) <= 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_harmless_noise_changes_nothing_at_any_size(setting: Setting, size: float) -> None:
    noise = bs.harmless_noise(setting.space, 200, size, generator=torch.Generator().manual_seed(0))
    assert float(noise.abs().amax()) == pytest.approx(size)
    changed = setting.network.outputs(setting.images + noise, torch.float64)
    assert float((changed - setting.outputs).abs().max()) < 1e-12
    assert torch.equal(setting.network.labels(setting.images + noise), setting.labels)


def test_gaussian_noise_of_equal_norm_changes_most(setting: Setting) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = bs.harmless_noise(setting.space, 200, SIZES[-1], generator=generator)
    gaussian = torch.randn(noise.shape, generator=generator, dtype=torch.float64)
    gaussian *= (noise.flatten(1).norm(dim=1) / gaussian.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    assert int((setting.network.labels(setting.images + gaussian) != setting.labels).sum()) > 150


def test_a_shuffled_harmless_perturbation_is_harmful(setting: Setting) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = bs.harmless_noise(setting.space, 50, 2.0, generator=generator)
    shuffled = noise.flatten(1)[:, torch.randperm(3072, generator=generator)].view_as(noise)
    assert int((setting.network.labels(setting.images[:50] + shuffled) != setting.labels[:50]).sum()) > 30
    assert not bool(setting.space.contains(shuffled, 0.01).any())


def test_the_harmful_part_of_an_attack_does_all_its_work(setting: Setting) -> None:
    images, labels = setting.images[:16].float(), setting.labels[:16]
    attack = bs.pgd(setting.network.module, images, labels, 8 / 255)
    split = setting.space.split(attack.perturbation)
    fooled = setting.network.labels(images + split.orthogonal) != labels
    assert torch.equal(fooled, attack.success)
    assert bool(attack.success.float().mean() > 0.8)
    assert torch.equal(setting.network.labels(images + split.parallel), labels)
