"""Training of the built-in networks and those of the paper: seeded and resumable after any interruption.

The order of samples and the augmentation depend on (seed, epoch) only, so a resumed run takes the same steps as an
uninterrupted one.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data.datasets import load as load_dataset
from ..data.imageset import ImageSet
from ..errors import FileError, ValueRangeError, first_line
from ..files import home, sha256, unwritable, writing
from ..progress import Progress
from .builtin import Recipe
from .paper_networks import trainable


@dataclass(frozen=True)
class Card:
    """Facts about a trained network; stored beside its weights.

    Attributes:
        name: Name of the network.
        dataset: Data set of the training.
        test_accuracy: Share of the test split classified correctly, in [0, 1].
        test_images: Number of images of the test split.
        parameters: Number of trained values.
        recipe: Settings, as in ``Recipe.to_dict``.
        sha256: Hash of the weights file.
        torch: Version of torch.
        machine: Processor architecture.
        minutes: Wall-clock time of the last uninterrupted stretch of training.
    """

    name: str
    dataset: str
    test_accuracy: float
    test_images: int
    parameters: int
    recipe: dict[str, Any]
    sha256: str
    torch: str
    machine: str
    minutes: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random translation by up to ``crop_padding`` pixels and mirroring, independently per image.

    Args:
        images: ``(B, C, H, W)``.
        recipe: Settings of the augmentation.
        generator: Source of the randomness.
    """
    batch, channels, height, width = images.shape
    if recipe.crop_padding:
        p = recipe.crop_padding
        padded = F.pad(images, (p, p, p, p))
        top = torch.randint(2 * p + 1, (batch, 1), generator=generator) + torch.arange(height)
        left = torch.randint(2 * p + 1, (batch, 1), generator=generator) + torch.arange(width)
        padded = padded.gather(2, top[:, None, :, None].expand(-1, channels, -1, width + 2 * p))
        images = padded.gather(3, left[:, None, None, :].expand(-1, channels, height, -1))
    if recipe.flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


@torch.no_grad()
def accuracy(module: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Share of ``images`` ``(N, C, H, W)`` whose largest output is at ``labels`` ``(N,)``, in [0, 1]."""
    batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    return sum(int((module(x).argmax(1) == y).sum()) for x, y in batches) / len(labels)


def train(
    name: str,
    out: Path | None = None,
    *,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    device: str = "cpu",
    train_set: ImageSet | None = None,
    test_set: ImageSet | None = None,
    progress: Progress | None = None,
) -> Card:
    """Train a built-in network or one of the paper's; ``out`` receives ``NAME.safetensors`` and its card ``NAME.json``.

    A checkpoint is written after every epoch; a second call with the same recipe resumes there.

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
        progress: Function that is called after every step.

    Returns:
        The card of the trained network.

    Raises:
        UnknownNameError: There is no such network.
        ValueRangeError: There is less than one epoch, or no such device.
        FileError: The data set is missing, ``out`` cannot be written, or its checkpoint is damaged.
    """
    network = trainable(name)
    recipe = recipe or network.recipe
    recipe = replace(
        recipe, epochs=recipe.epochs if epochs is None else epochs, seed=recipe.seed if seed is None else seed
    )
    if recipe.epochs < 1:
        raise ValueRangeError(f"training takes at least 1 epoch, got {recipe.epochs}")
    train_set = train_set or load_dataset(recipe.dataset, "train")
    test_set = test_set or load_dataset(recipe.dataset, "test")
    images, labels = train_set.tensor(), train_set.targets()
    out = Path(out or home() / "networks")
    try:
        out.mkdir(parents=True, exist_ok=True)  # Fails before the work, not after it.
    except OSError as error:
        raise unwritable(out, error) from error

    torch.manual_seed(recipe.seed)
    module = network.build()
    try:
        module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    except (RuntimeError, AssertionError) as error:
        raise ValueRangeError(
            f"cannot train on {device!r} ({first_line(error)}); give cpu, or cuda if there is one"
        ) from error
    optimiser = torch.optim.SGD(
        module.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    steps = len(labels) // recipe.batch_size or 1
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=recipe.epochs * steps)

    checkpoint = out / f".{name}.checkpoint.pt"
    settings = json.dumps({**recipe.to_dict(), "samples": len(labels), "set": train_set.name})
    first = _resume(checkpoint, settings, module, optimiser, schedule)
    started = time.monotonic()
    for epoch in range(first, recipe.epochs):
        generator = torch.Generator().manual_seed((recipe.seed * 100_003 + epoch) % 2**63)
        order = torch.randperm(len(labels), generator=generator)[: steps * recipe.batch_size]
        module.train()
        for step, chosen in enumerate(order.split(recipe.batch_size)):
            x = augment(images[chosen], recipe, generator).to(device, memory_format=torch.channels_last)
            loss = F.cross_entropy(module(x), labels[chosen].to(device), label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if progress:
                said = f"epoch {epoch + 1} of {recipe.epochs}, loss {loss.item():.3f}"
                progress(epoch * steps + step + 1, recipe.epochs * steps, said)
        state = {
            "settings": settings,
            "epoch": epoch + 1,
            "module": module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        with writing(checkpoint) as temporary:
            torch.save(state, temporary)

    module.cpu().eval()
    weights = out / f"{name}.safetensors"
    with writing(weights) as temporary:
        save_file({key: value.contiguous() for key, value in module.state_dict().items()}, temporary)
    card = Card(
        name=name,
        dataset=train_set.name,
        test_accuracy=accuracy(module, test_set.tensor(), test_set.targets()),
        test_images=len(test_set),
        parameters=sum(p.numel() for p in module.parameters()),
        recipe=recipe.to_dict(),
        sha256=sha256(weights),
        torch=torch.__version__,
        machine=platform.machine(),
        minutes=round((time.monotonic() - started) / 60, 1),
    )
    with writing(out / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(card.to_dict(), indent=2) + "\n")
    checkpoint.unlink(missing_ok=True)
    return card


def _resume(
    checkpoint: Path,
    settings: str,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> int:
    """Load the checkpoint of the same settings, if there is one; returns the number of epochs done."""
    if not checkpoint.exists():
        return 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"holds a {type(state).__name__}")
        if state["settings"] != settings:
            return 0
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        return int(state["epoch"])
    except Exception as error:  # torch raises many kinds of exceptions for damaged files.
        raise FileError(f"checkpoint {checkpoint} is damaged; delete it to start afresh") from error
