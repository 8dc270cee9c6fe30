"""Gaussian prior of natural images by the power spectrum of photographs.

The spectrum of natural images falls as a power of the spatial frequency, whatever their scale (Field, Relations between
the statistics of natural images and the response properties of cortical cells, 1987), and their colours decorrelate
into lightness, blue against yellow and red against green (Ruderman, Cronin and Chiao, Statistics of cone responses to
natural images, 1998). The cosine transform takes the place of the Fourier transform, so that opposite edges are
not neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch
from torch import Tensor

from .._html import Shown
from ..errors import ShapeError, ValueRangeError

Array = npt.NDArray[np.float64]

CORNER = 0.5
"""Corner frequency in periods per image; the spectrum is flat below it."""

OPPONENT = {
    1: np.ones((1, 1)),
    3: np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]]),
}
"""Orthonormal opponent axes of colour, one per row: lightness, and for three channels blue–yellow and red–green."""

ROUNDING = 1 / (12 * 255**2)
"""Variance of the error of rounding a value to 8 bits."""

BANDS = 16
"""Number of rings of frequencies that a spectrum is fitted to, of equal width on a logarithmic scale."""


@dataclass(frozen=True)
class Prior(Shown):
    """A Gaussian distribution of images x with one mean colour and a stationary covariance Σ.

    Along the colour axis c a coefficient of the orthonormal cosine transform at frequency f (cycles per pixel) has the
    variance amplitude[c] · (f² + f₀²)^(−exponent[c] / 2), f₀ = ``CORNER`` / √(H W).

    Attributes:
        mean: mean of each channel, in [0, 1].
        amplitude: variance at one cycle per pixel for each axis of ``OPPONENT``, above 0.
        exponent: exponent of each axis, at least 0.

    Raises:
        ValueRangeError: the number of channels is neither 1 nor 3, or a number is out of range.
    """

    mean: tuple[float, ...]
    amplitude: tuple[float, ...]
    exponent: tuple[float, ...]

    def __post_init__(self) -> None:
        counts = {len(self.mean), len(self.amplitude), len(self.exponent)}
        finite = all(np.isfinite([*self.mean, *self.amplitude, *self.exponent]))
        if len(counts) != 1 or not counts <= set(OPPONENT) or not finite or min(self.amplitude) <= 0:
            raise ValueRangeError(
                "a prior needs mean, amplitude (above 0) and exponent of 1 or 3 channels, got "
                f"{self.mean}, {self.amplitude} and {self.exponent}"
            )
        if min(self.exponent) < 0:
            raise ValueRangeError(
                f"the spectrum of a prior must not rise with frequency, got the exponents {self.exponent}"
            )

    @classmethod
    def of(cls, shape: Sequence[int]) -> Prior:
        """The default prior of images of that shape, ``NATURAL`` or ``NATURAL_GREY``.

        Raises:
            ShapeError: the shape is not (1 or 3, H, W).
        """
        if len(shape) != 3 or shape[0] not in OPPONENT:
            raise ShapeError(
                f"the prior of natural images serves the shapes (1 or 3, H, W), got {tuple(shape)}; give your own"
            )
        return NATURAL if shape[0] == 3 else NATURAL_GREY

    @classmethod
    def fit(cls, images: Tensor) -> Prior:
        """Fit a prior to images: the mean colour, and the least-squares line of log power against log frequency.

        No power is taken to be less than that of rounding errors, as in the colours of greyscale images.

        Args:
            images: ``(B, 1 or 3, H, W)`` in [0, 1]; some dozens are enough.

        Raises:
            ShapeError: the images have another shape, or fewer than 4×4 pixels.
            ValueRangeError: there is no image, a value is not finite, or none has detail.
        """
        if images.ndim != 4 or images.shape[1] not in OPPONENT or min(images.shape[2:]) < 4:
            raise ShapeError(f"a prior is fitted to images (B, 1 or 3, H ≥ 4, W ≥ 4), got {tuple(images.shape)}")
        if not len(images) or not bool(images.isfinite().all()):
            raise ValueRangeError(f"a prior is fitted to finite images, got {len(images)} of them")
        x = images.double()
        mean = x.mean((0, 2, 3))
        power = np.square(_coefficients(x - mean.view(-1, 1, 1))).mean(0)
        frequency = np.log(_frequency(images.shape[2:])).flatten()[1:]  # all but frequency 0
        edges = np.linspace(frequency.min(), frequency.max(), BANDS + 1)[1:-1]
        ring = np.digitize(frequency, edges)
        count = np.bincount(ring)
        centre = (np.bincount(ring, frequency) / count.clip(1))[count > 0]
        lines = []
        for number, axis in enumerate(power.reshape(len(power), -1)[:, 1:]):
            energy = (np.bincount(ring, axis) / count.clip(1))[count > 0]
            if number == 0 and not (energy > ROUNDING).any():
                raise ValueRangeError("a prior is fitted to images with some detail; these have none")
            lines.append(np.polyfit(centre, np.log(energy.clip(ROUNDING)), 1))
        slope, level = np.transpose(lines)
        return cls(tuple(mean.tolist()), tuple(np.exp(level).tolist()), tuple((-slope).clip(0).tolist()))

    def precision(self, v: Tensor) -> Tensor:
        """Apply the precision matrix: Σ⁻¹ v.

        Args:
            v: deviations from the mean, ``(B, C, H, W)``, float32 or float64.

        Raises:
            ShapeError: v has another number of channels than the prior.
        """
        self._check(v)
        return scaled(v, 1 / self.variance(v.shape[2:]))

    def covariance(self, v: Tensor, rise: float = 0.0) -> Tensor:
        """Apply the covariance matrix: Σ v, or (Σ⁻¹ + rise · I)⁻¹ v; shapes as for ``precision``."""
        self._check(v)
        return scaled(v, 1 / (1 / self.variance(v.shape[2:]) + rise))

    def centred(self, images: Tensor) -> Tensor:
        """The deviations from the mean x − μ, ``(B, C, H, W)``."""
        self._check(images)
        return images - torch.tensor(self.mean, dtype=images.dtype, device=images.device).view(-1, 1, 1)

    def energy(self, images: Tensor) -> Tensor:
        """The energy (x − μ)ᵀ Σ⁻¹ (x − μ), ``(B,)``; n on average for images drawn from the prior."""
        deviation = self.centred(images)
        return (deviation * self.precision(deviation)).flatten(1).sum(1)

    def sample(self, n: int, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Images drawn from the prior, float64 ``(n, C, H, W)``; they may leave [0, 1]."""
        noise = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
        noise = scaled(noise, np.sqrt(self.variance(shape[1:])))
        return noise - self.centred(torch.zeros_like(noise))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    def _check(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            raise ShapeError(f"this prior serves images (B, {len(self.mean)}, H, W), got {tuple(images.shape)}")

    def variance(self, size: Sequence[int]) -> Array:
        """The variance of each coefficient of the cosine transform of images of size (H, W), ``(C, H, W)``."""
        frequency = _frequency(size)
        return np.stack([a * frequency**-e for a, e in zip(self.amplitude, self.exponent, strict=True)])


NATURAL = Prior(mean=(0.5, 0.49, 0.455), amplitude=(7.6e-4, 2.9e-5, 9.6e-6), exponent=(2.5, 2.5, 2.5))
"""Mean and amplitudes are those of the 200 embedded images of CIFAR-10 at this exponent. Fitted, the exponents are 3.0
to 3.4 there, and 1.8 to 2.8 in four photographs of scikit-image (astronaut, coffee, chelsea, rocket)."""

NATURAL_GREY = Prior(mean=NATURAL.mean[1:2], amplitude=NATURAL.amplitude[:1], exponent=NATURAL.exponent[:1])
"""The lightness of ``NATURAL``."""


def _frequency(size: Sequence[int]) -> Array:
    """√(f² + f₀²) of each cosine in cycles per pixel, ``(H, W)``."""
    rows, columns = (np.arange(n) / (2 * n) for n in size)
    return np.sqrt(rows[:, None] ** 2 + columns**2 + CORNER**2 / (size[0] * size[1]))


def _coefficients(v: Tensor) -> Array:
    """Cosine transform along the opponent axes, ``(B, C, H, W)``, in the precision of v."""
    axes = torch.from_numpy(OPPONENT[v.shape[1]]).to(v.dtype)
    along = torch.einsum("ac,bchw->bahw", axes, v.detach().cpu())
    return np.asarray(scipy.fft.dctn(along.numpy(), axes=(2, 3), norm="ortho"))


def _images(coefficients: Array, like: Tensor) -> Tensor:
    along = torch.from_numpy(scipy.fft.idctn(coefficients, axes=(2, 3), norm="ortho"))
    axes = torch.from_numpy(OPPONENT[along.shape[1]]).to(along.dtype)
    return torch.einsum("ac,bahw->bchw", axes, along).to(like)


def scaled(v: Tensor, factors: Array) -> Tensor:
    """``(B, C, H, W)`` with each coefficient of its cosine transform along the opponent axes times a factor."""
    coefficients = _coefficients(v)
    return _images(coefficients * factors.astype(coefficients.dtype, copy=False), v)
