"""Parts shared by all attacks: the gradient of the loss, and the set that perturbations are confined to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BlindspaceError, ShapeError, UnsupportedLayerError, ValueRangeError, real
from ..maps import Operator
from ..networks.network import Network
from ..subspaces import Norm, Subspace, nearest, norms, nullspace
from ..subspaces._arguments import described, floating
from ..subspaces.box import share_outside

Model = Callable[[Tensor], Tensor]
"""A function of images ``(B, *shape)`` in [0, 1] that returns logits ``(B, K)``; normalisation happens inside."""


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
        return attacked, perturbation, float(share_outside(self.subspace, perturbation).max())


def ascent(model: Model, images: Tensor, labels: Tensor, targeted: bool) -> Tensor:
    """Compute the gradient that raises the cross-entropy (untargeted) or lowers it (targeted), ``(B, *shape)``.

    Args:
        model: The network: images to logits.
        images: Images, ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, int64 ``(B,)``.
        targeted: Whether the labels are targets to be reached.

    Raises:
        ValueRangeError: A label is not the index of a logit.
        UnsupportedLayerError: The outputs have no gradient.
    """
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        logits = labelled(model(x), labels)
        gradient = None
        if logits.requires_grad:
            loss = F.cross_entropy(logits, labels, reduction="sum")
            gradient = torch.autograd.grad(loss, x, allow_unused=True)[0]
    if gradient is None:
        raise UnsupportedLayerError(
            "the outputs have no gradient with respect to the input, which the attack needs: the code detaches it, or "
            "computes in whole numbers; use random perturbations or nes"
        )
    return -gradient if targeted else gradient


def labelled(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the outputs of a model if they are scores of classes that the labels belong to.

    Raises:
        ValueRangeError: They are not ``(B, K)``, or a label is not below K.
    """
    if scores.ndim != 2 or bool(((labels < 0) | (labels >= scores.shape[1])).any()):
        raise ValueRangeError(f"labels must be indices of the model's outputs (B, K), which are {tuple(scores.shape)}")
    return scores


def prepared(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm,
    subspace: Subspace | Operator | None,
) -> tuple[Model, Constraint]:
    """Check the arguments that all attacks share; return the model as a function, and the constraint.

    Raises:
        BlindspaceError: The model is neither a function nor a ``Network``, or the subspace is of another type.
        ValueRangeError: The images leave [0, 1], or eps is negative or not finite.
        ShapeError: The images are not a floating-point batch, or there is not one int64 label per image.
        UnknownNameError: ``norm`` is neither ``linf`` nor ``l2``.
    """
    norms(floating(images, "images", 2)[:0], norm)  # raises for an unknown norm
    space = None if subspace is None else nullspace(subspace, images.shape[1:])
    allowed = Constraint(images, real(eps, "eps"), norm, space)
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueRangeError(
            f"attacks need images in [0, 1], got values from {float(images.min()):.4g} to {float(images.max()):.4g}"
        )
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ShapeError(f"attacks need one label per image, int64 ({len(images)},), got {described(labels)}")
    if isinstance(model, Network):
        network = model
        double = images.dtype == torch.float64 and network.runs_in_float64
        dtype = torch.float64 if double else network.dtype
        return lambda x: network.class_scores(network.run(x, dtype)), allowed
    if not callable(model) or isinstance(model, type):
        raise BlindspaceError(f"the model must be a Network or a function of images, got {described(model)}")
    return model, allowed


def unit(v: Tensor, norm: Norm) -> Tensor:
    """Return the steepest step of size 1: the sign for L∞, the normalised vector for L2."""
    if norm == "linf":
        return v.sign()
    return v / norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)
