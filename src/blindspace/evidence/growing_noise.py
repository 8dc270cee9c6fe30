"""Harmless noise of growing size on images, beside two controls of the same size: what the network makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..networks import Network
from ..networks.labels import Answers
from ..perturbations import harmless_noise
from ..progress import Progress
from ..subspaces import Subspace, norms
from ._verify import Evidence, verify
from .example_inputs import ExampleInputs

ALPHAS = (0, *(2**power for power in range(9)))
"""Sizes of the perturbations, in units of ``UNIT``."""

FEW_ALPHAS = (0, 1, 8, 64, 256)
"""The same for large inputs."""

LARGE = 50_000
"""Number of values of one input from which it is large."""

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
        floor: largest change of any output that rounding the sum to the model's own precision causes; None for a
            network that runs in its own precision only.
        floor_float64: the same for rounding to float64, scaled from ``floor`` by the spacing of the numbers.
    """

    alpha: int
    size: float
    l2: float
    harmless: Evidence
    gaussian: Evidence
    shuffled: Evidence
    floor: float | None
    floor_float64: float | None


@dataclass(frozen=True)
class Reading:
    """What the network reads in one image, in its own precision.

    Attributes:
        label: the label in words; None if the network gives none.
        confidence: the softmax of its outputs at that label; None if there are no scores of classes.
    """

    label: str | None
    confidence: float | None


@dataclass(frozen=True)
class Example:
    """One image at one size.

    Attributes:
        index: index of the image in the set.
        name: name of the image.
        truth: class of the image; empty if it is not known.
        size: L∞ norm of the harmless perturbation.
        original: reading of the image as it is.
        sum: reading of the image with the harmless perturbation.
        gaussian: reading of the image with Gaussian noise of the same L2 norm.
        change: largest change of any output from original to sum, in the model's own precision.
        change_float64: the same in float64; None for a network that runs in its own precision only.
        gaussian_change: largest change of any output from original to Gaussian, in the model's own precision.
        gaussian_change_float64: the same in float64.
        image: the image, float64 ``(C, H, W)``; not part of ``to_dict``, nor are the two perturbations.
        harmless_delta: the harmless perturbation.
        gaussian_delta: the Gaussian noise.
    """

    index: int
    name: str
    truth: str
    size: float
    original: Reading
    sum: Reading
    gaussian: Reading
    change: float
    change_float64: float | None
    gaussian_change: float
    gaussian_change_float64: float | None
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
        correct: number of images that the network classifies correctly, unperturbed; None if that is not known.
        margin: smallest difference between the largest and second largest output over the unperturbed images; None if
            there are no scores of classes.
        steps: one per size.
        gallery: one example per size, each of another image, at the last sizes.
        strip: the first of these images at all of those sizes.
    """

    images: int
    correct: int | None
    margin: float | None
    steps: tuple[Step, ...]
    gallery: tuple[Example, ...]
    strip: tuple[Example, ...]


def growing_noise(
    network: Network, space: Subspace, inputs: ExampleInputs, seed: int = 0, progress: Progress | None = None
) -> GrowingNoise:
    """Perturb images at growing size with harmless noise, Gaussian noise and shuffled harmless noise.

    The work is done on the device of the network.

    Args:
        network: the network.
        space: the space of harmless perturbations of the network, not {0}.
        inputs: images of the network's input shape, at least one.
        seed: seed of the noise.
        progress: called before each size.

    Raises:
        ValueRangeError: the space is {0}.
    """
    x = inputs.values.to(network.device)
    truth = None if inputs.truth is None else inputs.truth.to(x.device)
    labels, outputs = network.answers(x).labels, _finest(network, x)
    scored = network.labelling.classes > 0
    best = network.class_scores(outputs).topk(2, 1).values if scored else None
    right = None if truth is None or labels is None else labels == truth
    chosen = _choose(len(x), truth, right)
    alphas = ALPHAS if space.ambient_dim < LARGE else FEW_ALPHAS
    shown = min(SHOWN, len(alphas) - 1)
    generator = torch.Generator().manual_seed(seed)
    steps: list[Step] = []
    gallery: list[Example] = []
    strip: list[Example] = []
    for index, alpha in enumerate(alphas):
        if progress is not None:
            progress(index, len(alphas), f"size {alpha * UNIT:.3f}")
        noises = _noises(space, x, alpha * UNIT, generator)
        steps.append(_step(network, x, outputs, alpha, *noises))
        if (row := index - len(alphas) + shown) >= 0:
            for rows, i in ((gallery, chosen[row % len(chosen)]), (strip, chosen[0])):
                rows.append(_example(network, inputs, i, alpha * UNIT, x[i], noises[0][i], noises[1][i]))
    return GrowingNoise(
        images=len(x),
        correct=None if right is None else int(right.sum()),
        margin=None if best is None else float((best[:, 0] - best[:, 1]).min()),
        steps=tuple(steps),
        gallery=tuple(gallery),
        strip=tuple(strip),
    )


def _finest(network: Network, x: Tensor) -> Tensor:
    """The outputs, ``(B, outputs)``, in float64 if the network runs in it, else in its own precision."""
    return network.outputs(x, torch.float64 if network.runs_in_float64 else None).flatten(1)


def _choose(count: int, truth: Tensor | None, right: Tensor | None) -> list[int]:
    """The first correctly classified image of each class, then others up to ``SHOWN``."""
    first: dict[int, int] = {}
    if truth is not None and right is not None:
        for index in right.nonzero().flatten().tolist():
            first.setdefault(int(truth[index]), index)
    others = [index for index in range(count) if index not in first.values()]
    return (sorted(first.values()) + others)[:SHOWN]


def _noises(space: Subspace, x: Tensor, size: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Harmless perturbations, Gaussian noise of the same L2 norms, and the perturbations with their pixels shuffled."""
    harmless = harmless_noise(space, len(x), size, generator=generator).to(x.device)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    gaussian = noise / norms(noise, "l2") * norms(harmless, "l2")
    flat = harmless.flatten(2) if harmless.ndim > 2 else harmless[:, None]
    order = torch.rand(len(x), 1, flat.shape[2], generator=generator).argsort(2).to(x.device).expand_as(flat)
    return harmless, gaussian, flat.gather(2, order).view_as(x)


