import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.data import samples
from blindspace.errors import ShapeError, ValueRangeError
from blindspace.subspaces import Subspace

EPS = 0.15


@pytest.fixture(scope="module")
def network() -> bs.Network:
    return bs.load("mnist-mlp")


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    chosen = samples("mnist").take(slice(12))
    return chosen.tensor(), chosen.targets()


@pytest.fixture(scope="module")
def space(network: bs.Network) -> Subspace:
    return bs.harmless(network)


@pytest.mark.parametrize("attack", [bs.fgsm, bs.pgd])
@pytest.mark.parametrize(("norm", "eps"), [("linf", EPS), ("l2", 2.0)])
def test_attacks_find_wrong_labels_within_their_ball(attack, norm, eps, network, batch) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch
    found = attack(network.module, images, labels, eps, norm=norm)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    flat = found.perturbation.flatten(1)
    measured = flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
    assert float(measured.max()) <= eps * (1 + 1e-5)
    assert float(found.success.float().mean()) >= (0.5 if attack is bs.pgd else 0.2)
    assert torch.equal(found.success, network.labels(found.images) != labels)


def test_pgd_is_stronger_than_noise(network: bs.Network, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    noise = (images + EPS * torch.randn(images.shape).sign()).clamp(0, 1)
    attacked = bs.pgd(network.module, images, labels, EPS)
    assert attacked.success.sum() > (network.labels(noise) != labels).sum()


def test_targets_are_reached(network: bs.Network, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    targets = (labels + 1) % 10
    found = bs.pgd(network.module, images, targets, 0.3, targeted=True)
    assert torch.equal(found.success, network.labels(found.images) == targets)
    assert float(found.success.float().mean()) > 0.5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attacks_confined_to_the_harmless_space_fail(norm, network, batch, space) -> None:  # type: ignore[no-untyped-def]
    images = 0.25 + 0.5 * batch[0]  # away from black and white, so that the pixel range leaves room
    before = network.labels(images)
    found = bs.pgd(network.double, images.double(), before, 1.0, steps=3, norm=norm, subspace=space, random_start=0.1)
    assert not found.success.any()
    assert found.residual <= 1e-9
    assert float(found.perturbation.abs().max()) > 1e-3  # the attack did move
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_nothing_leaves_the_subspace_if_most_pixels_are_black(network, batch, space) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch  # four pixels of five are black
    found = bs.pgd(network.double, images.double(), labels, 1.0, steps=1, subspace=space)
    assert found.residual <= 1e-6
    assert found.images.min() >= 0


def test_attacks_confined_to_the_row_space_succeed_with_less_norm(network, batch, space) -> None:  # type: ignore[no-untyped-def]
    images, labels = batch
    free = bs.pgd(network.double, images.double(), labels, 2.0, norm="l2")
    confined = bs.pgd(network.double, images.double(), labels, 2.0, norm="l2", subspace=space.complement)
    assert confined.residual <= 1e-9
    assert confined.success.sum() >= free.success.sum() - 2


def test_attacks_are_seeded(network: bs.Network, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    first, again = (
        bs.pgd(network.module, images, labels, generator=torch.Generator().manual_seed(3)).images for _ in range(2)
    )
    assert torch.equal(first, again)


def test_attacks_refuse(network: bs.Network, batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    with pytest.raises(ValueRangeError, match=r"\[0, 1\]"):
        bs.fgsm(network.module, images * 255, labels)
    with pytest.raises(ValueRangeError, match=r"\[0, 1\]"):
        bs.fgsm(network.module, images * float("nan"), labels)
    with pytest.raises(ShapeError, match="one label"):
        bs.fgsm(network.module, images, labels[:3])
    with pytest.raises(ValueRangeError, match="eps"):
        bs.pgd(network.module, images, labels, -1.0)
    with pytest.raises(ValueRangeError, match="step"):
        bs.pgd(network.module, images, labels, steps=0)


def test_gradients_follow_the_model() -> None:
    """A linear model's steepest L2 step is its weight's direction."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False)).double()
    images = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    found = bs.fgsm(model, images, torch.tensor([0]), 0.1, "l2")
    w = next(model.parameters()).detach()
    expected = 0.1 * (w[1] - w[0]) / (w[1] - w[0]).norm()
    torch.testing.assert_close(found.perturbation.flatten(), expected, rtol=0, atol=1e-12)
