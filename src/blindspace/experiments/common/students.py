"""Small classifiers trained on images that an experiment makes, which need not lie in the pixel range."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor

from ...networks import Network, Recipe, load
from ...networks.trainable import trainable
from ...networks.training_loop import run
from ...progress import Progress


def student(name: str, images: Tensor, labels: Tensor, recipe: Recipe, progress: Progress | None = None) -> Network:
    """A fresh network, trained on given images; it is not cached.

    Args:
        name: A name that ``networks.trainable.trainable`` knows.
        images: float32 ``(N, *shape)``, of any values.
        labels: int64 ``(N,)``.
        recipe: Optimiser, epochs, and seed, which decides the initial weights and the order of the images.
        progress: Called after every step.
    """
    network = trainable(name)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(recipe.seed)
        module = network.build()

    def loss(chosen: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(module(images[chosen]), labels[chosen])

    with TemporaryDirectory() as folder:
        run(module, loss, len(labels), recipe, Path(folder) / "checkpoint.pt", "", progress, lambda: None)
    return load(module.eval(), network.input_shape, name=f"{name}, student")
