"""Non-linear layers: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks import BUILTIN
from ..common.classifier_cases import Case, by_seed
from ..parts import Preset, Settings

TRAINED, SHUFFLED, UNTRAINED = "images", "shuffled pixels", "untrained weights"
CONDITIONS = (TRAINED, SHUFFLED, UNTRAINED)
"""The images as they are; their pixels shuffled; and untrained weights. The last two are controls."""

SMALL_INPUTS = 1000
"""Number of pixels up to which ranks are determined at many images, and through all layers."""


@dataclass(frozen=True)
class NonlinearSettings(Settings):
    """Settings of the experiment.

    Attributes:
        cases: Data set and kind of each classifier; the kind may be the name of a network that comes with the package.
        seeds: Networks per classifier of small images.
        colour_seeds: Networks per classifier of colour images.
        images: Test images over which units are counted.
        points: Test images of MNIST at which the rank of the first layer is determined.
        layer_points: Those of them at which the ranks through all layers are determined.
        colour_points: Test images of CIFAR-10 at which the rank of the first layer is determined.
        noise: Standard deviation of the noise that is projected on the polyhedra.
    """

    cases: tuple[tuple[str, str], ...] = (
        ("mnist", "mlp"),
        ("mnist", "mnist-mlp"),
        ("mnist", "convnet"),
        ("cifar10", "mlp"),
        ("cifar10", "convnet"),
        ("cifar10", "resnet20"),
        ("cifar10", "cifar-resnet"),
    )
    seeds: int = 5
    colour_seeds: int = 2
    images: int = 1000
    points: int = 20
    layer_points: int = 5
    colour_points: int = 3
    noise: float = 1.0

    def seeds_of(self, dataset: str, kind: str) -> int:
        """Networks per classifier; one of those that come with the package."""
        if kind in BUILTIN:
            return 1
        return self.seeds if dataset == "mnist" else self.colour_seeds


def for_preset(preset: Preset, seed: int) -> NonlinearSettings:
    """The settings of a preset."""
    if preset == "smoke":
        return NonlinearSettings(preset, seed, (("mnist", "mlp"), ("mnist", "mnist-mlp")), 2, 1, 40, 2, 1, 1)
    if preset == "cpu":
        return NonlinearSettings(preset, seed)
    return NonlinearSettings(
        preset, seed, seeds=20, colour_seeds=5, images=10_000, points=100, layer_points=100, colour_points=20
    )


def groups(s: NonlinearSettings) -> list[tuple[Case, ...]]:
    """The networks, those of one data set and kind together."""
    return [by_seed(dataset, kind, s.seeds_of(dataset, kind)) for dataset, kind in s.cases]
