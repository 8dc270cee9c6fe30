"""Denoising baselines: what an attacker without knowledge of the network can apply to a protected image.

They are the usual filters against noise: Gaussian, median, Wiener (Wiener 1949), total variation (Rudin, Osher and
Fatemi 1992, by the algorithm of Chambolle 2004) and non-local means (Buades, Coll and Morel 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from ..extras import library

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Denoiser:
    """A method of denoising images.

    Attributes:
        name: name of the method.
        strengths: strengths that are tried.
        unit: format of a strength in words, such as ``σ {:g} px``.
        apply: function of one image ``(C, H, W)`` and a strength that returns the denoised image.
    """

    name: str
    strengths: tuple[float, ...]
    unit: str
    apply: Callable[[Array, float], Array]

    def label(self, strength: float) -> str:
        """The method at one strength in words."""
        return f"{self.name}, {self.unit.format(strength)}"


def denoised(denoiser: Denoiser, strength: float, images: Tensor) -> Tensor:
    """Denoised images; no method here leaves the range of the pixels.

    Args:
        denoiser: one of ``DENOISERS``.
        strength: strength of the method, in its own unit.
        images: noisy images, ``(B, C, H, W)``.

    Returns:
        float64 ``(B, C, H, W)``.

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    found = [denoiser.apply(image, strength) for image in images.double().cpu().numpy()]
    return torch.from_numpy(np.stack(found))


def _gaussian(image: Array, sigma: float) -> Array:
    return np.asarray(scipy.ndimage.gaussian_filter(image, (0, sigma, sigma)))


def _median(image: Array, side: float) -> Array:
    return np.asarray(scipy.ndimage.median_filter(image, (1, int(side), int(side))))


def _wiener(image: Array, side: float) -> Array:
    rim = int(side) // 2
    wide = np.pad(
        image, ((0, 0), (rim, rim), (rim, rim)), mode="symmetric"
    )  # Otherwise the surroundings count as black.
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 where the image is constant
        found = np.stack([scipy.signal.wiener(channel, int(side)) for channel in wide])
    found = np.where(np.isfinite(found), found, wide)
    return np.asarray(found[:, rim : rim + image.shape[1], rim : rim + image.shape[2]])


def _total_variation(image: Array, weight: float) -> Array:
    return np.asarray(_restoration().denoise_tv_chambolle(image, weight, channel_axis=0))


def _non_local_means(image: Array, strength: float) -> Array:
    noise = float(np.std(image - _median(image, 3)))
    settings = {"patch_size": 3, "patch_distance": 6, "h": strength * noise, "sigma": noise}
    if len(image) == 1:  # With a channel axis of length 1 it transposes the image.
        return np.asarray(_restoration().denoise_nl_means(image[0], **settings))[None]
    return np.asarray(_restoration().denoise_nl_means(image, **settings, channel_axis=0))


def _restoration() -> Any:
    return library("skimage", "metrics").restoration


DENOISERS: tuple[Denoiser, ...] = (
    Denoiser("Gaussian blur", (0.5, 1, 1.5, 2, 3), "σ {:g} px", _gaussian),
    Denoiser("median filter", (3, 5, 7), "{0:g}×{0:g}", _median),
    Denoiser("Wiener filter", (3, 5, 7), "{0:g}×{0:g}", _wiener),
    Denoiser("total variation", (0.1, 0.2, 0.4, 0.8), "weight {:g}", _total_variation),
    Denoiser("non-local means", (0.4, 0.8, 1.6), "h = {:g} of the noise", _non_local_means),
)