def _step(
    network: Network, x: Tensor, outputs: Tensor, alpha: int, harmless: Tensor, gaussian: Tensor, shuffled: Tensor
) -> Step:
    total = x + harmless
    floor = None
    if network.runs_in_float64:
        rounding = total.to(network.dtype).double() - total
        floor = float((_finest(network, x + rounding) - outputs).abs().max())
    finer = torch.finfo(torch.float64).eps / torch.finfo(network.dtype).eps
    return Step(
        alpha=alpha,
        size=alpha * UNIT,
        l2=float(norms(harmless, "l2").mean()),
        harmless=verify(network, x, total),
        gaussian=verify(network, x, x + gaussian),
        shuffled=verify(network, x, x + shuffled),
        floor=floor,
        floor_float64=None if floor is None else floor * finer,
    )


def _example(
    network: Network, inputs: ExampleInputs, index: int, size: float, x: Tensor, harmless: Tensor, gaussian: Tensor
) -> Example:
    batch = torch.stack([x, x + harmless, x + gaussian])
    own = network.answers(batch)
    original, total, other = _readings(network, own)
    moved = _moved(own.outputs)
    double = _moved(network.outputs(batch, torch.float64)) if network.runs_in_float64 else (None, None)
    return Example(
        index=index,
        name=inputs.names[index],
        truth=inputs.true_class(index),
        size=size,
        original=original,
        sum=total,
        gaussian=other,
        change=moved[0],
        change_float64=double[0],
        gaussian_change=moved[1],
        gaussian_change_float64=double[1],
        image=x,
        harmless_delta=harmless,
        gaussian_delta=gaussian,
    )


def _moved(outputs: Tensor) -> tuple[float, float]:
    """The largest change of any output from the first of three inputs to the second, and to the third."""
    flat = outputs.flatten(1)
    harmless, gaussian = (flat[1:] - flat[0]).abs().amax(1).tolist()
    return harmless, gaussian


def _readings(network: Network, answers: Answers) -> list[Reading]:
    if answers.labels is None:
        return [Reading(None, None)] * len(answers.outputs)
    names = [network.class_name(int(label)) for label in answers.labels]
    if not network.labelling.classes:
        return [Reading(name, None) for name in names]
    confidences = network.class_scores(answers.outputs.flatten(1).double()).softmax(1).amax(1).tolist()
    return [Reading(name, confidence) for name, confidence in zip(names, confidences, strict=True)]
