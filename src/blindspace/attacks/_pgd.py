"""Known as projected gradient descent (PGD); Madry et al. 2018. Here in L∞ or L2, optionally confined to a subspace."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import integer, real
from ..maps import Operator
from ..networks.network import Network
from ..subspaces import Norm, Subspace
from ..subspaces._arguments import generator_or_none
from ..subspaces._mask_argument import MaskLike
from .gradient import Attacked, ascent, prepared, refuse_flat, unit
from .scores import Model

LOOSE = 1e-4
"""Tolerance of the joint projection between steps; the last projection is computed to 1e-12."""


def pgd(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    eps: float = 8 / 255,
    steps: int = 20,
    step_size: float | None = None,
    norm: Norm = "linf",
    targeted: bool = False,
    subspace: Subspace | Operator | None = None,
    random_start: float = 0.001,
    generator: torch.Generator | None = None,
    mask: MaskLike | None = None,
) -> Attacked:
    """Attack images by steps along the gradient, each followed by a joint projection on pixel range ∩ ball ∩ subspace.

    The projection is joint because clipping to the pixel range after a projection on the subspace would leave the
    subspace.

    Args:
        model: A ``Network``, or a function of images in [0, 1] to logits ``(B, K)``, or ``(B,)`` of two classes;
            normalisation happens inside.
        images: Images in [0, 1], floating point ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, whole numbers ``(B,)``; of one number per image, 0
            and 1.
        eps: Radius of the ball around each image, in units of the image range.
        steps: Number of steps, at least 1; the paper's PGD-20 takes 20 (appendix F.2).
        step_size: Size of one step in ``norm``; ``eps / 8`` if None (1/255 for eps = 8/255).
        norm: Norm of the ball, ``linf`` or ``l2``.
        targeted: Whether the labels are targets to be reached.
        subspace: The subspace that gradient and perturbation are confined to, or whatever ``nullspace`` takes; None for
            no confinement.
        random_start: Standard deviation of the Gaussian starting point; 0 starts at the images themselves.
        generator: Source of the random starting point; torch's global generator if None.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Raises:
        ValueRangeError: The images leave [0, 1], eps is negative or not finite, ``steps`` is below 1, the outputs have
            no scores of two classes, a label is none of theirs, the gradient is zero, or the subspace is {0}.
        ShapeError: The images are not a floating-point batch, or there is not one whole number per image.
        UnsupportedLayerError: The model has no gradient, or does not read the images.
        BlindspaceError: Another argument is of the wrong type.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = torch.rand(4, 1, 28, 28) / 2 + 0.25
        >>> y = network.labels(x)
        >>> blind = bs.pgd(network, x, y, eps=0.1, subspace=bs.harmless(network))  # where the network sees nothing
        >>> bool((network.labels(blind.images) == network.labels(x)).all())
        True
        >>> bs.pgd(network, x, y, eps=0.3).images.shape
        torch.Size([4, 1, 28, 28])
    """
    given = prepared(model, images, labels, eps, norm, subspace, mask)
    model, images, labels, allowed = given.model, given.images, given.labels, given.allowed
    steps, random_start = integer(steps, "the number of steps", 1), real(random_start, "random_start")
    step_size = eps / 8 if step_size is None else real(step_size, "step_size")
    noise = torch.randn(images.shape, generator=generator_or_none(generator), dtype=images.dtype).to(images.device)
    delta = allowed.nearest(random_start * noise, LOOSE)
    for step in range(steps):
        gradient = ascent(model, (images + delta).clamp(0, 1), labels, targeted)
        gradient = gradient if step else refuse_flat(gradient)
        delta = allowed.nearest(delta + step_size * unit(allowed.direction(gradient), norm), LOOSE)
    return allowed.result(model, allowed.nearest(delta, 1e-12), labels, targeted)
