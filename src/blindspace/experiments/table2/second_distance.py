"""A second perceptual distance, by another network, which no image was optimised for.

Shift-tolerant LPIPS on an anti-aliased VGG-16 instead of an AlexNet (Ghildyal & Liu 2022); its weights come with the
same package. Images optimised for one distance that are far in the other as well are not an artefact of the first.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ShapeError
from ...evidence.perceptual import LEAST_SIDE, blur_pool, normalised, read_weights, stage_distance

WEIGHTS = Path("weights") / "vST0.0" / "vgg_shift_tolerant.pth"
"""Path in the folder of the package stlpips-pytorch."""

STAGES = ((0, 2), (6, 8), (12, 14, 16), (20, 22, 24), (28, 30, 32))
"""Indices of the convolutions of each stage in the file of weights."""

AT_ONCE = 32
"""Number of pairs per batch."""


def second_perceptual(images: Tensor, others: Tensor) -> Tensor:
    """The distance of each pair of images, 0 for equal ones.

    Args:
        images: ``(B, 1 or 3, H, W)``, floating point, in [0, 1], no side below 32.
        others: Images of the same shape.

    Returns:
        float64 ``(B,)``; the network runs in float32, as it was trained.

    Raises:
        ShapeError: The shapes differ, or a side is below 32.
        MissingExtraError: stlpips-pytorch is not installed.
        FileError: Its weights are missing or damaged.
    """
    if images.shape != others.shape or min(images.shape[2:]) < LEAST_SIDE:
        raise ShapeError(
            f"pairs must have one shape with sides of at least {LEAST_SIDE}, got {tuple(images.shape)} and "
            f"{tuple(others.shape)}"
        )
    weights = {name: weight.to(images.device) for name, weight in _weights().items()}
    parts = zip(images.split(AT_ONCE), others.split(AT_ONCE), strict=True)
    return torch.cat([_distance(weights, *part) for part in parts])


@torch.no_grad()
def _distance(weights: dict[str, Tensor], images: Tensor, others: Tensor) -> Tensor:
    pairs = torch.cat([images, others]).float().expand(-1, 3, -1, -1)
    x = normalised(weights, pairs)
    total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for index, stage in enumerate(STAGES):
        x = blur_pool(F.max_pool2d(x, 2, 1)) if index else x
        for number in stage:
            name = f"net.slice{index + 1}.{number}"
            x = F.relu(F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1))
        total += stage_distance(weights, index, x)
    return total


@cache
def _weights() -> dict[str, Tensor]:
    names = [f"net.slice{index + 1}.{number}" for index, stage in enumerate(STAGES) for number in stage]
    needed = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    return read_weights(WEIGHTS, (*needed, *(f"lin{i}.model.1.weight" for i in range(len(STAGES)))))
