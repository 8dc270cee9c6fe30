"""A learned perceptual distance: shift-tolerant LPIPS on an anti-aliased AlexNet (Ghildyal and Liu, ECCV 2022).

The weights, trained by others, come with the package stlpips-pytorch (BSD-2). They are read from its folder as data,
and the package itself is never imported: its import needs torchvision, IPython and torchsummary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import FileError, ShapeError, first_line
from ..extras import require

WEIGHTS = Path("weights") / "vST0.0" / "alex_shift_tolerant.pth"
"""Path of the weights inside the folder of the package."""

LEAST_SIDE = 32
"""Shortest side to which smaller images are enlarged, so that the last features have 4×4 positions.

The distance was fitted to judgements of 64×64 patches, but enlarging 32×32 images to that makes it blind to what
matters here: on 40 images of CIFAR-10, Gaussian noise of 0.1 then has 0.45 and another image altogether 0.43; as they
are, 0.12 and 0.37.
"""

CHUNK_BYTES = 1 << 24
"""Bytes of the first layer's values for the images of one pass."""

STAGES = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
"""Names of the convolutions in the file of weights."""

FAINT = 1e-16
"""Added to the squared length of features, so that the distance is differentiable where they vanish."""

PADDING = (2, 2, 1, 1, 1)
"""Padding of each convolution; the kernels are 11, 5, 3, 3 and 3 wide."""


def perceptual(images: Tensor, others: Tensor, *, chunk_bytes: int = CHUNK_BYTES) -> Tensor:
    """The distance of each pair of images, 0 for equal ones.

    d = Σ_l mean over positions of w_l · (f̂_l(x) − f̂_l(y))², where f̂_l are the features after the l-th of five
    convolutions, of unit length at each position, and w_l ≥ 0 weights fitted to judgements of people. Like every
    distance of its kind it weighs blur more than people do, and noise less.

    Args:
        images: ``(B, C, H, W)`` with C 1 or 3, floating point, in [0, 1]. If a side is below 32 they are enlarged
            bilinearly until the shorter one is 32. Grey counts as three equal channels.
        others: images of the same shape and range.
        chunk_bytes: bytes of the first layer's values for the images of one pass.

    Returns:
        float64 ``(B,)``, at least 0. The network itself runs in float32, as it was trained.

    Raises:
        ShapeError: the two differ in shape, or are no batches of images of one or three channels.
        MissingExtraError: stlpips-pytorch is not installed.
        FileError: its weights are missing or damaged.
    """
    if images.shape != others.shape or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ShapeError(
            "a perceptual distance needs two batches of images (B, 1 or 3, H, W) of one shape, got "
            f"{tuple(images.shape)} and {tuple(others.shape)}"
        )
    weights = _weights(images.device)
    height, width = _enlarged(*images.shape[2:])
    some = max(chunk_bytes // (2 * 4 * 64 * height * width), 1)
    parts = zip(images.split(some), others.split(some), strict=True)
    return torch.cat([_distance(weights, *part) for part in parts])


def distance_to(images: Tensor) -> Callable[[Tensor], Tensor]:
    """The perceptual distance to these images as a differentiable function.

    Args:
        images: ``(B, 1 or 3, H, W)`` in [0, 1], no side below 32.

    Returns:
        A function from images of the same shape to their distances, ``(B,)`` float32.

    Raises:
        ShapeError: a side is below 32.
        MissingExtraError: stlpips-pytorch is not installed.
        FileError: its weights are missing or damaged.
    """
    if min(images.shape[2:]) < LEAST_SIDE:
        raise ShapeError(
            f"the differentiable perceptual distance needs sides of at least {LEAST_SIDE}, got {tuple(images.shape)}"
        )
    weights = _weights(images.device)
    shape = (-1, 3, -1, -1)
    with torch.no_grad():
        known = [_directions(features) for features in _features(weights, images.float().expand(shape))]

    def distance(others: Tensor) -> Tensor:
        found = [_directions(features) for features in _features(weights, others.float().expand(shape))]
        total = torch.zeros(len(others), device=others.device)
        for index, (a, b) in enumerate(zip(known, found, strict=True)):
            total = total + F.conv2d((a - b).square(), weights[f"lin{index}.model.1.weight"]).mean((1, 2, 3))
        return total

    return distance


def _directions(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + FAINT).sqrt()


def _enlarged(height: int, width: int) -> tuple[int, int]:
    """The size at which an image of that size is compared."""
    scale = max(LEAST_SIDE / max(min(height, width), 1), 1)
    return round(height * scale), round(width * scale)


@torch.no_grad()
def _distance(weights: dict[str, Tensor], images: Tensor, others: Tensor) -> Tensor:
    pairs = torch.cat([images, others]).float()
    size = _enlarged(*pairs.shape[2:])
    if size != pairs.shape[2:]:
        pairs = F.interpolate(pairs, size, mode="bilinear", align_corners=False)
    total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for index, features in enumerate(_features(weights, pairs.expand(-1, 3, -1, -1))):
        total += stage_distance(weights, index, features)
    return total


def stage_distance(weights: dict[str, Tensor], stage: int, features: Tensor) -> Tensor:
    """Contribution of a stage with the features ``(2 B, C, H, W)`` to the distances of B pairs, float64 ``(B,)``."""
    # The formula of the package, with its constant against division by 0, so that the figures agree.
    first, second = (features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)).chunk(2)
    return F.conv2d((first - second).square(), weights[f"lin{stage}.model.1.weight"]).double().mean((1, 2, 3))


