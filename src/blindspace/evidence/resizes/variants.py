"""Clean pictures of the kinds that arrive: as they are, compressed, sharpened, noisy, reduced and enlarged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from ..processing import jpeg, noisy

ENLARGED_SIDE = 480
"""Longer side of an enlarged picture, in pixels; of larger ones the middle is enlarged."""

Variant = Callable[[Tensor], Tensor]


def variants(seed: int) -> dict[str, Variant]:
    """The processing of reference pictures ``(C, H, W)`` in [0, 1], by name, each to float64 of any size."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "as it is": Tensor.double,
        "JPEG 85": lambda x: jpeg(x[None], 85)[0],
        "JPEG 60": lambda x: jpeg(x[None], 60)[0],
        "sharpened": lambda x: sharpened(x, 1.5, 120),
        "noise 0.01": lambda x: noisy(x, 0.01, generator),
        "noise 0.03": lambda x: noisy(x, 0.03, generator),
        "reduced to 0.8, bicubic": lambda x: resized(x, 0.8, Image.Resampling.BICUBIC),
        "reduced to 0.6, JPEG 85": lambda x: jpeg(resized(x, 0.6, Image.Resampling.LANCZOS)[None], 85)[0],
        "enlarged by 2, nearest": lambda x: resized(x, 2, Image.Resampling.NEAREST),
        "enlarged by 3, nearest": lambda x: resized(x, 3, Image.Resampling.NEAREST),
        "enlarged by 1.5, bilinear": lambda x: resized(x, 1.5, Image.Resampling.BILINEAR),
        "enlarged by 2, bicubic": lambda x: resized(x, 2, Image.Resampling.BICUBIC),
        "enlarged by 3, Lanczos": lambda x: resized(x, 3, Image.Resampling.LANCZOS),
    }


def sharpened(image: Tensor, radius: float, percent: int) -> Tensor:
    """An image after an unsharp mask of the given radius in pixels and strength in percent."""
    return _tensor(_picture(image).filter(ImageFilter.UnsharpMask(radius, percent, 2)))


def resized(image: Tensor, factor: float, kernel: Image.Resampling) -> Tensor:
    """An image reduced or enlarged by a factor; of one that would become too large, the middle."""
    if factor > 1:
        height, width = (min(n, int(ENLARGED_SIDE / factor)) for n in image.shape[1:])
        top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
        image = image[:, top : top + height, left : left + width]
    picture = _picture(image)
    return _tensor(picture.resize((round(picture.width * factor), round(picture.height * factor)), kernel))


def _picture(image: Tensor) -> Image.Image:
    whole = np.rint(image.double().cpu().numpy() * 255).astype(np.uint8)
    return Image.fromarray(whole[0] if len(whole) == 1 else whole.transpose(1, 2, 0))


def _tensor(picture: Image.Image) -> Tensor:
    pixels = np.asarray(picture, np.float64) / 255
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1).copy())
