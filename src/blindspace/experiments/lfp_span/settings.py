"""The span of training samples: settings, and the networks whose perturbations are measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...data import SHAPES
from ..parts import Preset, Settings

MLP, CONVNET = "mlp", "convnet"


@dataclass(frozen=True)
class Maker:
    """How first networks are built and trained.

    Attributes:
        name: In words.
        kind: ``MLP`` or ``CONVNET``.
        width: Neurons of each hidden layer of an MLP.
        depth: Number of its hidden layers.
        epochs: Passes over the training samples; 0 for the initial weights.
        optimiser: ``sgd`` or ``adam``.
        scale: Factor on the initial weights of the first layer.
        shuffled: Whether the labels are shuffled among the training samples.
        taught: Whether a second network learns from the perturbations.
        colour: Whether it is measured on images in colour too, on which everything takes four times as long.
    """

    name: str
    kind: str = MLP
    width: int = 256
    depth: int = 1
    epochs: int = 100
    optimiser: str = "sgd"
    scale: float = 1.0
    shuffled: bool = False
    taught: bool = False
    colour: bool = False


BASE = "MLP"
UNTRAINED = "MLP before training"
SMALL = "MLP, start / 10"
DEEP = "MLP, 4 hidden layers"
ADAM = "MLP, Adam"
CONV = "ConvNet"
CONV_UNTRAINED = "ConvNet before training"


def on_shuffled(name: str) -> str:
    """Name of the same network trained on shuffled labels."""
    return f"{name}, shuffled labels"


MAKERS = (
    Maker(UNTRAINED, epochs=0, colour=True),
    Maker("MLP, 5 epochs", epochs=5),
    Maker("MLP, 20 epochs", epochs=20),
    Maker(BASE, taught=True, colour=True),
    Maker(on_shuffled(BASE), shuffled=True, taught=True, colour=True),
    Maker(SMALL, scale=0.1, taught=True),
    Maker(on_shuffled(SMALL), scale=0.1, shuffled=True, taught=True),
    Maker("MLP, width 32", width=32),
    Maker("MLP, width 2048", width=2048),
    Maker("MLP, 2 hidden layers", depth=2),
    Maker(DEEP, depth=4, taught=True),
    Maker(on_shuffled(DEEP), depth=4, shuffled=True, taught=True),
    Maker(ADAM, optimiser="adam"),
    Maker(CONV_UNTRAINED, CONVNET, epochs=0, colour=True),
    Maker(CONV, CONVNET, taught=True, colour=True),
    Maker(on_shuffled(CONV), CONVNET, shuffled=True, taught=True, colour=True),
)


def makers_of(dataset: str) -> tuple[Maker, ...]:
    """The first networks that are measured on a data set."""
    return tuple(maker for maker in MAKERS if maker.colour or SHAPES[dataset][0] == 1)


def compared_on(dataset: str) -> tuple[str, ...]:
    """Networks that are trained on true and on shuffled labels, and whose perturbations are taught."""
    return tuple(maker.name for maker in makers_of(dataset) if maker.taught and not maker.shuffled)


@dataclass(frozen=True)
class SpanSettings(Settings):
    """Settings of the experiment.

    Attributes:
        samples: Number N of training samples by data set.
        eps: L2 norm of the perturbations that are taught, by data set.
        seeds: Number of first networks of each kind, by data set.
        perturbed: Number of images that are perturbed and taught.
        measured: Number of them whose perturbations are measured.
        batches: Steps per epoch of the first networks.
        length: Factor on the numbers of epochs of the first networks.
        epochs: Passes over the perturbed images of the second networks.
        tests: Number of test images; all if None.
    """

    samples: dict[str, int] = field(default_factory=lambda: {"mnist": 100, "cifar10": 200})
    eps: dict[str, float] = field(default_factory=lambda: {"mnist": 2.0, "cifar10": 1.0})
    seeds: dict[str, int] = field(default_factory=lambda: {"mnist": 5, "cifar10": 3})
    perturbed: int = 3000
    measured: int = 300
    batches: int = 5
    length: float = 1.0
    epochs: int = 6
    tests: int | None = 2000


def for_preset(preset: Preset, seed: int) -> SpanSettings:
    """The settings of a preset; smoke has few images of MNIST."""
    if preset == "smoke":
        return SpanSettings(
            preset,
            seed,
            {"mnist": 30},
            seeds={"mnist": 1},
            perturbed=40,
            measured=20,
            batches=3,
            length=0.1,
            epochs=1,
            tests=40,
        )
    if preset == "cpu":
        return SpanSettings(preset, seed)
    return SpanSettings(preset, seed, seeds={"mnist": 20, "cifar10": 20}, perturbed=20_000, tests=None)
