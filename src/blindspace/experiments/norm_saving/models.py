"""Networks and layers that norm-saving is measured on, with the inputs to attack and what is harmless of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...attacks import pgd
from ...networks import Network, harmless, load
from ...subspaces import Subspace, norms
from ..common.controls import gaussian
from ..common.features import cut
from ..common.models import Preset, Report, images, trained
from ..common.victims import ROBUST, Target, present, target
from ..experiment import Settings

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


def settings(preset: Preset, seed: int) -> NormSaving:
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


@dataclass(frozen=True)
class Subject:
    """A network, what it cannot notice, and what is attacked.

    Attributes:
        network: reads images in [0, 1], or features.
        space: of harmless perturbations of what it reads.
        x: read rightly, float32 ``(N, *shape)``.
        y: int64 ``(N,)``.
        ball: radius of the L∞ ball, each sample's own, ``(N, 1, …, 1)``.
        carried: perturbations of the images as they arrive at ``x``, by name; of features alone.
    """

    network: Network
    space: Subspace
    x: Tensor
    y: Tensor
    ball: Tensor
    carried: dict[str, Tensor]


def subject(s: NormSaving, name: str, count: int, report: Report) -> Subject:
    """A network or layer of the plan."""
    if name in CUTS:
        return _features(s, name, count, report)
    if name == VIT:
        network = load(VIT, random_weights=True, name="ViT of random weights")
        x = images("cifar10", s.preset, count).tensor()
        return Subject(network, harmless(network), x, network.labels(x), _ball(s, x), {})
    found = first(s, name, count)
    return Subject(found.network, found.effective.complement, found.images, found.labels, _ball(s, found.images), {})


def first(s: NormSaving, name: str, count: int) -> Target:
    """The first images of a network that is no layer; all of them are found once, however few are asked for."""
    most = max(n for other, groups in s.plan if other == name for _, n in groups)
    found = target(name, s, most)
    return replace(found, images=found.images[:count], labels=found.labels[:count])


def _ball(s: NormSaving, x: Tensor) -> Tensor:
    return torch.full((len(x), *[1] * (x.ndim - 1)), s.size)


def _features(s: NormSaving, name: str, count: int, report: Report) -> Subject:
    network = trained("resnet18-noskip", s.preset, report)
    chosen = images("cifar10", s.preset, None if s.preset == "smoke" else 4 * count)
    x, y = chosen.tensor(), chosen.targets()
    right = (network.labels(x) == y).nonzero()[:count, 0]
    x, y = x[right], y[right]
    two = cut(network, CUTS[name])
    z = two.head.outputs(x)
    delta = pgd(network.module, x, y, s.size, s.steps, random_start=0.0).perturbation
    noise = gaussian(delta, s.generator(name, "carried"))
    carried = {key: two.head.outputs(x + d) - z for key, d in (("PGD-20 L∞ on images", delta), ("Gaussian", noise))}
    # Appendix F.2 scales images to features by the largest feature of the sample.
    return Subject(two.tail, harmless(two.tail), z, y, s.size * norms(z, "linf"), carried)
