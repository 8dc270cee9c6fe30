"""Querying networks with probes image by image, and what follows from few images or from labels alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb

import torch
from torch import Tensor

from ...evidence._identify import Identification, Probe
from ...evidence.processing import jpeg, noisy
from ...networks import Network

EIGHT_BIT = "rounded to 8 bits"
WAYS = ("nothing", EIGHT_BIT, "noise of 0.005", "noise of 0.02", "JPEG 95", "JPEG 75")
"""Processing of probes before the network takes them."""


def within_range(of: Probe, factor: float) -> Probe:
    """A probe within the pixel range: on the same images at half the contrast, with less noise.

    Args:
        of: The probe, its images in [0, 1].
        factor: Factor of its noise; noise with a largest value of up to 0.25 stays within [0, 1].
    """
    x = 0.25 + 0.5 * of.images
    return replace(
        of, images=x, harmless=x + factor * (of.harmless - of.images), control=x + factor * (of.control - of.images)
    )


def way(name: str, draw: torch.Generator) -> Callable[[Tensor], Tensor]:
    """The processing of images ``(B, C, H, W)`` with a given name in ``WAYS``; noise is drawn anew each time."""
    kind, _, size = name.rpartition(" ")
    if kind == "noise of":
        return lambda x: noisy(x, float(size), draw)
    if kind == "JPEG":
        return lambda x: jpeg(x.clamp(0, 1), int(size))
    return (lambda x: (x.clamp(0, 1) * 255).round() / 255) if name == EIGHT_BIT else (lambda x: x)


@dataclass(frozen=True)
class Answer:
    """Responses of a network to one probe, image by image, ``(N,)`` each.

    Attributes:
        change: Change of the output, as a share of the control's; infinite where not even the control changes it.
        label: Whether the probe's noise changes the label.
        control: Whether the control's noise does.
    """

    change: Tensor
    label: Tensor
    control: Tensor


def query(network: Network, of: Probe, way: Callable[[Tensor], Tensor] = lambda x: x) -> Answer:
    """Query a network as ``evidence.identify`` does, and keep the outputs for every image.

    Args:
        network: Network of which only the outputs are used.
        of: A candidate's probe.
        way: Processing of the images before the network takes them.
    """
    before, after, control = (network.outputs(way(x)).double() for x in (of.images, of.harmless, of.control))
    labels = before.argmax(1)
    share = (after - before).norm(dim=1) / (control - before).norm(dim=1)
    share = share.where(share.isfinite(), torch.inf)
    return Answer(share, after.argmax(1) != labels, control.argmax(1) != labels)


def verdict(probes: list[Probe], answers: list[Answer]) -> Identification:
    """The identification that the package returns for these answers."""
    return Identification(
        tuple(p.name for p in probes),
        tuple(float(a.change[a.change.isfinite()].max()) if bool(a.change.isfinite().any()) else 1.0 for a in answers),
        tuple(int(a.label.sum()) for a in answers),
        tuple(int(a.control.sum()) for a in answers),
        len(probes[0].images),
    )


def by_labels(label: Tensor, control: Tensor, n: int) -> float:
    """Probability that a network is identified as the candidate by the labels of n random images alone.

    It is identified as the candidate if no probe changes a label though a control does.

    Args:
        label: Whether a probe changes the label, ``(N,)``.
        control: Whether its control does, ``(N,)``.
        n: Number of images, 1 to N.
    """
    images, moved, either = len(label), int(label.sum()), int((label | control).sum())
    return (comb(images - moved, n) - comb(images - either, n)) / comb(images, n)


def nearest(changes: Tensor) -> tuple[int, int]:
    """How often the probe that changes a network's output least, image by image, is its own.

    Args:
        changes: ``(networks, probes, N)``, the n-th probe made for the n-th network.

    Returns:
        The count, and the number of cases.
    """
    own = torch.arange(len(changes))[:, None]
    return int((changes.argmin(1) == own).sum()), changes.shape[0] * changes.shape[2]
