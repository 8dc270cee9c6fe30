"""Blind spots: settings, and the networks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...networks import SMALL
from ..common.models import of_others
from ..common.networks_of_others import RESNET20
from ..common.photographs import PHOTOGRAPHS
from ..parts import Preset, Settings


@dataclass(frozen=True)
class Case:
    """Networks of one kind.

    Attributes:
        name: Name in tables and of parts.
        kind: Kind of a small classifier, name of a built-in network, or of a file of others.
        dataset: Data set of the images.
        pairs: Number of pairs of images.
        seeds: Number of networks, which differ in their seeds.
        steps: Largest number of steps of each part of the search for a path.
        side: Width and height of photographs, which the network's preprocessing resizes to what it reads; 0 for the
            images of data sets.
    """

    name: str
    kind: str
    dataset: str
    pairs: int
    seeds: int = 1
    steps: int = 600
    side: int = 0


CASES = (
    Case("MNIST-MLP", "mlp", "mnist", 3, 2),
    Case("MNIST-ConvNet", "convnet", "mnist", 2, 2),
    Case("CIFAR-10-MLP", "mlp", "cifar10", 2, 2),
    Case("CIFAR-10-ConvNet", "convnet", "cifar10", 2, 1),
    Case("ConvNet on photographs", "convnet", PHOTOGRAPHS, 1, side=32),
    Case("cifar-resnet", "cifar-resnet", "cifar10", 1),
    Case("ResNet-20", RESNET20, "cifar10", 1),
    Case("cifar-resnet on photographs", "cifar-resnet", PHOTOGRAPHS, 1, side=96),
)

LARGE = 32
"""Width of photographs beyond which the preset cpu leaves them out."""


@dataclass(frozen=True)
class Blindspots(Settings):
    """Settings of the experiment.

    Attributes:
        cases: The networks.
        present: Files of networks of others that are there.
        tolerance: Largest change of a logit along a path, as a share of the largest logit of the image.
        allowed: How far the confidence may fall under the rule of one number.
        scalar_steps: Number of its steps.
        scalar_step: Share of the remaining way, without its component along the gradient, that each of them goes.
        push: Largest push per pixel that raises the confidence again.
        noise: Largest noise per pixel that it starts with.
    """

    cases: tuple[Case, ...] = CASES
    present: tuple[str, ...] = ()
    tolerance: float = 1e-6
    allowed: float = 0.2
    scalar_steps: int = 100
    scalar_step: float = 0.05
    push: float = 2e-3
    noise: float = 4 / 255

    def runs(self, case: Case) -> bool:
        """Whether a network is part of the package, or among those present."""
        return case.kind != RESNET20 or case.kind in self.present


def for_preset(preset: Preset, seed: int) -> Blindspots:
    """The settings of a preset; cpu leaves out the deep network on large photographs."""
    present = (RESNET20,) if preset != "smoke" and of_others(RESNET20) else ()
    if preset == "smoke":
        cases = (Case("MNIST-MLP", "mlp", "mnist", 1, steps=20), *(case for case in CASES if case.kind == RESNET20))
        return Blindspots(preset, seed, cases, tolerance=1e-4, scalar_steps=20)
    if preset == "cpu":
        return Blindspots(preset, seed, tuple(case for case in CASES if case.side <= LARGE), present)
    cases = tuple(replace(c, pairs=2 if c.side else 8 * c.pairs, seeds=5 if c.kind in SMALL else 1) for c in CASES)
    return Blindspots(preset, seed, cases, present)
