"""What attacks that see a model's scores alone have in common: the margin they lower, and queries counted exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ValueRangeError
from .gradient import Attacked, Constraint, Model


@dataclass(frozen=True)
class Queried(Attacked):
    """What an attack found that sees scores alone.

    Attributes:
        queries: images sent to the model, of each given one up to its success or to the last, int64 ``(B,)``.
    """

    queries: Tensor


class Oracle:
    """A model that answers with scores and counts what it is asked.

    Args:
        model: images in [0, 1] to scores ``(B, K)``; its normalisation is inside it.
        labels: true ones, or targets, int64 ``(B,)``.
        targeted: whether labels are targets.
        most: queries allowed, an image.

    Raises:
        ValueRangeError: not one query is allowed.
    """

    def __init__(self, model: Model, labels: Tensor, targeted: bool, most: int) -> None:
        if most < 1:
            raise ValueRangeError(f"an attack needs at least one query, got {most}")
        self.model, self.labels, self.targeted, self.most = model, labels, targeted, most
        self.queries = torch.zeros(len(labels), dtype=torch.int64)

    @torch.no_grad()
    def margin(self, x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """One query for each of the numbered images ``(b,)``.

        Args:
            x: what is asked, ``(b, *shape)``.
            images: for which.

        Returns:
            How far the attack is from its end, ``(b,)``: the true label's score less the largest other (untargeted),
            or the largest other less the target's; and whether it is there, bool ``(b,)``.
        """
        self.queries[images] += 1
        scores, labels = self.model(x), self.labels[images]
        own = scores.gather(1, labels[:, None])[:, 0]
        other = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
        hit = scores.argmax(1) == labels
        return (other - own, hit) if self.targeted else (own - other, ~hit)

    def left(self, images: Tensor) -> int:
        """Queries left to each of the images that have asked equally often."""
        return self.most - int(self.queries[images].max()) if len(images) else 0


def queried(allowed: Constraint, perturbation: Tensor, success: Tensor, queries: Tensor) -> Queried:
    """An attack's outcome, as it was seen when it was asked for."""
    attacked, perturbation, residual = allowed.measured(perturbation)
    return Queried(attacked, perturbation, success, residual, queries)
