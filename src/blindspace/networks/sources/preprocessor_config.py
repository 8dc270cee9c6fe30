"""Preprocessing as transformers writes it down: a ``preprocessor_config.json``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...errors import FileError
from ..preprocessing_modules import CentreCrop, FlipChannels, Multiply, Normalise, Resize
from .source import Steps

CONFIG = "preprocessor_config.json"
EXAMPLE = "'resize 256 bicubic, center-crop 224, normalise imagenet'"

_PILLOW = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's numbers for its modes, from 0 on."""

_SHORTER_SIDE = "Bit|ChineseCLIP|CLIP|ConvNext|Levit|MobileNetV1|MobileNetV2|MobileViT|PoolFormer"
"""Processors for which a size of one number is the shorter side; for all others it is a square."""

_NOT_DONE = (
    "do_pad",
    "do_thumbnail",
    "do_align_long_axis",
    "do_crop_margin",
    "do_image_splitting",
    "do_split_image",
    "do_pan_and_scan",
    "do_grayscale",
    "do_color_quantize",
    "do_affine_transform",
    "rescale_offset",
    "include_top",
    "size_divisor",
)


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        FileError: it is missing or holds something else.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; give a {CONFIG}, or spell the preprocessing out: {EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} is damaged ({error}); give a {CONFIG}") from error
    if not isinstance(config, dict):
        raise FileError(f"{path} holds no JSON object; give a {CONFIG}")
    return config


def from_config(config: Mapping[str, Any], path: Path, normalise_only: bool = False) -> Steps:
    """The steps that a config of transformers asks for, in its order.

    Args:
        config: as read.
        path: for messages.
        normalise_only: leave the resize and the crop out.

    Raises:
        FileError: it is damaged, or asks for what is not done here; the message says for what.
    """
    refused = [key for key in _NOT_DONE if config.get(key)]
    if refused and not normalise_only:
        raise FileError(f"{path} asks for {', '.join(refused)}, which is not done here; spell the rest out: {EXAMPLE}")
    try:
        # In whatever order, channels reversed first are the same, and simpler to see through.
        flipped = (FlipChannels(),) if config.get("do_flip_channel_order") else ()
        return (*flipped, *(() if normalise_only else _moved(config)), *_normalised(config, bool(flipped)))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FileError(f"{path} cannot be read ({error}); spell the preprocessing out: {EXAMPLE}") from error


def _moved(config: Mapping[str, Any]) -> Steps:
    """Resize and crop."""
    steps: list[nn.Module] = []
    if config.get("do_resize"):
        mode = _PILLOW[int(config["resample"])]
        size = config["size"]
        kind = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
        if isinstance(size, int):
            size = {"shortest_edge": size} if re.match(_SHORTER_SIDE, kind) else {"height": size, "width": size}
        given = {key for key, value in size.items() if value}
        if given == {"height", "width"}:
            steps.append(Resize((int(size["height"]), int(size["width"])), mode, convention="pil"))
        elif given == {"shortest_edge"} and kind.startswith("ConvNext"):
            steps += _convnext(int(size["shortest_edge"]), float(config.get("crop_pct") or 224 / 256), mode)
        elif given == {"shortest_edge"}:
            steps.append(Resize(int(size["shortest_edge"]), mode, convention="pil"))
        else:
            raise ValueError(f"a size of {size}")
    if config.get("do_center_crop"):
        size = config["crop_size"]
        height, width = (size, size) if isinstance(size, int) else (size["height"], size["width"])
        steps.append(CentreCrop((int(height), int(width)), smaller_first=True))
    return tuple(steps)


def _convnext(side: int, share: float, mode: str) -> Steps:
    """ConvNeXt's own rule: small images are cropped, large ones warped."""
    if side >= 384:
        return (Resize((side, side), mode, convention="pil"),)
    return Resize(int(side / share), mode, convention="pil"), CentreCrop(side, smaller_first=True)


def _normalised(config: Mapping[str, Any], flipped: bool) -> Steps:
    steps: list[nn.Module] = []
    # Configs of old say nothing of the scale, which was always 1/255 then.
    factor = 255 * float(config.get("rescale_factor") or 1 / 255) if config.get("do_rescale", True) else 255.0
    if not math.isclose(factor, 1, rel_tol=1e-6):
        steps.append(Multiply(factor))
    if config.get("do_normalize"):
        order = -1 if flipped else 1
        steps.append(normalise(config["image_mean"][::order], config["image_std"][::order]))
    return tuple(steps)


def normalise(mean: Sequence[float], std: Sequence[float]) -> Normalise:
    """A ``Normalise`` of checked numbers.

    Raises:
        ValueError: the numbers are not as many, or a standard deviation is not positive.
    """
    means, stds = [float(value) for value in mean], [float(value) for value in std]
    if len(means) != len(stds) or not all(math.isfinite(s) and s > 0 for s in stds):
        raise ValueError(f"the means {means} and standard deviations {stds} must be as many, the latter positive")
    return Normalise(means, stds)
