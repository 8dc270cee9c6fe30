"""Known as the fast gradient sign method (FGSM); Goodfellow, Shlens & Szegedy 2015. Here in L∞ or L2."""

from __future__ import annotations

from torch import Tensor

from ..maps import Operator
from ..networks.network import Network
from ..subspaces import Norm, Subspace
from .gradient import Attacked, Model, ascent, prepared, unit


def fgsm(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    targeted: bool = False,
    subspace: Subspace | Operator | None = None,
) -> Attacked:
    """Attack images by a single step of size eps along the gradient of the loss.

    Args:
        model: A ``Network``, or a function of images in [0, 1] to logits; normalisation happens inside.
        images: Images in [0, 1], floating point ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, int64 ``(B,)``.
        eps: Radius of the ball around each image, in units of the image range.
        norm: Norm of the ball, ``linf`` or ``l2``.
        targeted: Whether the labels are targets to be reached.
        subspace: As in ``pgd``.

    Raises:
        BlindspaceError: As ``pgd``.
    """
    model, allowed = prepared(model, images, labels, eps, norm, subspace)
    step = eps * unit(allowed.direction(ascent(model, images, labels, targeted)), norm)
    return allowed.result(model, allowed.nearest(step, 1e-12), labels, targeted)
