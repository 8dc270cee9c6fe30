"""Training of a second network on samples whose labels are targets, with the accuracy after every epoch.

Test labels choose nothing: the network is the one after the last epoch, and the accuracy of the best epoch stands
beside it for comparison only, because the published figures are of that kind.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BlindspaceError, ShapeError, ValueRangeError, first_line, shown
from ..networks import Network, Recipe, load
from ..networks.trainable import trainable
from ..networks.training import accuracy, augment
from ..networks.training_loop import run
from ..progress import Progress
from ..subspaces._arguments import described

Labelled = tuple[Tensor, Tensor]
"""Images, floating point ``(N, *shape)``, and their labels, int64 ``(N,)``."""


class Epoch(NamedTuple):
    """What an epoch of training showed.

    Attributes:
        loss: Mean loss of its steps.
        training: Share of the training images whose target the network answered when they were drawn, in [0, 1].
        test: Accuracy on the test images after it, in [0, 1]; None without test images.
    """

    loss: float
    training: float
    test: float | None


@dataclass(frozen=True, eq=False)
class Learnt:
    """A network trained on given samples.

    Attributes:
        network: The network after the last epoch, in eval.
        curve: One entry per epoch.
    """

    network: Network
    curve: tuple[Epoch, ...]

    @property
    def last(self) -> float | None:
        """Accuracy on the test images after the last epoch; None without test images."""
        return self.curve[-1].test

    @property
    def best(self) -> float | None:
        """The highest accuracy after any epoch, which the test labels choose; None without test images."""
        return max((epoch.test for epoch in self.curve if epoch.test is not None), default=None)


def learn(
    network: str | nn.Module,
    images: Tensor,
    targets: Tensor,
    recipe: Recipe | None = None,
    test: Labelled | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Learnt:
    """Train a network on samples with the labels given, on the device of the images.

    Args:
        network: A name that ``networks.trainable.trainable`` knows, which starts from the initial weights of the
            recipe's seed; or an untrained module, of which a copy is trained. A network that made the samples should
            have had another seed: networks that share their initial weights learn from one another by them alone
            (subliminal learning, Cloud et al. 2025).
        images: Floating point ``(N, *shape)``, of any finite values.
        targets: Labels to learn, int64 ``(N,)``.
        recipe: Optimiser, epochs, and seed, which decides the order of the images; the network's own if None, which a
            module has not.
        test: Images and labels whose accuracy is measured after every epoch.
        progress: Called after every step.
        checkpoint: File that is written after every epoch, from which the same call resumes; none if None.

    Raises:
        UnknownNameError: There is no such network.
        BlindspaceError: The network is neither a name nor a module, or the recipe is none.
        ShapeError: Images and labels do not fit together.
        ValueRangeError: There is no image, no epoch or no recipe, or a value is not finite.
        FileError: The checkpoint is damaged.

    Examples:
        >>> import torch, blindspace as bs
        >>> digits = bs.data.samples("mnist")
        >>> from blindspace.networks import Recipe
        >>> x, y = digits.tensor(), digits.targets()
        >>> learnt = bs.learn("mlp@mnist", x[:100], y[:100], Recipe("mnist", 1, 50), test=(x[100:], y[100:]))
        >>> 0 <= learnt.last <= 1
        True
    """
    images, targets = _labelled(images, targets, "training")
    if test is not None:
        if not isinstance(test, tuple) or len(test) != 2:
            raise ShapeError(f"test images come with their labels, as a pair, got {shown(test)}")
        test = _labelled(*test, "test")
        test = test[0].to(images.device), test[1].to(images.device)
    if not isinstance(network, str | nn.Module) or not isinstance(recipe, Recipe | None):
        raise BlindspaceError(
            f"learn takes a name or an untrained module, and a Recipe, got {shown(network)} and {shown(recipe)}"
        )
    if isinstance(network, str):
        found = trainable(network)
        name, recipe = network, recipe or found.recipe
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(recipe.seed)
            module = found.build()
    else:
        name, module = type(network).__name__, deepcopy(network)
    if recipe is None or recipe.epochs < 1:
        raise ValueRangeError(f"training {name} takes a recipe of at least 1 epoch, got {recipe and recipe.epochs}")
    module.to(images.device)
    for given, which in ((images, targets), *((test,) if test else ())):
        _check_fit(name, module, given, which)
    stated = recipe
    steps: list[tuple[float, int, int]] = []  # Of this epoch: sum of losses, images answered as their target, images.

    def loss(chosen: Tensor, generator: torch.Generator) -> Tensor:
        outputs = module(augment(images[chosen], stated, generator))
        value = F.cross_entropy(outputs, targets[chosen], label_smoothing=stated.label_smoothing)
        right = int((outputs.detach().argmax(1) == targets[chosen]).sum())
        steps.append((float(value.detach()) * len(chosen), right, len(chosen)))
        return value

    def measure() -> dict[str, float]:
        total, right, count = (sum(each) for each in zip(*steps, strict=True))
        steps.clear()
        figures = {"loss": total / count, "training": right / count}
        if test is not None:
            figures["test"] = accuracy(module.eval(), *test)
        return figures

    settings = json.dumps({**recipe.to_dict(), "network": name, "samples": len(targets)}) if checkpoint else ""
    curve = run(module, loss, len(targets), recipe, checkpoint, settings, progress, lambda: None, measure)
    made = load(module.eval(), tuple(images.shape[1:]), name=f"{name}, learnt")
    return Learnt(made, tuple(Epoch(each["loss"], each["training"], each.get("test")) for each in curve))


def _check_fit(name: str, module: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Refuse images that a network does not read, and labels of classes that it has not.

    Raises:
        ShapeError: It does not read images of this shape.
        ValueRangeError: A label is none of its classes.
    """
    try:
        with torch.no_grad():
            outputs: Tensor = module.eval()(images[:1])
    except RuntimeError as error:
        raise ShapeError(
            f"{name} does not read images of shape {tuple(images.shape[1:])}: {first_line(error)}"
        ) from error
    least, most = int(labels.min()), int(labels.max())
    if outputs.ndim != 2 or least < 0 or most >= outputs.shape[1]:
        raise ValueRangeError(
            f"labels run from {least} to {most}; the outputs of {name} are {tuple(outputs.shape)}, one score per class"
        )


def _labelled(images: Tensor, labels: Tensor, which: str) -> Labelled:
    """The images in float32 and their labels, checked."""
    if not isinstance(images, Tensor) or images.ndim < 2 or not images.is_floating_point():
        raise ShapeError(f"{which} images are {described(images)}; needed are floating point (N, …)")
    if not isinstance(labels, Tensor) or labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ShapeError(f"{which} labels are {described(labels)}; needed is int64 ({len(images)},), one per image")
    if not len(images) or not bool(torch.isfinite(images).all()):
        raise ValueRangeError(f"learning needs finite {which} images, got {len(images)}, or values that are not finite")
    return images.float(), labels.to(images.device)
