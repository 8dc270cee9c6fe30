"""Norm-saving: models under test, the inputs to attack, and their harmless subspaces."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...attacks import pgd
from ...networks import Network, harmless, load
from ...perturbations.controls import gaussian
from ...progress import Progress
from ...subspaces import Subspace, norms
from ..common.features import cut
from ..common.models import images, tensors, trained
from ..common.victims import Victim, victim
from .settings import CUTS, VIT, NormSaving


@dataclass(frozen=True)
class ModelUnderTest:
    """A network, its harmless subspace, and the inputs to attack.

    Attributes:
        network: Network that takes images in [0, 1], or features.
        space: Subspace of harmless perturbations of its input.
        x: Correctly classified inputs, float32 ``(N, *shape)``.
        y: int64 ``(N,)``.
        ball: Radius of the L∞ ball of each sample, ``(N, 1, …, 1)``.
        carried: For features, perturbations of the images as they arrive at ``x``, by name.
    """

    network: Network
    space: Subspace
    x: Tensor
    y: Tensor
    ball: Tensor
    carried: dict[str, Tensor]

    @property
    def module(self) -> nn.Module:
        """The network in its own precision, on the device of the inputs."""
        return self.network.differentiable(self.network.dtype, self.x.device)


def model_under_test(s: NormSaving, name: str, count: int, progress: Progress) -> ModelUnderTest:
    """A network or layer of the plan."""
    if name in CUTS:
        return _features(s, name, count, progress)
    if name == VIT:
        network = load(VIT, random_weights=True, name="ViT of random weights")
        x = images("cifar10", s.preset, count).tensor().to(s.device)
        return ModelUnderTest(network, harmless(network), x, network.labels(x), _ball(s, x), {})
    found = first(s, name, count)
    return ModelUnderTest(
        found.network, found.effective.complement, found.images, found.labels, _ball(s, found.images), {}
    )


def first(s: NormSaving, name: str, count: int) -> Victim:
    """The first images of a network; all of them are found once, whatever number is asked for."""
    most = max(n for other, groups in s.plan if other == name for _, n in groups)
    found = victim(name, s, most)
    return replace(found, images=found.images[:count], labels=found.labels[:count])


def _ball(s: NormSaving, x: Tensor) -> Tensor:
    return torch.full((len(x), *[1] * (x.ndim - 1)), s.size, device=x.device)


def _features(s: NormSaving, name: str, count: int, progress: Progress) -> ModelUnderTest:
    network = trained("resnet18-noskip", s, progress)
    chosen = images("cifar10", s.preset, None if s.preset == "smoke" else 4 * count)
    x, y = tensors(chosen, s)
    right = (network.labels(x) == y).nonzero()[:count, 0]
    x, y = x[right], y[right]
    two = cut(network, CUTS[name])
    z = two.head.outputs(x)
    delta = pgd(network.differentiable(network.dtype, x.device), x, y, s.size, s.steps, random_start=0.0).perturbation
    noise = gaussian(delta, s.generator(name, "carried"))
    carried = {key: two.head.outputs(x + d) - z for key, d in (("PGD-20 L∞ on images", delta), ("Gaussian", noise))}
    # Appendix F.2 scales images to features by the largest feature of the sample.
    return ModelUnderTest(two.tail, harmless(two.tail), z, y, s.size * norms(z, "linf"), carried)
