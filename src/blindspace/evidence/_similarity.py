"""How alike two images look: SSIM, peak signal-to-noise ratio, mean squared change and perceptual distance.

SSIM is the structural similarity index of Wang and others (Image quality assessment: from error visibility to
structural similarity, 2004).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from .._html import Shown
from ..errors import ShapeError, ValueRangeError
from ..extras import library
from ..maps.floating import as_floating, within
from .perceptual import perceptual

SIGMA = 1.5
"""Standard deviation in pixels of the Gaussian window of SSIM, which then is 11×11 (Wang and others 2004)."""

LEAST_SIDE = 3
"""Shortest side of an image that SSIM has a window for, in pixels."""

CHUNK_BYTES = 64 << 20
"""Bytes of images whose SSIM is computed at a time."""


@dataclass(frozen=True)
class Similarity(Shown):
    """How alike the images of each pair are; every figure is float64 ``(B,)``.

    Attributes:
        ssim: structural similarity in [−1, 1], 1 for equal images.
        psnr: peak signal-to-noise ratio 10 log₁₀(1 / msc) in dB, infinite for equal images.
        msc: mean squared change, 1/n ‖y − x‖².
        perceptual: shift-tolerant LPIPS, 0 for equal images; None if it was not requested.
    """

    ssim: Tensor
    psnr: Tensor
    msc: Tensor
    perceptual: Tensor | None

    def figures(self) -> dict[str, Tensor]:
        """The measured figures, by name."""
        named = {"ssim": self.ssim, "psnr": self.psnr, "msc": self.msc, "perceptual": self.perceptual}
        return {name: values for name, values in named.items() if values is not None}

    def means(self) -> dict[str, float]:
        """Averages over the images; the psnr is averaged over the pairs that differ, and infinite if none does."""
        found = {name: float(values.mean()) for name, values in self.figures().items()}
        differ = self.psnr[self.psnr.isfinite()]
        return {**found, "psnr": float(differ.mean()) if len(differ) else inf}

    def to_dict(self) -> dict[str, list[float | None]]:
        """One list per figure of plain values for JSON, which knows no infinity: None for the psnr of equal images."""
        return {
            name: [value if isfinite(value) else None for value in values.tolist()]
            for name, values in self.figures().items()
        }


def similarity(
    images: Tensor, others: Tensor, with_perceptual: bool = True, *, chunk_bytes: int = CHUNK_BYTES
) -> Similarity:
    """Compare images with others, pair by pair.

    Args:
        images: images x, ``(B, C, H, W)``, floating point, in [0, 1], no side below 3 pixels.
        others: images y of the same kind; the result is symmetric in the two.
        with_perceptual: whether to measure the perceptual distance too, which needs C to be 1 or 3 and takes by far the
            most time.
        chunk_bytes: bytes of images whose SSIM is computed at a time.

    Returns:
        The four figures. SSIM has the Gaussian window of σ = 1.5 pixels, 11×11, on each channel, reflected at the
        borders, and the usual constants 0.01 and 0.03, which are the defaults of torchmetrics. On images with a side
        below 11, σ is smaller so that the window fits: ((side − 1) // 2) / 3.5. SSIM and the perceptual network are
        computed in float32, all else in float64.

    Raises:
        ShapeError: the two differ in shape, are no batches of images, or have a side below 3.
        ValueRangeError: there is no pair, or a value is not in [0, 1].
        MissingExtraError: torchmetrics or stlpips-pytorch is not installed.
    """
    x, y = _checked(images, "images"), _checked(others, "others")
    if x.shape != y.shape:
        raise ShapeError(f"pairs must have one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    squared = (y - x).square().flatten(1).mean(1)
    return Similarity(
        ssim=_ssim(x, y, chunk_bytes),
        psnr=-10 * squared.log10(),
        msc=squared,
        perceptual=perceptual(x, y) if with_perceptual else None,
    )


def _checked(images: Tensor, name: str) -> Tensor:
    images = as_floating(images, f"{name} to be compared", "(B, C, H, W)")
    if images.ndim != 4 or min(images.shape[2:]) < LEAST_SIDE:
        raise ShapeError(
            f"{name} to be compared must be (B, C, H, W) with sides of at least {LEAST_SIDE}, got {tuple(images.shape)}"
        )
    if not len(images):
        raise ValueRangeError(
            f"a comparison needs at least one pair of images, got {name} of shape {tuple(images.shape)}"
        )
    if not within(images, 0.0, 1.0):
        raise ValueRangeError(
            f"{name} to be compared must lie in [0, 1], got {float(images.min()):g} to {float(images.max()):g}; "
            "clip them first"
        )
    return images.detach().double().cpu()


def _ssim(x: Tensor, y: Tensor, chunk_bytes: int) -> Tensor:
    measure = library("torchmetrics", "metrics").functional.image.structural_similarity_index_measure
    side = min(x.shape[2:])
    sigma = SIGMA if side >= 11 else ((side - 1) // 2) / 3.5
    some = max(chunk_bytes // (4 * x[0].numel()), 1)
    # In float64 torch convolves the channels one by one, some 15 times slower, for figures that agree to 1e-6.
    parts = zip(x.float().split(some), y.float().split(some), strict=True)
    return torch.cat([measure(*p, sigma=sigma, data_range=1.0, reduction="none").reshape(-1) for p in parts]).double()
