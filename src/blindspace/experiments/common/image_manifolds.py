"""The image manifolds that experiments measure: trained autoencoders and principal components of training images."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ...data import PrincipalComponents
from ...errors import FileError
from ...manifolds import Manifold, manifold
from ...networks.autoencoders import AUTOENCODERS, Autoencoder
from ...networks.trained_autoencoders import load_autoencoder
from ...progress import Progress
from ..parts import Preset, Settings
from .models import images, trained

NAMES = {network.recipe.dataset: name for name, network in AUTOENCODERS.items()}
"""The autoencoder of each data set."""


def autoencoder(dataset: str, s: Settings, progress: Progress | None = None) -> Manifold:
    """The autoencoder of a data set: as it is shipped, or else trained as the preset says, or taken from the cache.

    Args:
        dataset: mnist, fashion-mnist or cifar10.
        s: Settings; the preset smoke trains for an instant on the embedded images.
        progress: Called after every step of training.
    """
    name = NAMES[dataset]
    shape = AUTOENCODERS[name].input_shape
    try:
        shipped = load_autoencoder(name)
        encoder, decoder = shipped.encoder, shipped.decoder
    except FileError:
        recipe = AUTOENCODERS[name].recipe
        recipe = replace(recipe, epochs=2, batch_size=20) if s.preset == "smoke" else recipe
        module = trained(name, s, progress, recipe).module
        assert isinstance(module, Autoencoder)
        encoder, decoder = module.encoder, module.decoder
    return manifold(encoder, decoder, shape)


@lru_cache(maxsize=1)
def components(dataset: str, preset: Preset, count: int = 20_000) -> PrincipalComponents:
    """All principal components of the first training images."""
    return PrincipalComponents.of(images(dataset, preset, count, split="train").tensor())
