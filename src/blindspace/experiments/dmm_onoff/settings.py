"""On and off the manifold: settings, and the networks that are measured."""

from __future__ import annotations

from dataclasses import dataclass

from ...manifolds import CONTROLS
from ..common.models import of_others
from ..common.networks_of_others import RESNET20, RESNET20_NAME
from ..parts import Preset, Settings

FILE, OTHERS = RESNET20, RESNET20_NAME
"""A ResNet-20 for CIFAR-10, trained by others; not part of the package."""

TANGENT, LOCAL, RANDOM_100 = "autoencoder tangent", "local PCA", "random, k = 100"
ANOTHER, PCA, RANDOM = "another image", "first principal components", "random"
"""Names of controls (``manifolds.controls``)."""

SPACES = (TANGENT, LOCAL, *CONTROLS)
"""Subspaces of equal dimension; there are several random ones."""

FEWER = (TANGENT, ANOTHER, PCA, RANDOM)
"""Those in which adversarially trained networks are attacked."""

BOXED = (TANGENT, PCA, RANDOM)
"""Those in which attacks are repeated within the pixel range."""


TRANSLATED, LONGER = "translated", "longer"
TRAININGS = (TRANSLATED, LONGER, f"{LONGER}, {TRANSLATED}")
"""Trainings of ResNet-20 on colour images beside the usual one, on 10,000 images for four epochs: with images that are
translated by up to four pixels, longer on all images, and both."""


@dataclass(frozen=True)
class OnOffSettings(Settings):
    """Settings of the experiment.

    Attributes:
        datasets: Names of the data sets.
        kinds: Kinds of classifiers.
        seeds: Networks of each kind.
        colour_seeds: Networks of each kind for colour images.
        deep_seeds: Networks of ResNet-20.
        longer: Epochs of a longer training of ResNet-20, on all colour images.
        adversarial: Kinds that are trained adversarially too.
        adversarial_colour: Those of colour images, one network each: adversarial training takes long there.
        adversarial_seeds: Adversarially trained networks of each kind.
        counts: Test images for grey images, for colour images, and for ResNet-20.
        boxed: Images of the first seed that are attacked within the pixel range too; 0 for none.
        draws: Random subspaces.
        attacked_draws: Those that attacks are confined to, but for the first standard MLP of a data set: it takes all.
        neighbours: Neighbours of local PCA, for grey and for colour images.
        present: Files of others that are there.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist", "cifar10")
    kinds: tuple[str, ...] = ("mlp", "convnet", "resnet20")
    seeds: int = 5
    colour_seeds: int = 5
    deep_seeds: int = 5
    longer: int = 3
    adversarial: tuple[str, ...] = ("mlp", "convnet")
    adversarial_colour: tuple[str, ...] = ("mlp",)
    adversarial_seeds: int = 3
    counts: tuple[int, int, int] = (80, 40, 24)
    boxed: int = 12
    draws: int = 10
    attacked_draws: int = 2
    neighbours: tuple[int, int] = (100, 200)
    present: tuple[str, ...] = ()

    def count(self, dataset: str, kind: str = "mlp") -> int:
        """Number of test images."""
        grey, colour, deep = self.counts
        return min(deep if kind.startswith("resnet") else grey, colour if dataset == "cifar10" else grey)


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        dataset: Name of its data set.
        kind: Kind of network.
        seed: Seed of its training.
        adversarial: Whether it is trained adversarially.
        training: How its training differs from the usual one: "" or one of ``TRAININGS``.
    """

    dataset: str
    kind: str
    seed: int
    adversarial: bool
    training: str = ""

    @property
    def part(self) -> str:
        """Name of its part."""
        name = f"{self.dataset}.{self.kind.replace(' ', '-')}.{self.seed}"
        way = self.training.replace(", ", "-")
        return name + (f".{way}" if way else "") + (".adversarial" if self.adversarial else "")

    @property
    def deep(self) -> bool:
        """Whether its attacks are costly."""
        return self.kind.startswith("resnet")


def dim(dataset: str) -> int:
    """Dimension k of the manifolds of a data set."""
    return 128 if dataset == "cifar10" else 16


def groups(s: OnOffSettings) -> list[tuple[Case, ...]]:
    """The networks that differ by their seed only, group by group; those of one data set after one another."""
    found = []
    for dataset in s.datasets:
        colour = dataset == "cifar10"
        for kind in s.kinds:
            seeds = s.deep_seeds if kind == "resnet20" else s.colour_seeds if colour else s.seeds
            found.append(tuple(Case(dataset, kind, seed, False) for seed in range(seeds)))
        if colour and "resnet20" in s.kinds:
            found.extend((Case(dataset, "resnet20", 0, False, training),) for training in TRAININGS)
        for kind in s.adversarial_colour if colour else s.adversarial:
            seeds = 1 if colour else s.adversarial_seeds
            found.append(tuple(Case(dataset, kind, seed, True) for seed in range(seeds)))
        if colour and FILE in s.present:
            found.append((Case(dataset, OTHERS, 0, False),))
    return found


def spaces_of(s: OnOffSettings, case: Case) -> tuple[str, ...]:
    """The subspaces in which a network is measured."""
    if case.adversarial:
        return FEWER
    return (*SPACES, RANDOM_100) if (case.dataset, case.kind) == ("mnist", "mlp") else SPACES


def attacked_draws(s: OnOffSettings, case: Case) -> int:
    """Number of random subspaces that attacks are confined to."""
    return s.draws if case.seed == 0 and case.kind == "mlp" and not case.adversarial else min(s.draws, s.attacked_draws)


def for_preset(preset: Preset, seed: int) -> OnOffSettings:
    """The settings of a preset; smoke has two small networks and few images."""
    if preset == "smoke":
        return OnOffSettings(
            preset,
            seed,
            ("mnist",),
            ("mlp",),
            seeds=1,
            adversarial=("mlp",),
            adversarial_seeds=1,
            counts=(6, 6, 6),
            boxed=0,
            draws=2,
            attacked_draws=1,
            neighbours=(20, 20),
        )
    present = (FILE,) if of_others(FILE) else ()
    if preset == "cpu":
        return OnOffSettings(preset, seed, present=present)
    return OnOffSettings(
        preset,
        seed,
        longer=200,
        adversarial_colour=("mlp", "convnet"),
        adversarial_seeds=5,
        counts=(500, 300, 200),
        boxed=100,
        attacked_draws=10,
        present=present,
    )
