"""The cost of tangent bases, in decoder passes of the same batch and beside one backward pass per pixel.

The only published reproduction of the dimpled manifold model computes a Jacobian by one backward pass per pixel and
image (Karner 2022). Passes are measured next to what is compared with them, so that the load of the machine cancels.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..manifolds import Autoencoder
from ..manifolds.jacobian import columns
from ..networks import autoencoders
from ..networks.autoencoders import AUTOENCODERS
from ..subspaces import tangent_spaces
from .measure import BATCH, taken
from .memory import peak

PIXELS = 16
"""Backward passes that are measured; the time of all follows from their number."""


@dataclass(frozen=True)
class TangentRow:
    """One decoder, measured in float64 with random weights. Times are seconds, sizes are bytes.

    Attributes:
        decoder: Name of the autoencoder.
        latent: Number k of latent coordinates.
        pixels: Number n of values of an image.
        batch: Number of images.
        forward: Time of one decoder pass of the batch, median.
        jacobian: Time of all columns of all Jacobians.
        jacobian_passes: The same in decoder passes, median of the ratios.
        orthonormal: Time of the orthonormalisation.
        orthonormal_passes: The same in decoder passes.
        per_pixel: Time of one backward pass per pixel and image, extrapolated from ``PIXELS`` of one image.
        per_pixel_batched: Time of one backward pass per pixel for all images at once, extrapolated.
        faster: Jacobians by one backward pass per pixel and image over tangent bases, median of the ratios.
        faster_batched: The same with one backward pass per pixel for all images at once.
        peak: Largest growth of the process during the computation of the bases, these not counted.
        peak_double: The same for twice as many images.
        difference: Largest relative difference between the Jacobians of both ways.
    """

    decoder: str
    latent: int
    pixels: int
    batch: int
    forward: float
    jacobian: float
    jacobian_passes: float
    orthonormal: float
    orthonormal_passes: float
    per_pixel: float
    per_pixel_batched: float
    faster: float
    faster_batched: float
    peak: int
    peak_double: int
    difference: float


def tangents(name: str, batch: int = BATCH, repeats: int = 3, seed: int = 0) -> TangentRow:
    """Measure the tangent bases of one of the built-in autoencoders at random images.

    Args:
        name: A name of ``AUTOENCODERS``.
        batch: Number of images.
        repeats: Number of measurements.
        seed: Seed of weights and images.
    """
    manifold = _manifold(name, seed)
    decoder = manifold.decoder
    assert isinstance(decoder, nn.Module)
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(2 * batch, *manifold.shape, generator=draw, dtype=torch.float64)
    z = manifold.encode(x[:batch])
    k, n = z.shape[1], x[0].numel()
    peaks = []  # first, while nothing that was freed is left in the process
    for some in (x[:batch], x):
        with peak() as grown:
            spaces = manifold.tangent(some)
        peaks.append(max(grown.size - 8 * k * n * len(some), 0))
        del spaces
    figures: dict[str, list[float]] = {key: [] for key in _MEASURED}
    for _ in range(repeats):
        passes = [taken(lambda: decoder(z)) for _ in range(3)]
        found: list[Tensor] = []
        jacobian = taken(lambda found=found: found.append(columns(decoder, z)))  # type: ignore[misc]
        passes += [taken(lambda: decoder(z)) for _ in range(3)]
        orthonormal = taken(lambda found=found: tangent_spaces(found[0], x[:batch]))  # type: ignore[misc]
        one = taken(lambda: per_pixel(decoder, z[:1], PIXELS)) * n / PIXELS * batch
        every = taken(lambda: per_pixel(decoder, z, PIXELS)) * n / PIXELS
        forward = statistics.median(passes)
        values = (forward, jacobian, jacobian / forward, orthonormal, orthonormal / forward, one, every)
        ratios = (one / (jacobian + orthonormal), every / (jacobian + orthonormal))
        for key, value in zip(_MEASURED, (*values, *ratios), strict=True):
            figures[key].append(value)
    slow, fast = per_pixel(decoder, z, PIXELS), columns(decoder, z).flatten(2)[:, :, :PIXELS]
    difference = float((slow.permute(1, 2, 0) - fast).abs().max() / slow.abs().max())
    del slow, fast, found
    medians = {key: statistics.median(values) for key, values in figures.items()}
    return TangentRow(name, k, n, batch, **medians, peak=peaks[0], peak_double=peaks[1], difference=difference)


_MEASURED = (
    "forward",
    "jacobian",
    "jacobian_passes",
    "orthonormal",
    "orthonormal_passes",
    "per_pixel",
    "per_pixel_batched",
    "faster",
    "faster_batched",
)


def per_pixel(decoder: nn.Module, z: Tensor, pixels: int) -> Tensor:
    """The first rows of the Jacobians, one backward pass each, ``(pixels, B, k)``."""
    z = z.detach().requires_grad_()
    values = decoder(z).flatten(1).sum(0)
    return torch.stack([torch.autograd.grad(values[i], z, retain_graph=True)[0] for i in range(pixels)])


def _manifold(name: str, seed: int) -> Autoencoder:
    """An autoencoder with random weights, also where it starts with zeros, in float64."""
    known = AUTOENCODERS[name]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = known.build().double()
        assert isinstance(network, autoencoders.Autoencoder)
        for parameter in network.parameters():
            if not bool(parameter.any()):
                nn.init.normal_(parameter, std=0.02)
    return Autoencoder(network.encoder, network.decoder, known.input_shape, name)
