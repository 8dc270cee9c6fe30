"""Parts shared by all attacks: the gradient of the loss, and the set that perturbations are confined to."""

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
"""A network: images ``(B, C, H, W)`` in [0, 1] to logits ``(B, K)``, with its normalisation inside."""


@dataclass(frozen=True)
class Attacked:
    """Result of an attack.

    Attributes:
        images: Attacked images, in [0, 1] to the last bit, ``(B, *shape)``.
        perturbation: Attacked images minus the given ones, ``(B, *shape)``.
        success: Whether the label is wrong (untargeted) or the target's (targeted), bool ``(B,)``.
        residual: Largest share over the batch of a perturbation's norm that lies outside the subspace it is confined
            to; 0 without a subspace.
    """

    images: Tensor
    perturbation: Tensor
    success: Tensor
    residual: float


@dataclass(frozen=True)
class Constraint:
    """Pixel range ∩ ball ∩ subspace around given images.

    Attributes:
        images: Images in [0, 1], ``(B, *shape)``.
        eps: Radius of the ball, in units of the image range.
        norm: Norm of the ball, ``linf`` or ``l2``.
        subspace: The subspace that perturbations are confined to; None for no confinement.
    """

    images: Tensor
    eps: float
    norm: Norm
    subspace: Subspace | None

    def __post_init__(self) -> None:
        if not 0 <= self.eps < float("inf"):
            raise ValueRangeError(f"eps of an attack must be a finite number of at least 0, got {self.eps}")
        if bool(torch.isnan(self.images).any()) or self.images.min() < 0 or self.images.max() > 1:
            raise ValueRangeError(
                f"attacks need images in [0, 1], got values from {float(self.images.min()):.4g} to "
                f"{float(self.images.max()):.4g}"
            )

    def nearest(self, perturbation: Tensor, tolerance: float) -> Tensor:
        """Project a perturbation on the allowed set."""
        low, high = -self.images, 1 - self.images
        return nearest(perturbation, self.subspace, low, high, self.eps, self.norm, tolerance).value

    def of(self, images: Tensor, joint: bool = True) -> Constraint:
        """Return the constraint of the images at given indices ``(b,)``; without the subspace unless ``joint``."""
        return replace(self, images=self.images[images], subspace=self.subspace if joint else None)

    def direction(self, gradient: Tensor) -> Tensor:
        """Project a gradient on the subspace."""
        return gradient if self.subspace is None else self.subspace.project(gradient)

    def result(self, model: Model, perturbation: Tensor, labels: Tensor, targeted: bool) -> Attacked:
        """Measure an attack's outcome on the images after rounding and clipping."""
        attacked, perturbation, residual = self.measured(perturbation)
        with torch.no_grad():
            hit = model(attacked).argmax(1) == labels
        return Attacked(attacked, perturbation, hit if targeted else ~hit, residual)

    def measured(self, perturbation: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return the clipped images, their perturbation, and the largest share of its norm outside the subspace."""
        attacked = (self.images + perturbation).clamp(0, 1)
        perturbation = attacked - self.images
        if self.subspace is None or not len(perturbation):
            return attacked, perturbation, 0.0
        size = norms(perturbation, "l2").clamp(min=torch.finfo(perturbation.dtype).tiny)
        return attacked, perturbation, float((norms(self.subspace.reject(perturbation), "l2") / size).max())


def ascent(model: Model, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
    """Compute the gradient that raises the cross-entropy (untargeted) or lowers it (targeted), ``(B, *shape)``.

    Args:
        model: The network: images to logits.
        images: Images, ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, int64 ``(B,)``.
        targeted: Whether the labels are targets to be reached.

    Raises:
        ShapeError: The number of labels differs from the number of images.
    """
    one_label_each(images, labels)
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        loss = F.cross_entropy(model(x), labels, reduction="sum")
        gradient = torch.autograd.grad(loss, x)[0]
    return -gradient if targeted else gradient


def one_label_each(images: Tensor, labels: Tensor) -> None:
    """Check that there is one label per image.

    Raises:
        ShapeError: The number of labels differs from the number of images.
    """
    if labels.shape != images.shape[:1]:
        raise ShapeError(f"attacks need one label per image, got {tuple(labels.shape)} for {tuple(images.shape)}")


def unit(v: Tensor, norm: Norm) -> Tensor:
    """Return the steepest step of size 1: the sign for L∞, the normalised vector for L2."""
    if norm == "linf":
        return v.sign()
    return v / norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)
