"""Known as the fast gradient sign method (FGSM); Goodfellow, Shlens & Szegedy 2015. Here in L∞ or L2."""

from __future__ import annotations

from torch import Tensor

from ..maps import Operator
from ..networks.network import Network
from ..subspaces import Norm, Subspace
from ..subspaces._mask_argument import MaskLike
from .gradient import Attacked, ascent, prepared, refuse_flat, unit
from .scores import Model


def fgsm(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    targeted: bool = False,
    subspace: Subspace | Operator | None = None,
    mask: MaskLike | None = None,
) -> Attacked:
    """Attack images by a single step of size eps along the gradient of the loss.

    Arguments and errors are those of ``pgd``.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> digits = bs.data.samples("mnist")
        >>> x, y = digits.tensor()[:4], digits.targets()[:4]
        >>> attacked = bs.fgsm(network, x, y, eps=0.1)
        >>> bool((attacked.images - x).abs().max() <= 0.1001)
        True
    """
    given = prepared(model, images, labels, eps, norm, subspace, mask)
    model, images, labels, allowed = given.model, given.images, given.labels, given.allowed
    step = eps * unit(allowed.direction(refuse_flat(ascent(model, images, labels, targeted))), norm)
    return allowed.result(model, allowed.nearest(step, 1e-12), labels, targeted)
