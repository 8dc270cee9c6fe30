"""."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.victims import ROBUST, present
from ..experiment import Preset, Settings

VIT = "timm:vit_tiny_patch16_224[img_size=32]"
"""Patches of 16×16, 768 values each, become 192; of random weights."""

CUTS = {"layer2.0.conv1": "layer2.0", "fc": "fc"}
"""Layers of ResNet-18 without a skip connection (appendix F.2), and the block that a cut before them begins with."""

PLAN = (
    ("cifar-resnet", (("gradient", 100), ("foolbox", 50), ("autoattack", 30), ("queries", 20))),
    ("resnet18-ten", (("gradient", 100), ("foolbox", 20))),
    ("resnet50-ten", (("gradient", 50),)),
    ("cifar-resnet@96", (("gradient", 30), ("foolbox", 10), ("autoattack", 10), ("queries", 10))),
    (VIT, (("gradient", 50), ("foolbox", 10))),
    (ROBUST, (("queries", 20),)),
    *((layer, (("features", 100),)) for layer in CUTS),
)
"""Networks and layers, with groups of attacks and images for each, of the preset cpu."""

SMALL = (("cifar-resnet", (("gradient", 6), ("queries", 2))), ("layer2.0.conv1", (("features", 6),)))


@dataclass(frozen=True)
class NormSaving(Settings):
    """Settings of norm-saving.

    Attributes:
        plan: networks and layers, with groups of attacks and how many images each has.
        present: networks of ``plan`` that are not part of the package, and here.
        size: radius of the L∞ ball.
        l2: of the L2 ball, of 3·32·32 values; in proportion to √n of others.
        steps: of PGD.
        iterations: of the libraries' attacks that follow gradients.
        queries: of those that do not.
        ranged: images of each attack for which the smallest perturbation in [0, 1] is sought.
        confined: networks whose attack is confined to a subspace from the start, with images for each.
        budgets: L2 sizes of these, as ``l2``.
    """

    plan: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = PLAN
    present: tuple[str, ...] = ()
    size: float = 8 / 255
    l2: float = 0.5
    steps: int = 20
    iterations: int = 50
    queries: int = 1000
    ranged: int = 20
    confined: tuple[tuple[str, int], ...] = (("cifar-resnet", 50), ("cifar-resnet@96", 20))
    budgets: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5)


def for_preset(preset: Preset, seed: int) -> NormSaving:
    """Of a preset."""
    if preset == "smoke":
        return NormSaving(
            preset, seed, SMALL, steps=3, iterations=3, queries=6, ranged=1,
            confined=(("cifar-resnet", 2),), budgets=(0.25,),
        )  # fmt: skip
    if preset == "cpu":
        return NormSaving(preset, seed, present=present())
    plan = tuple((name, tuple((group, 10 * count) for group, count in groups)) for name, groups in PLAN)
    return NormSaving(preset, seed, plan, present(), iterations=100, queries=5000, ranged=200)


CONTROLS = (
    "Gaussian noise",
    "signs of Gaussian noise",
    "signs of noise in the row space",
    "FGSM, shuffled",
    "FGSM, in a random subspace",
)
KINDS = ("unconfined", "effective", "random subspace", "harmless")
"""What an attack is confined to from the start."""


def part_name(name: str, group: str) -> str:
    """Of what a network's group of attacks leaves."""
    return f"{name.replace('@', '-').split(':')[-1].split('[')[0]}.{group}"
