"""The adversary of adversarial training; Madry et al. 2018."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..subspaces import Norm
from ._pgd import pgd


@dataclass(frozen=True)
class PGDAdversary:
    """PGD with few steps on the images of every training step.

    Attributes:
        eps: Radius of the ball around each image, in units of the image range.
        steps: Number of steps; each is 2.5 eps / steps long.
        norm: Norm of the ball, ``linf`` or ``l2``.
    """

    eps: float
    steps: int = 5
    norm: Norm = "l2"

    def __call__(self, module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Perturb images ``(B, C, H, W)`` in [0, 1] with labels ``(B,)``; the module is in eval meanwhile."""
        training = module.training
        module.eval()  # statistics of batch norm are those of the images trained on
        step_size = 2.5 * self.eps / self.steps
        found = pgd(module, images, labels, self.eps, self.steps, step_size, self.norm, generator=generator)
        module.train(training)
        return found.images

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON."""
        return asdict(self)
