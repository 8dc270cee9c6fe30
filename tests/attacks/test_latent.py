"""Attacks on latents: exact where decoder and classifier are linear, and on the manifold by construction."""

from math import inf

import pytest
import torch
from torch import Tensor, nn

import blindspace as bs
from blindspace.attacks import random_latent
from blindspace.errors import BlindspaceError, ShapeError, ValueRangeError

F64 = torch.float64
DRAW = torch.Generator().manual_seed(5)
ISOMETRY: Tensor = torch.linalg.qr(torch.randn(16, 3, generator=DRAW, dtype=F64)).Q
WEIGHT = torch.randn(4, 16, generator=DRAW, dtype=F64)
LATENTS = 0.1 * torch.randn(20, 3, generator=DRAW, dtype=F64)


def isometric(z: Tensor) -> Tensor:
    """A flat manifold, so that distances in the latent are those of the images."""
    return 0.5 + (z @ ISOMETRY.T).view(-1, 1, 4, 4) * 0.2


def curved(z: Tensor) -> Tensor:
    images: Tensor = (3 * (z @ ISOMETRY.T).view(-1, 1, 4, 4)).sigmoid()
    return images


def model(x: Tensor) -> Tensor:
    return x.flatten(1) @ WEIGHT.T


LABELS = model(isometric(LATENTS)).argmax(1)


def test_the_smallest_perturbation_of_a_linear_decoder_is_exact() -> None:
    found = bs.latent(model, isometric, LATENTS, LABELS, steps=200)
    slopes = 0.2 * (WEIGHT[LABELS][:, None] - WEIGHT) @ ISOMETRY  # (B, K, 3)
    scores = model(isometric(LATENTS))
    margins = scores.gather(1, LABELS[:, None]) - scores
    exact = (margins / slopes.norm(dim=2)).nan_to_num(inf).scatter(1, LABELS[:, None], inf).amin(1)
    near = exact < 1
    assert int(near.sum()) >= 10
    assert bool(found.success[near].all())
    torch.testing.assert_close(found.latent_norms[near], exact[near], rtol=5e-4, atol=1e-9)
    torch.testing.assert_close(found.norms[near], 0.2 * exact[near], rtol=5e-4, atol=1e-9)


def test_images_are_the_decoders_and_wrong_where_said() -> None:
    labels = model(curved(LATENTS)).argmax(1)
    for eps in (None, 0.5):
        found = bs.latent(model, curved, LATENTS, labels, eps)
        torch.testing.assert_close(found.images, curved(found.latents))
        torch.testing.assert_close(found.perturbation, found.images - curved(LATENTS))
        assert torch.equal(found.success, model(found.images).argmax(1) != labels)
        assert torch.equal(found.success, found.norms < inf)
        assert torch.equal(found.success, found.latent_norms < inf)
        assert float(found.success.double().mean()) > 0.3
        if eps is not None:
            assert float((found.latents - LATENTS).norm(dim=1).max()) <= eps * (1 + 1e-12)


def test_pgd_and_smallest_perturbations_agree() -> None:
    """Within its ball PGD fails wherever the smallest perturbation is larger, and seldom elsewhere."""
    labels = model(curved(LATENTS)).argmax(1)
    smallest = bs.latent(model, curved, LATENTS, labels, refinements=10)
    within = bs.latent(model, curved, LATENTS, labels, 0.4, step_size=0.02, steps=100)
    assert not bool((within.success & (smallest.latent_norms > 0.4 * 1.05)).any())
    assert int((within.success ^ (smallest.latent_norms <= 0.4)).sum()) <= 2


def test_random_latents_are_a_weaker_control() -> None:
    labels = model(curved(LATENTS)).argmax(1)
    found = bs.latent(model, curved, LATENTS, labels)
    won = found.success
    control = random_latent(
        model, curved, LATENTS[won], labels[won], 1.05 * found.latent_norms[won], torch.Generator().manual_seed(0)
    )
    moved = (control.latents - LATENTS[won]).norm(dim=1)
    torch.testing.assert_close(moved, 1.05 * found.latent_norms[won])
    assert float(control.success.double().mean()) < 0.6


def test_wrong_labels_need_nothing() -> None:
    wrong = (LABELS + 1) % 4
    for eps in (None, 0.1):
        found = bs.latent(model, isometric, LATENTS, wrong, eps)
        assert bool(found.success.all())
        assert float(found.latent_norms.max()) == 0


def test_networks_in_float32() -> None:
    decoder = nn.Sequential(nn.Linear(5, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))
    network = bs.load("mnist-mlp")
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    found = bs.latent(network, decoder, z, network.labels(decoder(z).detach()), steps=20)
    assert found.latents.dtype == found.images.dtype == torch.float32


def test_refusals() -> None:
    with pytest.raises(ValueRangeError, match=r"\[0, 1\]"):
        bs.latent(model, lambda z: 2 + isometric(z), LATENTS, LABELS)
    with pytest.raises(ShapeError, match="one image of each"):
        bs.latent(model, lambda z: isometric(z)[:3], LATENTS, LABELS)
    with pytest.raises(BlindspaceError, match="decoder must be a function"):
        bs.latent(model, 3, LATENTS, LABELS)  # type: ignore[arg-type]
    with pytest.raises(ValueRangeError, match="distance"):
        random_latent(model, isometric, LATENTS, LABELS, inf)
    with pytest.raises(ShapeError, match="distances"):
        random_latent(model, isometric, LATENTS, LABELS, torch.ones(3))
    with pytest.raises(ValueRangeError, match="eps"):
        bs.latent(model, isometric, LATENTS, LABELS, -1.0)
