"""Benign processing of photographs: JPEG compression, Gaussian blur and noise, none of it meant to hide anything."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Each image ``(B, 1 or 3, H, W)`` in [0, 1] written to JPEG of that quality, 1 to 100, and read back; float64."""
    return torch.stack([_jpeg(image, quality) for image in images]) if len(images) else images.double()


def _jpeg(image: Tensor, quality: int) -> Tensor:
    whole = np.rint(image.double().cpu().numpy() * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(whole[0] if len(whole) == 1 else whole.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(buffer), np.float64) / 255
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1).contiguous().to(image.device)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Each image convolved with a Gaussian of the given standard deviation in pixels; float64."""
    found = scipy.ndimage.gaussian_filter(images.double().cpu().numpy(), (0, 0, deviation, deviation))
    return torch.from_numpy(found).to(images.device)


def noisy(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Each image with white Gaussian noise of the given standard deviation, clipped to [0, 1]; float64."""
    noise = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images.device)
    return (images + deviation * noise).clamp(0, 1)


def processed(seed: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """The processing of reference images, by name; the settings differ from those that ``detect`` measures."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "JPEG 85": lambda images: jpeg(images, 85),
        "JPEG 60": lambda images: jpeg(images, 60),
        "blur 0.7": lambda images: blurred(images, 0.7),
        "noise 0.005": lambda images: noisy(images, 0.005, generator),
        "noise 0.03": lambda images: noisy(images, 0.03, generator),
    }
