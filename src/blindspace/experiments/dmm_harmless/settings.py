"""The harmless subspace and the manifold: settings, and the networks that are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..common.models import of_others
from ..parts import Preset, Settings

How = Literal["built-in", "classifier", "adversarial", "untrained", "halved", "others"]
"""Where a network comes from; ``halved`` has its images shrunk to half the side and enlarged again in front of it."""


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: Name in words.
        how: Where it comes from.
        source: Name of the built-in network, kind of the classifier, or file of others.
        dataset: Name of the data set.
        seed: Seed of a classifier.
    """

    name: str
    how: How
    source: str
    dataset: str
    seed: int = 0

    @property
    def part(self) -> str:
        """Name of its part."""
        plain = self.source.split(".")[0].replace("_", "-")
        return f"{self.dataset}.{plain}.{self.how}" + (f".{self.seed}" if self.how in _SEEDED else "")

    @property
    def trained(self) -> bool:
        """Whether it has learned anything."""
        return self.how != "untrained"


_SEEDED = ("classifier", "adversarial", "untrained")

OTHERS = (
    ("mnist-net_256x2.onnx", "MLP of VNN-COMP", "mnist"),
    ("cifar_base_kw.onnx", "provably robust ConvNet of VNN-COMP", "cifar10"),
    ("ibp_3_3_8.onnx.gz", "vision transformer of VNN-COMP", "cifar10"),
)
"""Networks of the verification benchmarks: file, name, data set."""


@dataclass(frozen=True)
class DmmHarmless(Settings):
    """Settings of the experiment.

    Attributes:
        seeds: Number of classifiers of each kind.
        images: Number of test images, grey and colour.
        draws: Number of random subspaces.
        eps: Radius of the L∞ attack, grey and colour.
        steps: Steps of the attack.
        present: Files of others that are there.
        datasets: Data sets whose networks are measured.
    """

    seeds: int = 3
    images: tuple[int, int] = (60, 24)
    draws: int = 10
    eps: tuple[float, float] = (0.1, 8 / 255)
    steps: int = 20
    present: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ("mnist", "fashion-mnist", "cifar10")

    def of(self, dataset: str, pair: tuple[float, float]) -> float:
        """The value for grey or for colour images."""
        return pair[dataset == "cifar10"]


def cases(s: DmmHarmless) -> list[Case]:
    """The networks, those of one data set after one another."""
    kinds: list[Case] = [
        Case("built-in MLP", "built-in", "mnist-mlp", "mnist"),
        Case("built-in ResNet", "built-in", "cifar-resnet", "cifar10"),
        Case("built-in ResNet behind a resize to half the side", "halved", "cifar-resnet", "cifar10"),
        *(Case(name, "others", file, dataset) for file, name, dataset in OTHERS if file in s.present),
    ]
    for seed in range(s.seeds):
        for dataset in s.datasets:
            kinds.append(Case(f"MLP {seed}", "classifier", "mlp", dataset, seed))
        if seed == 0:
            kinds += [Case(f"MLP {seed}, untrained", "untrained", "mlp", dataset, seed) for dataset in s.datasets]
            kinds.append(Case(f"MLP {seed}, adversarially trained", "adversarial", "mlp", "mnist", seed))
    return [case for dataset in s.datasets for case in kinds if case.dataset == dataset]


def for_preset(preset: Preset, seed: int) -> DmmHarmless:
    """The settings of a preset."""
    if preset == "smoke":
        return DmmHarmless(preset, seed, 1, (8, 8), 2, steps=3, datasets=("mnist",))
    return DmmHarmless(preset, seed, present=tuple(file for file, *_ in OTHERS if of_others(file)))
