"""Autoencoders: training that resumes to the bit, honest cards, and a start that is PCA."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import blindspace as bs
from blindspace.attacks import PGDAdversary
from blindspace.data import PrincipalComponents, samples
from blindspace.errors import BlindspaceWarning, FileError, UnknownNameError, ValueRangeError
from blindspace.files import sha256
from blindspace.networks import AUTOENCODERS, AutoencoderCard, load_autoencoder, train
from blindspace.networks.autoencoders import perceptron_autoencoder, principal_autoencoder
from blindspace.networks.training import reconstruction_error

NAME = "mnist-autoencoder"
DIGITS = samples("mnist")
TRAIN, TEST = DIGITS.take(slice(150)), DIGITS.take(slice(150, 200))
RECIPE = replace(AUTOENCODERS[NAME].recipe, batch_size=50)


def trained(folder: Path, epochs: int = 2, **more: Any) -> AutoencoderCard:
    card = train(NAME, folder, recipe=RECIPE, epochs=epochs, train_set=TRAIN, test_set=TEST, **more)
    assert isinstance(card, AutoencoderCard)
    return card


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    trained(folder)
    return folder


def test_resumed_ends_in_the_same_bits(whole: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [f".{NAME}.checkpoint.pt"]
    seen: list[int] = []
    trained(tmp_path, progress=lambda done, *_: seen.append(done))
    assert seen == [4, 5, 6]
    assert (tmp_path / f"{NAME}.safetensors").read_bytes() == (whole / f"{NAME}.safetensors").read_bytes()


def test_card_states_what_the_stored_weights_do(whole: Path) -> None:
    card = json.loads((whole / f"{NAME}.json").read_text())
    found = load_autoencoder(NAME, whole / f"{NAME}.safetensors")
    assert found.card == card
    assert card["sha256"] == sha256(whole / f"{NAME}.safetensors")
    for images, key in ((TEST.tensor(), "test_mse"), (TRAIN.tensor(), "train_mse")):
        with torch.no_grad():
            latent = found.encoder(images)
            error = float((found.decoder(latent) - images).double().square().mean())
        assert latent.shape == (len(images), card["dim"])
        assert card[key] == pytest.approx(error, rel=3e-7)
    x, y = (part.tensor(torch.float64).flatten(1).numpy() for part in (TRAIN, TEST))
    axes = np.linalg.svd(x - x.mean(0))[2][:16]
    centred = y - x.mean(0)
    assert card["pca_test_mse"] == pytest.approx(np.square(centred - centred @ axes.T @ axes).mean())
    assert card["beats_pca"] is False  # after six steps


def test_untrained_ones_begin_as_pca() -> None:
    images = samples("cifar10").tensor()[:60, :, :16, :16]
    torch.manual_seed(0)
    module = principal_autoencoder((3, 16, 16), 8, 4)
    module.fit_start(images)
    error = PrincipalComponents.of(images).error(images, 8)
    assert reconstruction_error(module, images) == pytest.approx(error, rel=1e-5)
    latent = module.encoder(images)
    torch.testing.assert_close(latent.var(0), torch.ones(8), rtol=1e-3, atol=0)


def test_they_beat_pca_where_it_can_be_beaten() -> None:
    """On a parabola, one latent variable does what one principal component cannot."""
    torch.manual_seed(0)
    t = torch.linspace(-1, 1, 200)
    images = torch.stack([t, t**2, 0 * t, 0 * t], 1).view(-1, 1, 2, 2)
    module = perceptron_autoencoder((1, 2, 2), 32, 1)
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        (module(images) - images).square().mean().backward()
        optimiser.step()
    assert reconstruction_error(module, images) < 0.3 * PrincipalComponents.of(images).error(images, 1)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_shipped_ones_beat_pca(name: str) -> None:
    network = bs.load(name)
    assert network.card["beats_pca"] is True
    assert network.card["test_mse"] < network.card["pca_test_mse"]
    assert network.card["recipe"] == AUTOENCODERS[name].recipe.to_dict()
    if name != "fashion-autoencoder":  # of which no images are embedded
        images = samples("mnist" if network.input_shape[0] == 1 else "cifar10").tensor()
        error = reconstruction_error(network.module, images)
        assert error == pytest.approx(network.card["test_mse"], rel=0.15)
        assert error < network.card["pca_test_mse"]


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_outputs_do_not_depend_on_the_batch(name: str) -> None:
    torch.manual_seed(0)
    network = AUTOENCODERS[name]
    module = network.build().train()  # even so
    images = torch.rand(3, *network.input_shape)
    torch.testing.assert_close(module(images)[:1], module(images[:1]))
    assert bs.load(name, random_weights=True).outputs(images).shape == images.shape


def test_decoders_take_single_latent_vectors() -> None:
    for build in (partial(perceptron_autoencoder, (1, 8, 8), 10, 4), partial(principal_autoencoder, (3, 16, 16), 4, 2)):
        module = build()
        z = torch.rand(2, 4)
        torch.testing.assert_close(torch.vmap(module.decoder)(z), module.decoder(z))


def test_manifolds_that_pca_beats_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    monkeypatch.setitem(AUTOENCODERS, "small", replace(AUTOENCODERS[NAME], name="small"))
    train("small", recipe=RECIPE, epochs=1, train_set=TRAIN, test_set=TEST)
    with pytest.warns(BlindspaceWarning, match=r"worse than 16 principal components .* PCA is the better manifold"):
        manifold = bs.manifold("small")
    assert manifold.reconstruction_error(TEST.tensor()).shape == (50,)


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDSPACE_HOME", str(tmp_path))
    with pytest.raises(UnknownNameError, match="no autoencoder is called 'mnist-mlp'; there are mnist-autoencoder"):
        load_autoencoder("mnist-mlp")
    with pytest.raises(ValueRangeError, match="has no labels for an adversary"):
        trained(tmp_path, adversary=PGDAdversary(1.0))
    with pytest.raises(FileError, match="'blindspace train mnist-autoencoder' writes one"):
        load_autoencoder(NAME, tmp_path / "none.safetensors")
    with pytest.raises(ValueRangeError, match=r"gives no labels: .* autoencoder"):
        bs.load(NAME, random_weights=True).labels(TEST.tensor())
