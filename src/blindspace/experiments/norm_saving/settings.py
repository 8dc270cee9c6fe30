"""Norm-saving: settings, and the networks and layers of the plan."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.victims import ROBUST, present
from ..parts import Preset, Settings

VIT = "timm:vit_tiny_patch16_224[img_size=32]"
"""A ViT with random weights; patches of 16×16, 768 values each, become 192."""

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
        plan: Networks and layers, with groups of attacks and the number of images for each.
        present: Networks of ``plan`` outside the package that are available.
        size: Radius of the L∞ ball.
        l2: Radius of the L2 ball for 3·32·32 values; proportional to √n.
        steps: Steps of PGD.
        iterations: Iterations of the libraries' gradient-based attacks.
        queries: Queries of those without gradients.
        ranged: Images of each attack for which the smallest perturbation in [0, 1] is computed.
        confined: Networks whose attack is confined to a subspace from the start, with images for each.
        budgets: L2 radii of these, scaled as ``l2``.
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
    """The settings of a preset."""
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
"""Subspaces that an attack is confined to from the start."""


def part_name(name: str, group: str) -> str:
    """Name of the part that keeps one group of attacks on one network."""
    return f"{name.replace('@', '-').split(':')[-1].split('[')[0]}.{group}"
