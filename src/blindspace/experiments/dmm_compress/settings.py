"""Compression onto the manifold: settings, and the networks that classify after it."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import Case, by_seed
from ..parts import Preset, Settings

AUTOENCODER, PCA, LOW, RANDOM = "autoencoder", "principal components", "low frequencies", "random subspace"
WAYS = (AUTOENCODER, PCA, LOW, RANDOM)
"""How images are compressed to k numbers: on the manifold, and by projections of equal dimension through the mean."""

SCORES = ("error of the autoencoder", "distance off its tangent space", "error of principal components", "length")
"""What detects: the distance from the manifold, its part off the tangent space, the distance from the affine subspace
of principal components, and, as a control that knows nothing of the data but their mean, the distance from the mean."""

ATTACKS = ("plain", "on", "off")
"""Smallest perturbations: unconfined, in the tangent space, and orthogonal to it."""


@dataclass(frozen=True)
class DmmCompress(Settings):
    """Settings of the experiment.

    Attributes:
        datasets: Names of the data sets.
        kinds: Kinds of classifiers of grey images.
        colour_kinds: Kinds of classifiers of colour images.
        seeds: Number of classifiers of each kind.
        colour_seeds: The same for colour images.
        images: Number of test images to attack, grey and colour.
        read: Number of test images whose accuracy is measured.
        scored: Number of images of each kind that detectors score, grey and colour.
        beyond: How much longer perturbations are made before they are compressed or detected.
        noise: Standard deviations of noise.
        blur: Standard deviations of a Gaussian blur, in pixels.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist", "cifar10")
    kinds: tuple[str, ...] = ("mlp", "convnet")
    colour_kinds: tuple[str, ...] = ("convnet",)
    seeds: int = 2
    colour_seeds: int = 1
    images: tuple[int, int] = (40, 16)
    read: int = 1000
    scored: tuple[int, int] = (150, 40)
    beyond: float = 1.1
    noise: tuple[float, ...] = (0.05, 0.2)
    blur: tuple[float, ...] = (1.0,)


def groups(s: DmmCompress) -> list[tuple[Case, ...]]:
    """The classifiers that differ by their seed only; those of one data set after one another."""
    found = []
    for dataset in s.datasets:
        colour = dataset == "cifar10"
        for kind in s.colour_kinds if colour else s.kinds:
            seeds = s.colour_seeds if colour else s.seeds
            found.append(by_seed(dataset, kind, seeds))
    return found


def other(s: DmmCompress, dataset: str) -> str:
    """The data set whose images are outliers."""
    if s.preset == "smoke" or dataset == "fashion-mnist":
        return "cifar10" if dataset == "mnist" else "mnist"
    return {"mnist": "fashion-mnist", "cifar10": "fashion-mnist"}[dataset]


def for_preset(preset: Preset, seed: int) -> DmmCompress:
    """The settings of a preset."""
    if preset == "smoke":
        return DmmCompress(preset, seed, ("mnist",), ("mlp",), (), 1, 0, (6, 6), 50, (15, 15), noise=(0.2,))
    if preset == "cpu":
        return DmmCompress(preset, seed)
    return DmmCompress(preset, seed, seeds=5, colour_seeds=3, images=(300, 200), read=10_000, scored=(1000, 300))
