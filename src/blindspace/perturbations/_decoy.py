"""Decoys: people see one picture, the network reads another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..subspaces import Subspace, nearest
from ..subspaces.box import Metric, norms

Progress = Callable[[int, int, str], None]

FINE = 0.05
"""Weight of the finest detail where the distance is that of blurred pictures; it keeps the nearest point unique."""

CHUNK = 256 << 20
"""Bytes at most that the iteration remembers at a time; it remembers twenty times what it works on."""


@dataclass(frozen=True)
class Decoy:
    """Images that look like a target and are read as what they were.

    Attributes:
        images: inside [0, 1] to the last bit, ``(B, *shape)``, float64.
        distance: root mean square of the difference from the target, ``(B,)``.
        unbounded: the same if pixels could leave [0, 1]: no smaller one is harmless, ``(B,)``.
        residual: ‖(I − P) δ‖ / ‖δ‖ of δ = images − original ones, the largest.
        optimality: bound on the distance from the nearest decoy there is, as a share of that from original to target,
            the largest.
        iterations: the most taken.
        unchanged: images for which nothing but themselves was found.
    """

    images: Tensor
    distance: Tensor
    unbounded: Tensor
    residual: float
    optimality: float
    iterations: int
    unchanged: int

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; without the images."""
        plain = asdict(self)
        del plain["images"]
        return {**plain, "distance": self.distance.tolist(), "unbounded": self.unbounded.tolist()}


def decoy(
    space: Subspace,
    images: Tensor,
    target: Tensor,
    blur: float = 0.0,
    tolerance: float = 1e-7,
    iterations: int = 300,
    progress: Progress | None = None,
) -> Decoy:
    """The point of {x + space} ∩ [0, 1]ⁿ nearest to a chosen picture (the other way about than section 5.1's largest).

    The visible component (I − P) x stays, whatever the target: what the space does not hold cannot be hidden. In large
    pictures ``blur`` = 1 measures the distance as eyes do from a little further away, which puts what stays of x
    into fine grain; in small ones there is no grain finer than the picture.

    Args:
        space: of harmless perturbations.
        images: x, ``(B, *shape)`` in [0, 1].
        target: one for all, ``shape`` or ``(1, *shape)``, or one each, ``(B, *shape)``; its contrast may be beyond
            [0, 1].
        blur: standard deviation in pixels of a Gaussian through which the distance is measured; 0 for none.
        tolerance: of ``nearest``.
        iterations: of ``nearest``.
        progress: called before each part of the batch: images done, images in all, what is being done.

    Raises:
        ShapeError: images or target do not fit the space, or ``blur`` is given for what is no image (C, H, W).
        ValueRangeError: an image is outside [0, 1], a value is not finite, or ``blur`` is negative.
    """
    if images.ndim != 1 + len(space.shape) or tuple(images.shape[1:]) != space.shape:
        raise ShapeError(f"a decoy needs images (B, {space.shape}), got {tuple(images.shape)}")
    if tuple(target.shape) not in (space.shape, (1, *space.shape), tuple(images.shape)):
        raise ShapeError(f"the target must have the shape {space.shape}, or be one an image, got {tuple(target.shape)}")
    x = images.double()
    if not bool(((x >= 0) & (x <= 1)).all()) or not bool(target.isfinite().all()):
        raise ValueRangeError("a decoy needs images in [0, 1] and a finite target; divide bytes by 255")
    metric = through_blur(blur, space.shape) if blur else None
    wanted = target.double().to(x.device).expand_as(x) - x
    made, residual, optimality, most = x.clone(), 0.0, 0.0, 0
    part = max(CHUNK // (20 * 8 * space.ambient_dim), 1)
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
        distance=_rms(made - x - wanted),
        unbounded=_rms(space.reject(wanted)),
        residual=residual,
        optimality=optimality,
        iterations=most,
        unchanged=int((made == x).flatten(1).all(1).sum()),
    )


def through_blur(sigma: float, shape: tuple[int, ...]) -> Metric:
    """The distance of two pictures seen through a Gaussian blur, plus a little of that seen sharply.

    Args:
        sigma: standard deviation in pixels.
        shape: of the pictures, ``(C, H, W)``.

    Raises:
        ShapeError: another shape.
        ValueRangeError: sigma is not above 0 or as large as the picture.
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


def _rms(v: Tensor) -> Tensor:
    mean: Tensor = v.flatten(1).square().mean(1).sqrt()
    return mean
