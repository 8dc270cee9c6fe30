"""An attack that changes few values of an image: an L0 ball, within the pixel range.

The rule by which values are admitted knows the pixel range: a value that is black already is not admitted in order to
be darkened. Without that, as in the code of Kumano et al. 2024, such values are chosen again and again, and of some
images of MNIST ten steps change nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import integer, real
from ..networks.network import Network
from ..subspaces._mask_argument import MaskLike
from .gradient import Attacked, ascent, prepared, refuse_flat
from .scores import Model

STEP = 0.3
"""Length of a move in one step, in units of the image range (Kumano et al. 2024)."""


def sparse(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    count: int = 10,
    steps: int | None = None,
    step_size: float = STEP,
    targeted: bool = False,
    mask: MaskLike | None = None,
) -> Attacked:
    """Attack images by changing a few values of each, which is an L0 ball.

    The values are admitted evenly over the steps, by the largest gradient times the room that the pixel range leaves in
    its direction. In each step all admitted values move by the step size along the sign of the gradient.

    Args:
        model: A ``Network``, or a function of images in [0, 1] to logits ``(B, K)``, or ``(B,)`` of two classes;
            normalisation happens inside.
        images: Images in [0, 1], floating point ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, whole numbers ``(B,)``; of one number per image, 0
            and 1.
        count: Largest number of values that change per image; each channel of a pixel is one.
        steps: Number of steps; one per value if None.
        step_size: Length of a move in one step.
        targeted: Whether the labels are targets to be reached.
        mask: A mask outside which no value is changed, as ``Subspace.within`` takes it; None for none.

    Raises:
        ValueRangeError: The images leave [0, 1], ``count`` or ``steps`` is below 1, the step size is negative, the
            outputs have no scores of two classes, a label is none of theirs, or the gradient is zero.
        ShapeError: The images are not a floating-point batch, or there is not one whole number per image.
        UnsupportedLayerError: The model has no gradient, or does not read the images.
        BlindspaceError: Another argument is of the wrong type.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> digits = bs.data.samples("mnist")
        >>> x, y = digits.tensor()[:4], digits.targets()[:4]
        >>> found = bs.sparse(network, x, y, count=5)
        >>> int((found.images != x).flatten(1).sum(1).max()) <= 5
        True
    """
    given = prepared(model, images, labels, 1.0, "linf", None, mask)
    count, step_size = integer(count, "the number of values", 1), real(step_size, "step_size")
    steps = count if steps is None else integer(steps, "the number of steps", 1)
    x = moved = given.images
    for step in range(steps):
        gradient = given.allowed.direction(ascent(given.model, moved, given.labels, targeted))
        gradient = gradient if step else refuse_flat(gradient)
        moved = sparse_step(x, moved, gradient, admitted_after(step, steps, count), step_size)
    return given.allowed.result(given.model, moved - x, given.labels, targeted)


def admitted_after(step: int, steps: int, count: int) -> int:
    """How many of ``count`` values may have changed after a step (from 0), if they are admitted evenly."""
    return max(1, round(count * (step + 1) / steps))


def sparse_step(images: Tensor, moved: Tensor, gradient: Tensor, count: int, step_size: float = STEP) -> Tensor:
    """Admit values until ``count`` of each image have changed, and move all that are admitted.

    Args:
        images: Images in [0, 1], ``(B, *shape)``.
        moved: The images as they have been changed so far, ``(B, *shape)``; what has changed is admitted.
        gradient: The direction that the attack follows, ``(B, *shape)``.
        count: Number of values of each image that may have changed afterwards.
        step_size: Length of a move.

    Returns:
        The changed images in [0, 1], ``(B, *shape)``.
    """
    x, z, g = (each.flatten(1) for each in (images, moved, gradient))
    admitted = z != x
    gain = (g.abs() * torch.where(g > 0, 1 - x, x)).masked_fill(admitted, 0)
    best = gain.topk(min(count, gain.shape[1]), 1)
    places = torch.arange(best.values.shape[1], device=x.device) < count - admitted.sum(1, keepdim=True)
    allowed = admitted.scatter(1, best.indices, places & (best.values > 0)) | admitted
    return (z + step_size * g.sign() * allowed).clamp(0, 1).reshape(images.shape)
