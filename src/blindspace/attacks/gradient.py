"""What every gradient attack needs: the loss it climbs, and where its perturbation may go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..subspaces import Subspace, nearest, norms
from ..subspaces.box import Norm

Model = Callable[[Tensor], Tensor]
"""Images ``(B, C, H, W)`` in [0, 1] to logits ``(B, K)``; its normalisation is inside it."""


@dataclass(frozen=True)
class Attacked:
    """What an attack found.

    Attributes:
        images: attacked images, in [0, 1] to the last bit, ``(B, *shape)``.
        perturbation: the attacked less the given images, ``(B, *shape)``.
        success: whether the label is wrong (untargeted) or the target's (targeted), bool ``(B,)``.
        residual: share of the perturbation outside the subspace it is confined to, the largest; 0 without one.
    """

    images: Tensor
    perturbation: Tensor
    success: Tensor
    residual: float


@dataclass(frozen=True)
class Constraint:
    """Pixel range ∩ ball ∩ subspace around given images.

    Attributes:
        images: ``(B, *shape)`` in [0, 1].
        size: radius of the ball, in units of the image range.
        norm: ``linf`` or ``l2``.
        subspace: to confine the perturbation to, or None.
    """

    images: Tensor
    size: float
    norm: Norm
    subspace: Subspace | None

    def __post_init__(self) -> None:
        if not 0 <= self.size < float("inf"):
            raise ValueRangeError(f"the size of an attack must be a number of at least 0, got {self.size}")
        if bool(torch.isnan(self.images).any()) or self.images.min() < 0 or self.images.max() > 1:
            raise ValueRangeError(
                f"attacks need images in [0, 1], got values from {float(self.images.min()):.4g} to "
                f"{float(self.images.max()):.4g}"
            )

    def nearest(self, perturbation: Tensor, tolerance: float) -> Tensor:
        """The allowed perturbation nearest to one."""
        low, high = -self.images, 1 - self.images
        return nearest(perturbation, self.subspace, low, high, self.size, self.norm, tolerance).value

    def of(self, images: Tensor, joint: bool = True) -> Constraint:
        """The same for the numbered images ``(b,)``; without the subspace if not ``joint``."""
        return replace(self, images=self.images[images], subspace=self.subspace if joint else None)

    def direction(self, gradient: Tensor) -> Tensor:
        """The gradient's part inside the subspace."""
        return gradient if self.subspace is None else self.subspace.project(gradient)

    def result(self, model: Model, perturbation: Tensor, labels: Tensor, targeted: bool) -> Attacked:
        """Measure an attack's outcome on the images that really come out."""
        attacked, perturbation, residual = self.measured(perturbation)
        with torch.no_grad():
            hit = model(attacked).argmax(1) == labels
        return Attacked(attacked, perturbation, hit if targeted else ~hit, residual)

    def measured(self, perturbation: Tensor) -> tuple[Tensor, Tensor, float]:
        """The images that really come out, their perturbation, and the largest share of its norm off the subspace."""
        attacked = (self.images + perturbation).clamp(0, 1)
        perturbation = attacked - self.images
        if self.subspace is None or not len(perturbation):
            return attacked, perturbation, 0.0
        size = norms(perturbation, "l2").clamp(min=torch.finfo(perturbation.dtype).tiny)
        return attacked, perturbation, float((norms(self.subspace.reject(perturbation), "l2") / size).max())


def ascent(model: Model, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
    """The gradient that raises the loss (untargeted) or lowers it (targeted), ``(B, *shape)``.

    Args:
        model: images to logits.
        images: ``(B, *shape)``.
        labels: true ones, or targets, int64 ``(B,)``.
        targeted: which of both.

    Raises:
        ShapeError: there is not one label an image.
    """
    one_label_each(images, labels)
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        loss = F.cross_entropy(model(x), labels, reduction="sum")
        gradient = torch.autograd.grad(loss, x)[0]
    return -gradient if targeted else gradient


def one_label_each(images: Tensor, labels: Tensor) -> None:
    """Check labels.

    Raises:
        ShapeError: there is not one label an image.
    """
    if labels.shape != images.shape[:1]:
        raise ShapeError(f"attacks need one label an image, got {tuple(labels.shape)} for {tuple(images.shape)}")


def unit(v: Tensor, norm: Norm) -> Tensor:
    """The steepest step of size 1: the sign for L∞, the direction for L2."""
    if norm == "linf":
        return v.sign()
    return v / norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)
