"""Decoys: people see one picture, the network reads another.

Known as the projection onto a polyhedron, by three-operator splitting (Davis & Yin 2017; see ``subspaces.nearest``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._html import Shown
from ..errors import ShapeError, ValueRangeError
from ..maps.floating import as_floating
from ..networks.arguments import Space, as_pixels, as_space
from ..progress import Progress
from ..solvers.dense_algebra.products import root_mean_squares
from ..subspaces import nearest
from ..subspaces._mask_argument import MaskLike
from ..subspaces.box import Metric, norms
from .repeated import Repeated

FINE = 0.05
"""Weight of the finest detail where the distance is that of blurred pictures; it keeps the nearest point unique."""

CHUNK = 256 << 20
"""Largest size in bytes of what the iteration stores at a time: twenty times the images that it works on."""


@dataclass(frozen=True)
class Decoy(Shown):
    """Images that look like a target and that the network reads as the original ones.

    Attributes:
        images: Inside [0, 1] to the last bit, ``(B, *shape)``, float64.
        distance: Root mean square of the difference from the target, ``(B,)``.
        unbounded: The same if pixels could leave [0, 1], a lower bound for every harmless image, ``(B,)``.
        residual: ‖(I − P) δ‖ / ‖δ‖ of δ = images − originals, the largest over the batch.
        optimality: Bound on the distance from the nearest possible decoy, as a share of the distance from original to
            target, the largest over the batch.
        iterations: Largest number of iterations of an image.
        unchanged: Number of images for which nothing but themselves was found.
    """

    images: Tensor
    distance: Tensor
    unbounded: Tensor
    residual: float
    optimality: float
    iterations: int
    unchanged: int

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images as plain values for JSON."""
        plain = asdict(self)
        del plain["images"]
        return {**plain, "distance": self.distance.tolist(), "unbounded": self.unbounded.tolist()}


def decoy(
    space: Space,
    images: Tensor,
    target: Tensor,
    blur: float = 0.0,
    tolerance: float = 1e-7,
    iterations: int = 300,
    progress: Progress | None = None,
    chunk: int = CHUNK,
    mask: MaskLike | None = None,
) -> Decoy:
    """The point of {x + nullspace} ∩ [0, 1]ⁿ nearest to a chosen picture (the converse of section 5.1's largest).

    The visible component (I − P) x stays, whatever the target: what the space does not hold cannot be hidden. In large
    pictures ``blur`` = 1 measures the distance as eyes do from a little further away, which moves what stays of x into
    fine grain; in small ones there is no grain finer than the picture.

    Args:
        space: Harmless perturbations: a subspace, or whatever ``nullspace`` accepts.
        images: x, ``(B, *shape)`` or one image ``shape``, in [0, 1].
        target: One picture for all images, ``shape`` or ``(1, *shape)``, or one per image, ``(B, *shape)``; its
            contrast may be beyond [0, 1].
        blur: Standard deviation in pixels of a Gaussian through which the distance is measured; 0 for none.
        tolerance: Tolerance of ``nearest``.
        iterations: Largest number of iterations of ``nearest``.
        progress: Called before each part of the batch with images done, images in all and what is being done.
        chunk: Largest size in bytes of what the iteration stores at a time.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none. The
            distance from the target is that inside.

    Raises:
        ShapeError: Images or target do not fit the space, or ``blur`` is given and the shape is not (C, H, W).
        ValueRangeError: An image is outside [0, 1], a value is not finite, or ``blur`` is negative.

    Examples:
        >>> import torch, blindspace as bs
        >>> network, pictures = bs.load("cifar-resnet"), bs.data.samples("cifar10").tensor()
        >>> made = bs.decoy(network, pictures[:1], pictures[1:2], iterations=5)
        >>> bool(network.labels(made.images.float()) == network.labels(pictures[:1]))
        True
    """
    space = Repeated(as_space(space, images=images, mask=mask))
    x = as_pixels(images, space.shape)
    target = as_floating(target, "target", f"{space.shape}").detach()
    if tuple(target.shape) not in (space.shape, (1, *space.shape), tuple(x.shape)):
        raise ShapeError(
            f"the target must have the shape {space.shape}, or be one per image, got {tuple(target.shape)}"
        )
    if not bool(target.isfinite().all()):
        raise ValueRangeError("the target of a decoy holds NaN or infinite values")
    metric = through_blur(blur, space.shape) if blur else None
    wanted = target.double().to(x.device).expand_as(x) - x
    if space.support is not None:
        wanted = torch.where(space.support.to(x.device), wanted, 0.0)
    made, residual, optimality, most = x.clone(), 0.0, 0.0, 0
    part = max(chunk // (20 * 8 * space.ambient_dim), 1)
    for start in range(0, len(x), part):
        if progress:
            progress(start, len(x), "decoys")
        chosen = slice(start, start + part)
        low, high = -x[chosen], 1 - x[chosen]
        found = nearest(wanted[chosen], space, low, high, tolerance=tolerance, iterations=iterations, metric=metric)
        # x + δ rounds, at 1 perhaps to above it.
        made[chosen] = (x[chosen] + found.value).clamp(0, 1)
        change = made[chosen] - x[chosen]
        outside = norms(space.reject(change), "l2") / norms(change, "l2").clamp(min=torch.finfo(x.dtype).tiny)
        residual = max(residual, float(outside.max()))
        optimality, most = max(optimality, found.optimality), max(most, found.iterations)
    return Decoy(
        images=made,
        distance=root_mean_squares(made - x - wanted),
        unbounded=root_mean_squares(space.reject(wanted)),
        residual=residual,
        optimality=optimality,
        iterations=most,
        unchanged=int((made == x).flatten(1).all(1).sum()),
    )


def through_blur(sigma: float, shape: tuple[int, ...]) -> Metric:
    """The distance of two pictures seen through a Gaussian blur, plus a small multiple of their sharp distance.

    Args:
        sigma: Standard deviation in pixels.
        shape: Shape of the pictures, ``(C, H, W)``.

    Raises:
        ShapeError: The shape is not (C, H, W).
        ValueRangeError: sigma is not above 0 or not smaller than the picture.
    """
    if len(shape) != 3:
        raise ShapeError(f"a blur needs images (C, H, W), not the shape {shape}")
    if not 0 < sigma < min(shape[1:]):
        raise ValueRangeError(f"a blur of {shape[1]} × {shape[2]} pixels must be above 0 and smaller, got {sigma}")
    reach = round(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(shape[0], 1, -1)

    def blurred(e: Tensor) -> Tensor:
        k = kernel.to(e.device)
        down = F.conv2d(e, k[..., None], padding=(reach, 0), groups=shape[0])
        return F.conv2d(down, k[:, :, None], padding=(0, reach), groups=shape[0])

    # Zeros around the picture keep the blur symmetric, and its norm below 1.
    return Metric(lambda e: FINE * e + (1 - FINE) * blurred(blurred(e)), FINE)
