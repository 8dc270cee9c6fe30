"""Parts shared by score-based (black-box) attacks: the margin that they lower, and an exact count of queries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import integer
from .gradient import Attacked, Constraint, labelled
from .scores import Model


@dataclass(frozen=True)
class Queried(Attacked):
    """Result of a score-based attack.

    Attributes:
        queries: Number of queries per image, up to its success or to the last one, int64 ``(B,)``.
    """

    queries: Tensor


class Oracle:
    """A model that answers with scores and counts the queries.

    Args:
        model: The network: images in [0, 1] to scores ``(B, K)``, with its normalisation inside.
        labels: True labels, or the target labels if ``targeted``, int64 ``(B,)``.
        targeted: Whether the labels are targets to be reached.
        most: Largest number of queries per image.

    Raises:
        ValueRangeError: ``most`` is below 1.
    """

    def __init__(self, model: Model, labels: Tensor, targeted: bool, most: int) -> None:
        self.model, self.labels, self.targeted = model, labels, targeted
        self.most = integer(most, "the number of queries", 1)
        self.queries = torch.zeros_like(labels)

    @torch.no_grad()
    def margin(self, x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Send one query for each of the images at given indices.

        Args:
            x: The queries, ``(b, *shape)``.
            images: Indices of the images that they belong to, int64 ``(b,)``.

        Returns:
            The margin ``(b,)``: the true label's score minus the largest other score (untargeted), or the largest other
            score minus the target's (targeted); and whether the attack has succeeded, bool ``(b,)``.
        """
        self.queries[images] += 1
        labels = self.labels[images]
        scores = labelled(self.model(x), labels)
        own = scores.gather(1, labels[:, None])[:, 0]
        other = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
        hit = scores.argmax(1) == labels
        return (other - own, hit) if self.targeted else (own - other, ~hit)

    def left(self, images: Tensor) -> int:
        """Return the number of queries left to each of the images, which have been queried equally often."""
        return self.most - int(self.queries[images].max()) if len(images) else 0


def queried(allowed: Constraint, perturbation: Tensor, success: Tensor, queries: Tensor) -> Queried:
    """Assemble the result of a score-based attack; success is as observed at the query."""
    attacked, perturbation, residual = allowed.measured(perturbation)
    return Queried(attacked, perturbation, success, residual, queries)
