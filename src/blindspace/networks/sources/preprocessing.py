"""Preprocessing of a photograph in [0, 1] for a network, as modules in front of it.

It is spelled out ("resize 256 bicubic, center-crop 224, normalise imagenet"), or read from a
``preprocessor_config.json`` of transformers.

The modules compute in real numbers. Programs that resize with Pillow, or on bytes, round each of the two passes of a
resize to eight bits and clip it to black and white. On photographs the difference is about 0.4 of 1/255 (root mean
square): at most 1.0 for bilinear, and up to 30 at single edges for bicubic and lanczos, which overshoot and are
clipped there. A perturbation that is harmless in real numbers is harmless for such a program up to that rounding.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...errors import BlindspaceError, FileError, ShapeError, UnknownNameError, ValueRangeError
from ...maps import Shape, from_module
from ...maps.resize import PIL_FILTERS, TORCH_AXES
from ..preprocessing_modules import CentreCrop, ChannelsLast, FlipChannels, Multiply, Normalise, Resize
from .raw_model import RawModel, Steps

CONFIG = "preprocessor_config.json"
EXAMPLE = "'resize 256 bicubic, center-crop 224, normalise imagenet'"

OWN = ("timm", "torchvision", "hf")
"""Words for the preprocessing that a network of such a library was published with."""

STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation per channel, by name."""


def preprocessing(spec: str, source: RawModel) -> Steps:
    """The preprocessing that a user specifies.

    Args:
        spec: "timm", "torchvision" or "hf" for the published preprocessing; a ``preprocessor_config.json`` or its
            folder; or spelled out.
        source: The network.
    """
    if spec in OWN:
        if spec != source.kind or source.preprocessing is None:
            raise UnknownNameError(
                f"{source.name} was published with no preprocessing of {spec}; spell it out, such as {EXAMPLE}"
            )
        return source.preprocessing()
    path = Path(spec)
    if path.suffix == ".json" or path.is_dir():
        path = path / CONFIG if path.is_dir() else path
        return from_config(read_config(path), path)
    return parse(spec)


def output_shape(steps: Steps, shape: Shape) -> Shape:
    """The shape of one preprocessed image.

    Raises:
        ShapeError: The preprocessing cannot read such an image; the message says why.
    """
    if not steps:
        return shape
    if len(shape) != 3:
        raise ShapeError(f"the preprocessing reads images (channels, height, width), not the shape {shape}")
    try:
        return from_module(nn.Sequential(*steps), shape).out_shape
    except BlindspaceError as error:
        raise ShapeError(f"the preprocessing cannot read an image of shape {shape}: {error}") from error


def parse(spec: str) -> Steps:
    """Steps spelled out, separated by commas.

    ======================================  ==============================================================
    ``resize 256 [MODE] [torch]``           the shorter side, aspect ratio kept; modes of ``Resize``
    ``resize 480x640 [no-antialias]``       height × width; Pillow's weights unless ``torch`` is given
    ``center-crop 224``, ``center-crop 224x160``
    ``pad 4 [reflect|replicate|circular]``  on every side
    ``scale 255``                           every value times the factor
    ``normalise imagenet``                  or clip, inception, or ``0.5 0.5 0.5 / 0.5 0.5 0.5`` (mean / std)
    ``bgr``, ``channels-last``              channels reversed; moved to the last axis
    ======================================  ==============================================================

    ``bgr`` is best given first: then the solvers for resizes serve the remaining steps.

    Raises:
        UnknownNameError: No step or mode has that name.
        ValueRangeError: A step has wrong numbers.
    """
    steps = []
    for part in spec.split(","):
        word, *rest = part.lower().replace("=", " ").split() or [""]
        if word not in _STEPS:
            raise UnknownNameError(
                f"no preprocessing step is called {word!r}; there are {', '.join(_STEPS)}: {EXAMPLE}"
            )
        try:
            steps.append(_STEPS[word](rest))
        except ValueError as error:
            raise ValueRangeError(f"the preprocessing step {part.strip()!r} cannot be read: {error}") from error
    return tuple(steps)


def _size(word: str) -> int | tuple[int, int]:
    """One number, or height × width."""
    numbers = [int(n) for n in word.split("x")] if re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", word) else []
    if not numbers:
        raise ValueError(f"a size is a whole number or HEIGHTxWIDTH, not {word!r}")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{word!r} is not finite")
    return number


def _only(words: Sequence[str], most: int, what: str) -> None:
    if not words or len(words) > most:
        raise ValueError(f"give {what}")


def _resize(words: list[str]) -> nn.Module:
    _only(words, 4, "a size, and perhaps a mode, torch or pil, no-antialias")
    mode, convention, antialias = "bilinear", "", True
    for word in words[1:]:
        if word in PIL_FILTERS or word in TORCH_AXES:
            mode = word
        elif word in ("torch", "pil"):
            convention = word
        elif word == "no-antialias":
            antialias = False
        else:
            known = ", ".join(dict.fromkeys([*PIL_FILTERS, *TORCH_AXES]))
            raise UnknownNameError(f"no resize mode is called {word!r}; there are {known}, torch, pil, no-antialias")
    if not convention:
        convention = "pil" if mode in PIL_FILTERS and antialias else "torch"
    if convention == "pil" and not antialias:
        raise ValueError("Pillow always antialiases; give torch no-antialias")
    return Resize(_size(words[0]), mode, antialias, convention)


def _crop(words: list[str]) -> nn.Module:
    _only(words, 1, "one size")
    return CentreCrop(_size(words[0]))


