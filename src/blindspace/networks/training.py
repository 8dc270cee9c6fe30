"""Training of networks by name, for classification or reconstruction, with weights and a card as the result."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data.datasets import load as load_dataset
from ..data.imageset import ImageSet
from ..data.principal_components import PrincipalComponents
from ..errors import ShapeError, ValueRangeError
from ..files import home, sha256, unwritable, writing
from ..maps.linear_map import as_device
from ..progress import Progress
from .autoencoders import Autoencoder
from .builtin import Builtin, Recipe
from .cards import AutoencoderCard, Card, ClassifierCard
from .trainable import trainable
from .training_loop import run


class Adversary(Protocol):
    """What perturbs the images of every training step, for adversarial training."""

    def __call__(self, module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] and labels ``(B,)`` to perturbed images, for the module as it stands."""

    def to_dict(self) -> dict[str, Any]:
        """Its settings as plain values for JSON."""


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random translation by up to ``crop_padding`` pixels and mirroring, independently per image.

    Args:
        images: ``(B, C, H, W)``; of any shape where the recipe has neither.
        recipe: Settings of the augmentation.
        generator: Source of the randomness.

    Raises:
        ShapeError: The recipe translates or mirrors what are no images.
    """
    if not recipe.crop_padding and not recipe.flip:
        return images
    if images.ndim != 4:
        raise ShapeError(
            f"translations and mirroring need images (C, H, W), got {tuple(images.shape[1:])}; leave crop_padding and "
            "flip out of the recipe"
        )
    batch, channels, height, width = images.shape
    if recipe.crop_padding:
        p = recipe.crop_padding
        padded = F.pad(images, (p, p, p, p))
        top = torch.randint(2 * p + 1, (batch, 1), generator=generator) + torch.arange(height)
        left = torch.randint(2 * p + 1, (batch, 1), generator=generator) + torch.arange(width)
        padded = padded.gather(2, top.to(images.device)[:, None, :, None].expand(-1, channels, -1, width + 2 * p))
        images = padded.gather(3, left.to(images.device)[:, None, None, :].expand(-1, channels, height, -1))
    if recipe.flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
        images = torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)
    return images


@torch.no_grad()
def accuracy(module: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Share of ``images`` ``(N, C, H, W)`` whose largest output is at ``labels`` ``(N,)``, in [0, 1]."""
    batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    return sum(int((module(x).argmax(1) == y).sum()) for x, y in batches) / len(labels)


@torch.no_grad()
def reconstruction_error(module: nn.Module, images: Tensor, batch_size: int = 500) -> float:
    """Mean squared difference per pixel between ``images`` ``(N, C, H, W)`` and the outputs of an autoencoder."""
    return sum(float((module(x) - x).double().square().sum()) for x in images.split(batch_size)) / images.numel()


