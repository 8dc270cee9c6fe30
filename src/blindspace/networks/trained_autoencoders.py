"""Trained autoencoders by name: encoder, decoder and card."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ..errors import UnknownNameError, shown
from ._load import load
from .autoencoders import AUTOENCODERS, Autoencoder


class TrainedAutoencoder(NamedTuple):
    """A trained autoencoder.

    Attributes:
        encoder: Images ``(B, C, H, W)`` in [0, 1] to latent variables ``(B, dim)``; in eval.
        decoder: Latent variables ``(B, dim)`` to images; in eval.
        card: The facts of ``AutoencoderCard``, among them ``dim``, ``test_mse`` and ``beats_pca``; empty if the file of
            weights has no card beside it.
    """

    encoder: nn.Module
    decoder: nn.Module
    card: dict[str, Any]


def load_autoencoder(name: str, weights: str | Path | None = None) -> TrainedAutoencoder:
    """Load an autoencoder whose weights are shipped, or that ``train`` has trained.

    Args:
        name: A name of ``AUTOENCODERS``.
        weights: A ``.safetensors`` file instead, such as ``train`` writes.

    Raises:
        UnknownNameError: There is no such autoencoder.
        FileError: It has not been trained yet, or its file is damaged; the message says what to do.
    """
    if str(name) not in AUTOENCODERS:
        raise UnknownNameError(f"no autoencoder is called {shown(name)}; there are {', '.join(AUTOENCODERS)}")
    network = load(str(name), weights=weights)
    assert isinstance(network.module, Autoencoder)
    return TrainedAutoencoder(network.module.encoder, network.module.decoder, network.card)
