"""Harmless noise of growing size on real images, beside two controls of the same size: what the network makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..data import ImageSet
from ..networks import Network
from ..perturbations import harmless_noise
from ..progress import Progress
from ..subspaces import Subspace, norms
from ._verify import Evidence, verify

ALPHAS = (0, *(2**power for power in range(9)))
"""Sizes of the perturbations, in units of ``UNIT``."""

UNIT = 8 / 255
"""The customary L∞ norm of an adversarial perturbation, in units of the image range."""

SHOWN = 8
"""Number of example images, each at the next of the last sizes."""


@dataclass(frozen=True)
class Step:
    """All images perturbed at one size, in three ways.

    Attributes:
        alpha: size in units of ``UNIT``.
        size: L∞ norm of every harmless perturbation.
        l2: mean L2 norm of the harmless perturbations.
        harmless: effect of the harmless perturbations.
        gaussian: effect of Gaussian noise; each has the L2 norm of the harmless perturbation.
        shuffled: effect of the harmless perturbations with the pixels of each in random order.
        floor: largest change of any output, in float64, that rounding the sum to the model's own precision causes.
        floor_float64: the same for rounding to float64, scaled from ``floor`` by the spacing of the numbers.
    """

    alpha: int
    size: float
    l2: float
    harmless: Evidence
    gaussian: Evidence
    shuffled: Evidence
    floor: float
    floor_float64: float


@dataclass(frozen=True)
class Reading:
    """What the network reads in one image, in its own precision: the label in words and the softmax of its output."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Example:
    """One image at one size.

    Attributes:
        index: index of the image in the set.
        truth: class of the image.
        size: L∞ norm of the harmless perturbation.
        original: reading of the image as it is.
        sum: reading of the image with the harmless perturbation.
        gaussian: reading of the image with Gaussian noise of the same L2 norm.
        change: largest change of any output from original to sum, in the model's own precision.
        change_float64: the same in float64.
        gaussian_change: largest change of any output from original to Gaussian, in the model's own precision.
        gaussian_change_float64: the same in float64.
        image: the image, float64 ``(C, H, W)``; not part of ``to_dict``, nor are the two perturbations.
        harmless_delta: the harmless perturbation.
        gaussian_delta: the Gaussian noise.
    """

    index: int
    truth: str
    size: float
    original: Reading
    sum: Reading
    gaussian: Reading
    change: float
    change_float64: float
    gaussian_change: float
    gaussian_change_float64: float
    image: Tensor = field(repr=False, compare=False)
    harmless_delta: Tensor = field(repr=False, compare=False)
    gaussian_delta: Tensor = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The readings and figures as plain values for JSON."""
        plain = {key: value for key, value in vars(self).items() if not isinstance(value, Tensor)}
        return {key: dict(vars(value)) if isinstance(value, Reading) else value for key, value in plain.items()}


@dataclass(frozen=True)
class GrowingNoise:
    """The effect of growing harmless noise on a set of images.

    Attributes:
        images: number of images.
        correct: number of images that the network classifies correctly, unperturbed.
        margin: smallest difference between the largest and second largest output over the unperturbed images.
        steps: one per size.
        gallery: one example per size, each of another image, at the last sizes.
        strip: the first of these images at all of those sizes.
    """

    images: int
    correct: int
    margin: float
    steps: tuple[Step, ...]
    gallery: tuple[Example, ...]
    strip: tuple[Example, ...]


def growing_noise(
    network: Network, space: Subspace, images: ImageSet, seed: int = 0, progress: Progress | None = None
) -> GrowingNoise:
    """Perturb images at growing size with harmless noise, Gaussian noise and shuffled harmless noise.

    Args:
        network: a built-in network, or any that runs in float64.
        space: the space of harmless perturbations of the network, not {0}.
        images: images of the network's input shape, at least one.
        seed: seed of the noise.
        progress: called before each size.

    Raises:
        ValueRangeError: the space is {0}, or the network has no labels that follow from scores.
    """
    x, truth = images.tensor(torch.float64), images.targets()
    outputs = network.outputs(x, torch.float64).flatten(1)
    predicted, best = network.labels(x), network.class_scores(outputs).topk(2, 1).values
    chosen = _choose(truth, predicted)
    generator = torch.Generator().manual_seed(seed)
    steps: list[Step] = []
    gallery: list[Example] = []
    strip: list[Example] = []
    for index, alpha in enumerate(ALPHAS):
        if progress is not None:
            progress(index, len(ALPHAS), f"size {alpha * UNIT:.3f}")
        noises = _noises(space, x, alpha * UNIT, generator)
        steps.append(_step(network, x, outputs, alpha, *noises))
        if (row := index - len(ALPHAS) + SHOWN) >= 0:
            for shown, i in ((gallery, chosen[row % len(chosen)]), (strip, chosen[0])):
                shown.append(_example(network, images, i, alpha * UNIT, x[i], noises[0][i], noises[1][i]))
    return GrowingNoise(
        images=len(x),
        correct=int((predicted == truth).sum()),
        margin=float((best[:, 0] - best[:, 1]).min()),
        steps=tuple(steps),
        gallery=tuple(gallery),
        strip=tuple(strip),
    )


def _choose(truth: Tensor, predicted: Tensor) -> list[int]:
    """The first correctly classified image of each class, then others up to ``SHOWN``."""
    first: dict[int, int] = {}
    for index in (truth == predicted).nonzero().flatten().tolist():
        first.setdefault(int(truth[index]), index)
    others = [index for index in range(len(truth)) if index not in first.values()]
    return (sorted(first.values()) + others)[:SHOWN]


def _noises(space: Subspace, x: Tensor, size: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Harmless perturbations, Gaussian noise of the same L2 norms, and the perturbations with their pixels shuffled."""
    harmless = harmless_noise(space, len(x), size, generator=generator)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    gaussian = noise / norms(noise, "l2") * norms(harmless, "l2")
    flat = harmless.flatten(2)
    order = torch.rand(len(x), 1, flat.shape[2], generator=generator).argsort(2).expand_as(flat)
    return harmless, gaussian, flat.gather(2, order).view_as(x)