def train(
    name: str,
    out: Path | None = None,
    *,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    device: torch.device | str = "cpu",
    train_set: ImageSet | None = None,
    test_set: ImageSet | None = None,
    adversary: Adversary | None = None,
    progress: Progress | None = None,
) -> Card:
    """Train a network that ``trainable`` knows; ``out`` receives ``NAME.safetensors`` and its card ``NAME.json``.

    A checkpoint is written after every epoch; a second call with the same recipe resumes there. The weights of
    autoencoders are stored in half precision, and measured as stored.

    Args:
        name: A name that ``trainable`` knows.
        out: Folder; ``networks`` in the cache folder if None.
        recipe: Settings; those of the network if None.
        epochs: Number of epochs; that of the recipe if None.
        seed: Seed; that of the recipe if None.
        device: Device of the training, such as cpu or cuda. On the CPU the weights are the same to the last bit
            however often a run is interrupted.
        train_set: Training images; the training split of the recipe's data set if None.
        test_set: Test images; the test split of the recipe's data set if None.
        adversary: What perturbs the images of every step, such as ``attacks.adversary.PGDAdversary``; none if None.
        progress: Function that is called after every step.

    Returns:
        The card of the trained network: a ``ClassifierCard`` or an ``AutoencoderCard``.

    Raises:
        UnknownNameError: There is no such network.
        ValueRangeError: There is less than one epoch, or an adversary for an autoencoder.
        FileError: The data set is missing, ``out`` cannot be written, or its checkpoint is damaged.
        BlindspaceError: There is no such device.

    Examples:
        >>> import torch, blindspace as bs
        >>> from pathlib import Path
        >>> card = bs.train("mlp@mnist", Path("networks"), epochs=1, train_set=bs.data.samples("mnist"),
        ...                 test_set=bs.data.samples("mnist"))
        >>> 0 <= card.test_accuracy <= 1
        True
    """
    network, place = trainable(name), as_device(device)
    recipe = recipe or network.recipe
    recipe = replace(
        recipe, epochs=recipe.epochs if epochs is None else epochs, seed=recipe.seed if seed is None else seed
    )
    if recipe.epochs < 1:
        raise ValueRangeError(f"training takes at least 1 epoch, got {recipe.epochs}")
    if adversary is not None and network.task != "classification":
        raise ValueRangeError(f"{name} has no labels for an adversary to attack; train it without one")
    train_set = (train_set or load_dataset(recipe.dataset, "train")).take(slice(recipe.images))
    test_set = test_set or load_dataset(recipe.dataset, "test")
    out = Path(out or home() / "networks")
    try:
        out.mkdir(parents=True, exist_ok=True)  # Fails before the work, not after it.
    except OSError as error:
        raise unwritable(out, error) from error

    torch.manual_seed(recipe.seed)
    module = network.build()
    module.to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = train_set.tensor(), train_set.targets()

    def loss(chosen: Tensor, generator: torch.Generator) -> Tensor:
        x = augment(images[chosen], recipe, generator).to(place, memory_format=torch.channels_last)
        if network.task == "reconstruction":
            return F.mse_loss(module(x), x)
        y = labels[chosen].to(place)
        if adversary is not None:
            x = adversary(module, x, y, generator)
        return F.cross_entropy(module(x), y, label_smoothing=recipe.label_smoothing)

    def start() -> None:
        if isinstance(module, Autoencoder):
            module.fit_start(images)

    stated = {**recipe.to_dict(), **({} if adversary is None else {"adversary": adversary.to_dict()})}
    settings = json.dumps({**stated, "samples": len(labels), "set": train_set.name})
    checkpoint, started = out / f".{name}.checkpoint.pt", time.monotonic()
    run(module, loss, len(labels), recipe, checkpoint, settings, progress, start)
    minutes = round((time.monotonic() - started) / 60, 1)

    module.cpu().eval()
    half = network.task == "reconstruction"
    weights = out / f"{name}.safetensors"
    stored = {key: (value.half() if half else value).contiguous() for key, value in module.state_dict().items()}
    with writing(weights) as temporary:
        save_file(stored, temporary)
    module.load_state_dict(stored)
    facts = {
        "name": name,
        "dataset": train_set.name,
        "test_images": len(test_set),
        "parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "recipe": stated,
        "sha256": sha256(weights),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "minutes": minutes,
    }
    card = _card(network, module, train_set, test_set, facts)
    with writing(out / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(card.to_dict(), indent=2) + "\n")
    checkpoint.unlink(missing_ok=True)
    return card


def _card(network: Builtin, module: nn.Module, train_set: ImageSet, test_set: ImageSet, facts: dict[str, Any]) -> Card:
    """The card: the given facts, and what is measured on the images."""
    test = test_set.tensor()
    if not isinstance(module, Autoencoder):
        return ClassifierCard(**facts, test_accuracy=accuracy(module, test, test_set.targets()))
    images = train_set.tensor()
    error, pca = reconstruction_error(module, test), PrincipalComponents.of(images).error(test, module.dim)
    return AutoencoderCard(
        **facts,
        dim=module.dim,
        test_mse=error,
        train_mse=reconstruction_error(module, images),
        pca_test_mse=pca,
        beats_pca=error < pca,
    )
