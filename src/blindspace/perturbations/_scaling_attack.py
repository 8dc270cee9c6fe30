"""Image-scaling attacks: people see one picture, and a network behind a resize reads another.

The attack is that of Xiao et al. (Seeing is not believing: camouflage attacks on image scaling algorithms, USENIX
Security 2019), which solves two quadratic programmes, one per axis, for every column; here it is one projection of the
whole image (see ``subspaces.preimage``). It serves both ways: shown is the picture at hand and another one is read, or
another one is shown and the picture at hand is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .._html import Shown
from ..errors import ShapeError
from ..maps import LinearMap
from ..networks.arguments import as_pixels
from ..progress import Progress
from ..solvers.dense_algebra.products import root_mean_squares
from ..subspaces.preimage import nearest_preimage

LEVELS = 255
"""Steps between black and white in a picture of eight bits."""


@dataclass(frozen=True)
class ScalingAttack(Shown):
    """Pictures that a resize makes others.

    Attributes:
        images: Inside [0, 1], whole multiples of 1/255 if eight bits were asked for, float64 ``(B, *in_shape)``.
        change: Root mean square of the difference from the pictures that people are to see, ``(B,)``.
        deviation: Root mean square of what the network reads minus what it is to read, ``(B,)``; rounding included.
        largest_deviation: The largest absolute value of the same, ``(B,)``.
        gap: Bound on how much smaller ‖difference‖² could be, as a share of it, before rounding; the largest over the
            batch.
        products: Products with the resize and its transpose per picture.
    """

    images: Tensor
    change: Tensor
    deviation: Tensor
    largest_deviation: Tensor
    gap: float
    products: int

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images as plain values for JSON."""
        return {
            "change": self.change.tolist(),
            "deviation": self.deviation.tolist(),
            "largest_deviation": self.largest_deviation.tolist(),
            "gap": self.gap,
            "products": self.products,
        }


def scaling_attack(
    resize: LinearMap,
    images: Tensor,
    target: Tensor,
    tolerance: float = 0.0,
    *,
    eight_bit: bool = True,
    accuracy: float = 1e-3,
    progress: Progress | None = None,
) -> ScalingAttack:
    """The pictures in [0, 1] nearest to given ones that a resize takes to a target.

    Where pixels cannot give the target, because it is out of their range, the picture is the best compromise, and
    ``deviation`` says how far away it stays. It measures how exposed a pipeline is; see ``exposure``.

    Args:
        resize: The map from a picture to what the network reads, such as ``resizer("torch bilinear
            no-antialias").map((3, 480, 640), (224, 224))``.
        images: What people are to see, ``(B, *resize.in_shape)`` or one picture, in [0, 1].
        target: What the network is to read, one for all ``resize.out_shape`` or one per picture ``(B, *out_shape)``.
        tolerance: Largest deviation per value that is allowed before rounding, in the unit of the target.
        eight_bit: Whether to round to multiples of 1/255, as a picture file does.
        accuracy: Gap at which the iteration ends.
        progress: Called before each picture with pictures done, pictures in all and what is being done.

    Raises:
        ShapeError: Images or target do not fit the resize.
        ValueRangeError: An image is outside [0, 1], the target is not finite, or the tolerance is negative.

    Examples:
        >>> import torch, blindspace as bs
        >>> from blindspace.maps.resizing.registry import resizer
        >>> resize = resizer("torch nearest").map((3, 32, 32), (8, 8))
        >>> pictures = bs.data.samples("cifar10").tensor(torch.float64)
        >>> made = bs.scaling_attack(resize, pictures[:1], resize.forward(pictures[1:2]))
        >>> float(made.largest_deviation) < 1e-3
        True
        >>> f"{int((made.images != pictures[:1]).any(1).sum())} of 1024 pixels"
        '64 of 1024 pixels'
    """
    x = as_pixels(images, resize.in_shape).contiguous()
    wanted = target.detach().to(x)
    if tuple(wanted.shape) == resize.out_shape:
        wanted = wanted[None]
    if tuple(wanted.shape[1:]) != resize.out_shape or len(wanted) not in (1, len(x)):
        raise ShapeError(
            f"the target must have the shape {resize.out_shape}, or be one per image, got {tuple(target.shape)}"
        )
    wanted = wanted.expand(len(x), *resize.out_shape)
    found = nearest_preimage(resize, x, wanted, tolerance, accuracy=accuracy, progress=progress)
    made = found.images
    if eight_bit:
        made.mul_(LEVELS).round_().div_(LEVELS)
    away = resize.forward(made) - wanted
    return ScalingAttack(
        images=made,
        change=root_mean_squares(made - x),
        deviation=root_mean_squares(away),
        largest_deviation=away.flatten(1).abs().amax(1),
        gap=found.gap,
        products=found.products,
    )
