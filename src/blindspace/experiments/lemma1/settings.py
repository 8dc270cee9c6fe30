"""Lemma 1: settings, and the networks through whose layers perturbations are looked for."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.models import of_others
from ..common.networks_of_others import RESNET20, VIT
from ..parts import Preset, Settings

ANY, BEYOND = "any", "beyond the front"
"""Where perturbations are looked for: everywhere, and orthogonally to the nullspace of the network's affine front."""

WAYS = (ANY, BEYOND)


@dataclass(frozen=True)
class Case:
    """A network.

    Attributes:
        name: Name in tables and of parts.
        source: Name of a built-in network, or of a file of others.
        dataset: Data set of the images.
        images: Number of images, the first of the test set.
    """

    name: str
    source: str
    dataset: str
    images: int

    @property
    def of_others(self) -> bool:
        """Whether the network is no part of the package."""
        return self.source in (RESNET20, VIT)


CASES = (
    Case("mnist-mlp", "mnist-mlp", "mnist", 4),
    Case("cifar-resnet", "cifar-resnet", "cifar10", 1),
    Case("ResNet-20", RESNET20, "cifar10", 1),
    Case("ViT", VIT, "cifar10", 2),
)


@dataclass(frozen=True)
class Lemma1(Settings):
    """Settings of the experiment.

    Attributes:
        cases: The networks.
        present: Files of networks of others that are there.
        every: Number of layers of which one is measured: 1 measures all.
        size: Norm of a perturbation as a share of the image's.
        products: Number of products with a Jacobian or its transpose up to which a search goes on.
        tolerance: Largest change of an output, in float64.
        reference: Number of unrelated images, of the test set.
        pairs: Number of pairs of them.
    """

    cases: tuple[Case, ...] = CASES
    present: tuple[str, ...] = ()
    every: int = 1
    size: float = 0.1
    products: int = 60_000
    tolerance: float = 1e-6
    reference: int = 1000
    pairs: int = 10_000

    def runs(self, case: Case) -> bool:
        """Whether a network is part of the package, or among those present."""
        return not case.of_others or case.source in self.present


def for_preset(preset: Preset, seed: int) -> Lemma1:
    """The settings of a preset."""
    if preset == "smoke":
        cases = (Case("mnist-mlp", "mnist-mlp", "mnist", 1), *(case for case in CASES if case.of_others))
        return Lemma1(preset, seed, cases, every=4, reference=60, pairs=500)
    present = tuple(name for name in (RESNET20, VIT) if of_others(name))
    if preset == "cpu":
        return Lemma1(preset, seed, present=present)
    cases = tuple(Case(each.name, each.source, each.dataset, 16 * each.images) for each in CASES)
    return Lemma1(preset, seed, cases, present, products=100_000)