def _pad(words: list[str]) -> nn.Module:
    _only(words, 2, "a number of pixels, and perhaps a mode")
    kinds: dict[str, type[nn.Module]] = {
        "zeros": nn.ZeroPad2d,
        "reflect": nn.ReflectionPad2d,
        "replicate": nn.ReplicationPad2d,
        "circular": nn.CircularPad2d,
    }
    mode = words[1] if len(words) > 1 else "zeros"
    amount = _size(words[0])
    if mode not in kinds or not isinstance(amount, int):
        raise ValueError(f"give one number of pixels, and one of {', '.join(kinds)}")
    return kinds[mode](amount)


def _scale(words: list[str]) -> nn.Module:
    _only(words, 1, "one factor")
    factor = _number(words[0])
    if factor == 0:
        raise ValueError("a factor of 0 maps every image to 0")
    return Multiply(factor)


def _normalise(words: list[str]) -> nn.Module:
    if len(words) == 1 and words[0] in STATISTICS:
        return normalise(*STATISTICS[words[0]])
    mean, slash, std = " ".join(words).partition("/")
    means, stds = [[_number(word) for word in part.split()] for part in (mean, std)]
    if not slash or not means or not stds:
        raise ValueError(f"give {', '.join(STATISTICS)}, or means / standard deviations")
    return normalise(means, stds)


def _plain(kind: Callable[[], nn.Module]) -> Callable[[list[str]], nn.Module]:
    def step(words: list[str]) -> nn.Module:
        if words:
            raise ValueError("it takes no argument")
        return kind()

    return step


_STEPS: dict[str, Callable[[list[str]], nn.Module]] = {
    "resize": _resize,
    "center-crop": _crop,
    "centre-crop": _crop,
    "pad": _pad,
    "scale": _scale,
    "normalise": _normalise,
    "normalize": _normalise,
    "bgr": _plain(FlipChannels),
    "channels-last": _plain(ChannelsLast),
}


# --- the configuration of transformers ---------------------------------------------------------------------------

_PILLOW = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's modes in the order of their numbers, from 0."""

_SHORTER_SIDE = "Bit|ChineseCLIP|CLIP|ConvNext|Levit|MobileNetV1|MobileNetV2|MobileViT|PoolFormer"
"""Processors for which a size of one number is the shorter side; for all others it is the side of a square."""

_NOT_DONE = (
    "do_pad", "do_thumbnail", "do_align_long_axis", "do_crop_margin", "do_image_splitting", "do_split_image",
    "do_pan_and_scan", "do_grayscale", "do_color_quantize", "do_affine_transform", "rescale_offset", "include_top",
    "size_divisor",
)  # fmt: skip
"""Keys of steps that are not supported."""


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        FileError: The file is missing or contains something else.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; give a {CONFIG}, or spell the preprocessing out: {EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} is damaged ({error}); give a {CONFIG}") from error
    if not isinstance(config, dict):
        raise FileError(f"{path} contains no JSON object; give a {CONFIG}")
    return config


def from_config(config: Mapping[str, Any], path: Path, normalise_only: bool = False) -> Steps:
    """The steps that a config of transformers specifies, in its order.

    Args:
        config: Content of the file.
        path: Path of the file in messages.
        normalise_only: Whether to omit the resize and the crop.

    Raises:
        FileError: The config is damaged, or requests something that is not supported.
    """
    refused = [key for key in _NOT_DONE if config.get(key)]
    if refused and not normalise_only:
        raise FileError(f"{path} requests {', '.join(refused)}, which is not supported; spell the rest out: {EXAMPLE}")
    try:
        # Reversing the channels first is equivalent in any order, and easier for the solvers.
        flipped = (FlipChannels(),) if config.get("do_flip_channel_order") else ()
        return (*flipped, *(() if normalise_only else _moved(config)), *_normalised(config, bool(flipped)))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FileError(f"{path} cannot be read ({error}); spell the preprocessing out: {EXAMPLE}") from error


def _moved(config: Mapping[str, Any]) -> Steps:
    """The resize and the crop."""
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
    """The rule of ConvNeXt: small images are cropped, large ones warped."""
    if side >= 384:
        return (Resize((side, side), mode, convention="pil"),)
    return Resize(int(side / share), mode, convention="pil"), CentreCrop(side, smaller_first=True)


def _normalised(config: Mapping[str, Any], flipped: bool) -> Steps:
    steps: list[nn.Module] = []
    # Old configs do not state the scale, which was always 1/255.
    factor = 255 * float(config.get("rescale_factor") or 1 / 255) if config.get("do_rescale", True) else 255.0
    if not math.isclose(factor, 1, rel_tol=1e-6):
        steps.append(Multiply(factor))
    if config.get("do_normalize"):
        order = -1 if flipped else 1
        steps.append(normalise(config["image_mean"][::order], config["image_std"][::order]))
    return tuple(steps)


def normalise(mean: Sequence[float], std: Sequence[float]) -> Normalise:
    """A ``Normalise`` with checked numbers.

    Raises:
        ValueError: The numbers of means and standard deviations differ, or a standard deviation is not positive.
    """
    means, stds = [float(value) for value in mean], [float(value) for value in std]
    if len(means) != len(stds) or not all(math.isfinite(s) and s > 0 for s in stds):
        raise ValueError(
            f"the means {means} and standard deviations {stds} must be equally many, and the latter positive"
        )
    return Normalise(means, stds)
