"""Images, and networks trained as the preset says, cached and resumable."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ...data import ImageSet, samples
from ...data import load as load_dataset
from ...files import home
from ...networks import BUILTIN, Adversary, Network, Recipe, load, train
from ...networks.paper_networks import paper_recipe
from ...networks.trainable import trainable
from ...progress import Progress
from ..parts import Preset, Settings, seed_of

NAMED = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "efficientnet": "EfficientNet", "vgg16": "VGG-16"}
"""The paper's names of its convolutional networks."""

_EPOCHS = {"resnet18": 4, "resnet18-noskip": 2, "resnet50": 3, "resnet50-noskip": 1, "mlp5": 5}
"""Epochs of the preset cpu for two cores and an hour; the paper trains for 60. The longest matching name counts."""


def training(name: str, preset: Preset) -> Recipe:
    """The training recipe of one of the paper's networks under a preset.

    Args:
        name: Name of the network, one of ``networks.trainable.trainable``.
        preset: smoke trains for an instant on the embedded images, cpu for a few epochs, paper as the paper does.

    Raises:
        UnknownNameError: There is no such network.
    """
    dataset = trainable(name).recipe.dataset
    match preset:
        case "smoke":
            return paper_recipe(dataset, epochs=1, batch_size=40)
        case "cpu":
            base = name.split("@")[0]
            return paper_recipe(dataset, _EPOCHS.get(base, _EPOCHS.get(base.split("-")[0], 3)), 256)
        case _:
            return paper_recipe(dataset)


def images(
    dataset: str, preset: Preset, count: int | None = None, split: Literal["train", "test"] = "test"
) -> ImageSet:
    """The first images of a data set; under the preset smoke those that come with the package.

    Args:
        dataset: Name of the data set.
        preset: smoke, cpu or paper.
        count: Number of images; all if None.
        split: ``train`` or ``test``; smoke has the same images for both.

    Raises:
        FileError: The data set is missing; the message says how to get it.
    """
    found = samples(dataset) if preset == "smoke" else load_dataset(dataset, split)
    return found.take(slice(count))


def tensors(chosen: ImageSet, s: Settings, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Images ``(N, C, H, W)`` of a floating dtype in [0, 1], and labels, int64 ``(N,)``, on the settings' device."""
    return chosen.tensor(dtype).to(s.device), chosen.targets().to(s.device)


def model_under_test(name: str, s: Settings, progress: Progress | None = None) -> Network:
    """A shipped network as it is (see ``load``), or one of the paper's, trained (see ``trained``)."""
    return load(name) if name in BUILTIN else trained(name, s, progress)


def examples(classes: Tensor, eligible: Tensor, count: int) -> list[int]:
    """Ascending indices of images to show: the first eligible one of each class, then further eligible ones, then any.

    Args:
        classes: int64 ``(N,)``.
        eligible: bool ``(N,)``.
        count: Number of images.
    """
    of, fit = classes.tolist(), eligible.tolist()
    first = {of[i]: i for i in reversed(range(len(of))) if fit[i]}
    order = sorted(range(len(of)), key=lambda i: (not fit[i], first.get(of[i]) != i, i))
    return sorted(order[:count])


def of_others(name: str) -> Path | None:
    """Path of a network outside the package, in the folder ``BLINDSPACE_MODELS``; None if it is missing."""
    folder = os.environ.get("BLINDSPACE_MODELS")
    path = Path(folder) / name if folder else None
    return path if path and path.exists() else None


def trained(
    name: str,
    s: Settings,
    progress: Progress | None = None,
    recipe: Recipe | None = None,
    adversary: Adversary | None = None,
    shuffled: bool = False,
) -> Network:
    """A network, trained as the preset says and on the device of the settings, or taken from the cache.

    Args:
        name: Name of the network, one that ``networks.trainable.trainable`` knows.
        s: Settings, for their preset and device.
        progress: Called after every step of training.
        recipe: Training recipe; the preset's of one of the paper's networks if None.
        adversary: What perturbs the images of every training step; none if None.
        shuffled: Whether it is trained on labels that are permuted at random, by the recipe's seed.

    Raises:
        UnknownNameError: There is no such network.
        MissingExtraError: timm is not installed.
        FileError: The data set is missing, or the cache is damaged.
    """
    recipe = recipe or training(name, s.preset)
    folder = where(name, s.preset, recipe, adversary, shuffled, s.device)
    weights = folder / f"{name}.safetensors"
    if not (weights.is_file() and weights.with_suffix(".json").is_file()):
        chosen = images(recipe.dataset, s.preset, recipe.images, split="train")
        train(
            name,
            folder,
            recipe=recipe,
            device=s.device,
            train_set=_shuffled(chosen, recipe.seed) if shuffled else chosen,
            test_set=images(recipe.dataset, s.preset),
            adversary=adversary,
            progress=progress and (lambda done, total, what: progress(done, total, f"training {name}, {what}")),
        )
    return replace(load(name, weights=weights), name=name)


def _shuffled(images: ImageSet, seed: int) -> ImageSet:
    """The images with labels that are permuted at random."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed_of(seed, "shuffled labels")))
    return replace(images, name=f"{images.name}, shuffled labels", labels=images.labels[order.numpy()])


def where(
    name: str,
    preset: Preset,
    recipe: Recipe,
    adversary: Adversary | None = None,
    shuffled: bool = False,
    device: str = "cpu",
) -> Path:
    """The cache folder of a trained network; it depends on all settings of the training, and on its device."""
    stated = {**recipe.to_dict(), "embedded": preset == "smoke"}
    if adversary is not None:
        stated["adversary"] = adversary.to_dict()
    if shuffled:
        stated["labels"] = "shuffled"
    if device != "cpu":
        stated["device"] = device
    settings = json.dumps(stated, sort_keys=True)
    return home() / "networks" / f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
