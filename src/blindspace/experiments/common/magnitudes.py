"""What a network makes of inputs that are perturbed ever more strongly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ...networks import Network
from ..experiment import Kept
from .intervals import of_share

FIELDS = ("labels", "largest", "rmse")


@dataclass(frozen=True)
class Reading:
    """What was read at M magnitudes of N inputs, each ``(M, N)``.

    Attributes:
        labels: of the largest output, int16.
        largest: largest change of an output, float64.
        rmse: ‖ŷ − y‖ / √K of its K outputs (section 3.3), float64.
    """

    labels: Tensor
    largest: Tensor
    rmse: Tensor

    def right(self, targets: Tensor) -> list[int]:
        """How many are classified correctly at each magnitude; targets ``(N,)``."""
        return [int(count) for count in (self.labels == targets).sum(1)]

    def changed(self, clean: Tensor) -> list[int]:
        """How many labels are others than without a perturbation, at each magnitude; clean labels ``(N,)``."""
        return [int(count) for count in (self.labels != clean).sum(1)]


def read(network: Network, perturbed: Iterable[Tensor], clean: Tensor) -> Reading:
    """Let a network read inputs perturbed with each magnitude.

    Args:
        network: reads them, in the precision of ``clean``.
        perturbed: M batches ``(B, *shape)``.
        clean: outputs without a perturbation ``(B, K)``.
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
    """The distance to the next number of its dtype, of each value."""
    size = values.abs()
    return next_up(size) - size


def next_up(values: Tensor) -> Tensor:
    """The next larger number of its dtype, of each value."""
    return torch.nextafter(values, torch.full_like(values, torch.inf))


class Readings:
    """Readings of some kinds of perturbations, batch by batch."""

    def __init__(self) -> None:
        self._found: dict[str, list[Tensor]] = {}

    def add(self, kind: str, reading: Reading) -> None:
        """One more batch of a kind."""
        for field in FIELDS:
            self.keep(f"{kind}/{field}", getattr(reading, field))

    def keep(self, name: str, values: Tensor) -> None:
        """One more batch of anything else, inputs last, ``(…, B)``."""
        self._found.setdefault(name, []).append(values)

    def arrays(self) -> dict[str, Tensor]:
        """All batches as one, by name."""
        return {name: torch.cat(batches, -1) for name, batches in self._found.items()}


@dataclass(frozen=True)
class Measured:
    """A finished part with readings of N inputs, their ``targets`` and labels without a perturbation.

    Attributes:
        kept: what the part left.
    """

    kept: Kept

    @property
    def count(self) -> int:
        """N."""
        return int(self.kept.arrays["targets"].numel())

    def reading(self, kind: str) -> Reading:
        """What was read of a kind."""
        return Reading(*(self.kept.arrays[f"{kind}/{field}"] for field in FIELDS))

    def right(self, kind: str) -> list[int]:
        """How many are classified correctly at each magnitude."""
        return self.reading(kind).right(self.kept.arrays["targets"])

    def unperturbed(self, clean: str = "clean") -> int:
        """How many are classified correctly without a perturbation; ``clean`` names the labels."""
        return int((self.kept.arrays[clean] == self.kept.arrays["targets"]).sum())

    def interval(self, count: int) -> tuple[float, float]:
        """Of the share of so many."""
        return of_share(count, self.count)
