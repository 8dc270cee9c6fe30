"""Parts shared by all attacks: the gradient of the loss, and the set that perturbations are confined to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, UnsupportedLayerError, ValueRangeError, real
from ..maps import Operator
from ..maps.floating import as_floating, within
from ..networks.network import Network
from ..subspaces import Mask, Norm, Subspace, nearest, norms, nullspace
from ..subspaces._arguments import described, floating
from ..subspaces._mask_argument import MaskLike, as_mask
from ..subspaces.box import share_outside
from .scores import Model, scored


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
        subspace = None if self.subspace is None or not joint else self.subspace.at(images)
        return replace(self, images=self.images[images], subspace=subspace)

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

    Where it vanishes, as it does for a model that is sure to the last bit, that of the margin is taken.

    Args:
        model: The network: images to logits.
        images: Images, ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, int64 ``(B,)``.
        targeted: Whether the labels are targets to be reached.

    Raises:
        ValueRangeError: A label is not the index of a logit.
        UnsupportedLayerError: The outputs have no gradient.
    """
    if not len(images):
        return torch.zeros_like(images)
    with torch.inference_mode(False), torch.enable_grad():
        x, y = (each.clone() if each.is_inference() else each.detach() for each in (images, labels))
        x.requires_grad_()
        logits = differentiable(labelled(model(x), y))
        gradient = input_gradient(F.cross_entropy(logits, y, reduction="sum"), x)
        flat = gradient.flatten(1).count_nonzero(1) == 0
        if bool(flat.any()):
            own = logits.gather(1, y[:, None])
            margin = logits.scatter(1, y[:, None], -torch.inf).amax(1, keepdim=True) - own
            gradient = gradient + input_gradient(margin[flat].sum(), x)
    return -gradient if targeted else gradient


def input_gradient(loss: Tensor, x: Tensor) -> Tensor:
    """Compute the gradient of a number with respect to the images that it was computed from, of their shape.

    Raises:
        UnsupportedLayerError: There is none.
        ValueRangeError: It is NaN.
    """
    gradient: Tensor | None = torch.autograd.grad(differentiable(loss), x, retain_graph=True, allow_unused=True)[0]
    if gradient is None:
        raise _without_gradient()
    if bool(gradient.isnan().any()):
        raise ValueRangeError("the gradient of the model is NaN")
    return gradient


def differentiable(outputs: Tensor) -> Tensor:
    """Return what a model computes from images that ask for a gradient, if it has one; whole numbers have none.

    Raises:
        UnsupportedLayerError: It has none.
    """
    if not outputs.requires_grad:
        raise _without_gradient()
    return outputs


def _without_gradient() -> UnsupportedLayerError:
    return UnsupportedLayerError(
        "the outputs have no gradient with respect to the input, which the attack needs: the code detaches it, or "
        "computes in whole numbers; use random perturbations or nes"
    )


def refuse_flat(gradient: Tensor) -> Tensor:
    """Return the gradient that an attack begins with, unless it vanishes for all images, so that no step is taken.

    Raises:
        ValueRangeError: It vanishes.
    """
    if len(gradient) and not bool(gradient.count_nonzero()):
        raise ValueRangeError("the gradient is zero for every image, so that no attack follows it; use simba or nes")
    return gradient


def labelled(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the outputs of a model if they are scores of classes that the labels belong to.

    Raises:
        ValueRangeError: They are not ``(B, K)`` with K ≥ 2, one is NaN or infinite, or a label is not below K.
    """
    if scores.ndim != 2 or scores.shape[1] < 2 or bool(((labels < 0) | (labels >= scores.shape[1])).any()):
        raise ValueRangeError(
            f"labels must be indices of the model's outputs (B, K), K of at least 2, which are {tuple(scores.shape)}"
        )
    if bool((scores.isnan() | (scores == torch.inf)).any()):
        raise ValueRangeError("a score of the model is NaN or infinite")
    return scores


@dataclass(frozen=True)
class Prepared:
    """The arguments that all attacks share, checked.

    Attributes:
        model: The model as a function of images to scores ``(B, K)``, K ≥ 2.
        images: Images in [0, 1], ``(B, *shape)``.
        labels: int64 ``(B,)``.
        allowed: The set that perturbations are confined to.
    """

    model: Model
    images: Tensor
    labels: Tensor
    allowed: Constraint


def prepared(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm,
    subspace: Subspace | Operator | None,
    mask: MaskLike | None = None,
) -> Prepared:
    """Check the arguments that all attacks share.

    Raises:
        BlindspaceError: The model is neither a function nor a ``Network``, or the subspace is of another type.
        ValueRangeError: The images leave [0, 1], eps is negative or not finite, or the subspace is {0}.
        ShapeError: The images are not a floating-point batch, there is not one whole number per image as its label, or
            the mask does not fit the images.
        UnknownNameError: ``norm`` is neither ``linf`` nor ``l2``.
    """
    x = model.check(images) if isinstance(model, Network) else as_floating(images, "images")
    x = floating(x, "images", 2).detach()
    norms(x[:0], norm)  # raises for an unknown norm
    space = None if subspace is None else nullspace(subspace, x.shape[1:])
    if mask is not None:
        inside = as_mask(mask, tuple(x.shape[1:]))
        space = Mask(inside) if space is None else space.within(inside)
    allowed = Constraint(x, real(eps, "eps"), norm, space)
    if not within(x, 0.0, 1.0):
        raise ValueRangeError(
            f"attacks need images in [0, 1], got values from {float(x.min()):.4g} to {float(x.max()):.4g}"
        )
    if space is not None and space.dim == 0 and eps > 0:
        raise ValueRangeError(
            f"an attack confined to {{0}} changes nothing ({space.certificate}); give another subspace"
        )
    return Prepared(scored(model, x.dtype), x, as_labels(labels, len(x)).to(x.device), allowed)


def as_labels(given: object, count: int) -> Tensor:
    """Labels as int64 ``(B,)``: of a tensor, array, list or range of whole numbers; a single one serves one image.

    Raises:
        ShapeError: They are no whole numbers, or not as many as images.
    """
    found = given
    if isinstance(given, list | tuple):
        given = [part.item() if isinstance(part, Tensor) and part.numel() == 1 else part for part in given]
    if not isinstance(given, Tensor) and isinstance(given, Sequence | np.ndarray | np.integer | int):
        array = np.array(None)
        with suppress(TypeError, ValueError, OverflowError):
            array = np.array(given)
        found = torch.from_numpy(array.astype(np.int64)) if array.dtype.kind in "iub" or array.shape == (0,) else given
    if isinstance(found, Tensor) and not (found.is_floating_point() or found.is_complex() or found.is_quantized):
        found = found[None] if found.ndim == 0 else found
        if found.shape == (count,) and not found.is_meta:
            return found.to(torch.int64, copy=found.is_inference())
    raise ShapeError(f"attacks need one label per image, int64 ({count},), got {described(given)}")


def unit(v: Tensor, norm: Norm) -> Tensor:
    """Return the steepest step of size 1: the sign for L∞, the normalised vector for L2."""
    if norm == "linf":
        return v.sign()
    return v / norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)