def _step(
    network: Network, x: Tensor, outputs: Tensor, alpha: int, harmless: Tensor, gaussian: Tensor, shuffled: Tensor
) -> Step:
    total = x + harmless
    rounding = total.to(network.dtype).double() - total
    floor = float((network.outputs(x + rounding, torch.float64).flatten(1) - outputs).abs().max())
    return Step(
        alpha=alpha,
        size=alpha * UNIT,
        l2=float(norms(harmless, "l2").mean()),
        harmless=verify(network, x, total),
        gaussian=verify(network, x, x + gaussian),
        shuffled=verify(network, x, x + shuffled),
        floor=floor,
        floor_float64=floor * torch.finfo(torch.float64).eps / torch.finfo(network.dtype).eps,
    )


def _example(
    network: Network, images: ImageSet, index: int, size: float, x: Tensor, harmless: Tensor, gaussian: Tensor
) -> Example:
    batch = torch.stack([x, x + harmless, x + gaussian])
    own, double = network.outputs(batch).flatten(1), network.outputs(batch, torch.float64).flatten(1)
    readings = [
        Reading(network.class_name(int(label)), float(confidence))
        for confidence, label in zip(*network.class_scores(own.double()).softmax(1).max(1), strict=True)
    ]
    moved, moved_double = ((out[1:] - out[0]).abs().amax(1).tolist() for out in (own, double))
    return Example(
        index=index,
        truth=images.classes[int(images.labels[index])],
        size=size,
        original=readings[0],
        sum=readings[1],
        gaussian=readings[2],
        change=moved[0],
        change_float64=moved_double[0],
        gaussian_change=moved[1],
        gaussian_change_float64=moved_double[1],
        image=x,
        harmless_delta=harmless,
        gaussian_delta=gaussian,
    )