def normalised(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Pixels in [0, 1], normalised as the network was trained."""
    return (2 * pixels - 1 - weights["scaling_layer.shift"]) / weights["scaling_layer.scale"]


def _features(weights: dict[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """The rectified values of each of the five convolutions for images ``(B, 3, H, W)`` in [0, 1]."""
    x = normalised(weights, pixels)
    found = []
    for index, (name, padding) in enumerate(zip(STAGES, PADDING, strict=True)):
        if index in (1, 2):
            x = blur_pool(F.max_pool2d(x, 3, 1))
        x = F.conv2d(x, weights[f"net.{name}.weight"], weights[f"net.{name}.bias"], padding=padding)
        # Only the first stage is downsampled before it is rectified.
        x = F.relu(blur_pool(x) if index == 0 else x)
        found.append(x)
    return found


def blur_pool(x: Tensor) -> Tensor:
    """Every second value of ``(B, C, H, W)`` after a binomial blur; known as BlurPool (Zhang, ICML 2019)."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    blur = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), blur, stride=2, groups=x.shape[1])


def load_weights() -> None:
    """Read the weights now, so that what they lack is known before anything is computed.

    Raises:
        MissingExtraError: stlpips-pytorch is not installed.
        FileError: its weights are missing or damaged.
    """
    _weights(torch.device("cpu"))


@cache
def _weights(device: torch.device) -> dict[str, Tensor]:
    if device.type != "cpu":
        return {name: weight.to(device) for name, weight in _weights(torch.device("cpu")).items()}
    needed = [f"net.{name}.{part}" for name in STAGES for part in ("weight", "bias")]
    return read_weights(WEIGHTS, (*needed, *(f"lin{i}.model.1.weight" for i in range(len(STAGES)))))


def read_weights(file: Path, needed: Sequence[str]) -> dict[str, Tensor]:
    """Read weights from a file of the package.

    Args:
        file: path inside the folder of the package.
        needed: names of the weights; those that normalise the pixels are read too.

    Raises:
        MissingExtraError: the package is not installed.
        FileError: the file is missing or damaged.
    """
    require("stlpips_pytorch", "metrics", "the perceptual distance")
    found = find_spec("stlpips_pytorch")  # finds it without importing it
    if found is None or not found.submodule_search_locations:
        raise FileError("stlpips-pytorch is installed without its files; install it again")
    path = Path(found.submodule_search_locations[0]) / file
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
        return {name: read[name] for name in (*needed, "scaling_layer.shift", "scaling_layer.scale")}
    except Exception as error:  # torch raises anything for a damaged file
        raise FileError(
            f"cannot read the perceptual weights {path} ({first_line(error)}); "
            "pip install --force-reinstall stlpips-pytorch"
        ) from error
