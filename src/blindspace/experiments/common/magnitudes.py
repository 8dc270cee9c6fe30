"""Outputs of a network under perturbations of growing magnitude."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ...networks import Network
from ..parts import Kept
from .intervals import of_share

FIELDS = ("labels", "largest", "rmse")


@dataclass(frozen=True)
class Reading:
    """Outputs of a network at M magnitudes for N inputs, each field ``(M, N)``.

    Attributes:
        labels: Class of the largest output, int16.
        largest: Largest change of an output, float64.
        rmse: ‖ŷ − y‖ / √K for K outputs (section 3.3), float64.
    """

    labels: Tensor
    largest: Tensor
    rmse: Tensor

    def right(self, targets: Tensor) -> list[int]:
        """Number of correct classifications at each magnitude; targets ``(N,)``."""
        return [int(count) for count in (self.labels == targets).sum(1)]

    def changed(self, clean: Tensor) -> list[int]:
        """Number of labels that differ from those without a perturbation, at each magnitude; clean labels ``(N,)``."""
        return [int(count) for count in (self.labels != clean).sum(1)]


def read(network: Network, perturbed: Iterable[Tensor], clean: Tensor) -> Reading:
    """Evaluate a network on inputs perturbed with each magnitude.

    Args:
        network: Network, evaluated in the precision of ``clean``.
        perturbed: M batches ``(B, *shape)``.
        clean: Outputs without a perturbation ``(B, K)``.
    """
    labels, largest, rmse = [], [], []
    for batch in perturbed:
        outputs = network.outputs(batch, clean.dtype)
        change = (outputs.double() - clean.double()).flatten(1)
        labels.append(labels_of(outputs))
        largest.append(change.abs().amax(1))
        rmse.append(change.norm(dim=1) / prod(clean.shape[1:]) ** 0.5)
    return Reading(torch.stack(labels), torch.stack(largest), torch.stack(rmse))


def labels_of(outputs: Tensor) -> Tensor:
    """The class of the largest output, int16 ``(B,)``, which keeps ten thousand images small."""
    return outputs.flatten(1).argmax(1).to(torch.int16)


def ulp(values: Tensor) -> Tensor:
    """The distance of each value to the next number of its dtype."""
    size = values.abs()
    return next_up(size) - size


def next_up(values: Tensor) -> Tensor:
    """The next larger number of its dtype for each value."""
    return torch.nextafter(values, torch.full_like(values, torch.inf))


class Readings:
    """Readings of several kinds of perturbations, collected batch by batch."""

    def __init__(self) -> None:
        self._found: dict[str, list[Tensor]] = {}

    def add(self, kind: str, reading: Reading) -> None:
        """Add one batch of a kind."""
        for field in FIELDS:
            self.keep(f"{kind}/{field}", getattr(reading, field))

    def keep(self, name: str, values: Tensor) -> None:
        """Add one batch of any other quantity, inputs in the last dimension, ``(…, B)``."""
        self._found.setdefault(name, []).append(values)

    def arrays(self) -> dict[str, Tensor]:
        """All batches concatenated, by name."""
        return {name: torch.cat(batches, -1) for name, batches in self._found.items()}


@dataclass(frozen=True)
class Measured:
    """A finished part with readings of N inputs, their ``targets`` and their labels without a perturbation."""

    kept: Kept

    @property
    def count(self) -> int:
        """The number N of inputs."""
        return int(self.kept.arrays["targets"].numel())

    def reading(self, kind: str) -> Reading:
        """The reading of a kind."""
        return Reading(*(self.kept.arrays[f"{kind}/{field}"] for field in FIELDS))

    def right(self, kind: str) -> list[int]:
        """Number of correct classifications at each magnitude."""
        return self.reading(kind).right(self.kept.arrays["targets"])

    def unperturbed(self, clean: str = "clean") -> int:
        """Number of correct classifications without a perturbation; ``clean`` is the name of the labels."""
        return int((self.kept.arrays[clean] == self.kept.arrays["targets"]).sum())

    def interval(self, count: int) -> tuple[float, float]:
        """Confidence interval of the share of ``count`` inputs."""
        return of_share(count, self.count)
