"""The adversary of adversarial training; Madry et al. 2018."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..subspaces import Norm
from ..subspaces._mask_argument import mask_hash, mask_text
from ._pgd import pgd


@dataclass(frozen=True)
class PGDAdversary:
    """PGD with few steps on the images of every training step.

    Attributes:
        eps: Radius of the ball around each image, in units of the image range.
        steps: Number of steps; each is 2.5 eps / steps long.
        norm: Norm of the ball, ``linf`` or ``l2``.
        mask: A mask outside which nothing changes, as text: the path of a picture that is white inside, or a box of
            pixels ``x0,y0,x1,y1``; None for none.

    Raises:
        FileError: The mask cannot be read.
    """

    eps: float
    steps: int = 5
    norm: Norm = "l2"
    mask: str | None = None

    def __post_init__(self) -> None:
        mask_text(self.mask)

    def __call__(self, module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Perturb images ``(B, C, H, W)`` in [0, 1] with labels ``(B,)``; the module is in eval meanwhile."""
        training = module.training
        module.eval()  # statistics of batch norm are those of the images trained on
        step_size = 2.5 * self.eps / self.steps
        found = pgd(
            module, images, labels, self.eps, self.steps, step_size, self.norm, generator=generator, mask=self.mask
        )
        module.train(training)
        return found.images

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON, with the hash of a mask that is a picture."""
        stated = {name: value for name, value in asdict(self).items() if name != "mask"}
        return stated if self.mask is None else {**stated, "mask": self.mask, "files": mask_hash(self.mask)}
