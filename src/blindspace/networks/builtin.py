"""What a network to be trained is, and the built-in reference networks, whose weights are shipped.

All read images in [0, 1]; the normalisation is a layer, so it belongs to the affine front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import nn

from .preprocessing_modules import Normalise, ResidualBlock


@dataclass(frozen=True)
class Recipe:
    """Training settings.

    Attributes:
        dataset: Name of the data set.
        epochs: Passes over the training set.
        batch_size: Samples per step.
        learning_rate: Learning rate, or its peak if it is scheduled.
        momentum: Momentum of SGD; Adam has its own.
        weight_decay: L2 penalty on every parameter.
        label_smoothing: Label smoothing of the cross-entropy loss.
        crop_padding: Maximum random translation in pixels; 0 for none.
        flip: Whether images are mirrored at random.
        seed: Seed of initial weights, order of samples and augmentation.
        optimiser: ``sgd`` with Nesterov momentum, or ``adam`` (Kingma and Ba 2015).
        schedule: ``one-cycle`` (Smith and Topin 2019), or a ``constant`` learning rate.
        images: Number of training images, the first of the data set; all if None.
    """

    dataset: str
    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    crop_padding: int = 0
    flip: bool = False
    seed: int = 0
    optimiser: Literal["sgd", "adam"] = "sgd"
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    images: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Builtin:
    """A network that can be trained.

    Attributes:
        name: Name for ``load``.
        input_shape: Shape ``(C, H, W)`` of one image, values in [0, 1].
        build: Function that returns the untrained module.
        recipe: Training settings.
        task: What it is trained for.
    """

    name: str
    input_shape: tuple[int, int, int]
    build: Callable[[], nn.Module]
    recipe: Recipe
    task: Literal["classification", "reconstruction"] = "classification"


def cifar_resnet() -> nn.Sequential:
    """A ResNet-14 for CIFAR-10 with the stem of appendix F.2: ten 7×7 kernels of stride 2, then 3×3.

    The ten kernels read 3·32·32 = 3072 values and write 10·16·16 = 2560, so at least 512 dimensions are lost.
    """
    return nn.Sequential(
        Normalise((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        nn.Conv2d(3, 10, 7, 2, 3, bias=False),
        nn.Conv2d(10, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        ResidualBlock(32, 32),
        ResidualBlock(32, 32),
        ResidualBlock(32, 64, 2),
        ResidualBlock(64, 64),
        ResidualBlock(64, 128, 2),
        ResidualBlock(128, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def mnist_mlp() -> nn.Sequential:
    """MLP-5 of the paper's figure 2: five fully-connected layers on 28×28 = 784 pixels."""
    return nn.Sequential(
        Normalise((0.1307,), (0.3081,)),
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


BUILTIN: dict[str, Builtin] = {
    network.name: network
    for network in (
        Builtin(
            "cifar-resnet",
            (3, 32, 32),
            cifar_resnet,
            Recipe("cifar10", epochs=30, learning_rate=0.2, crop_padding=3, flip=True),
        ),
        Builtin("mnist-mlp", (1, 28, 28), mnist_mlp, Recipe("mnist", epochs=12, learning_rate=0.1, crop_padding=2)),
    )
}
