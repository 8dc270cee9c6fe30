"""Preprocessing: what stands between a photograph in [0, 1] and what a network reads, as modules in front of it.

It is spelled out ("resize 256 bicubic, center-crop 224, normalise imagenet"), or read from a
``preprocessor_config.json`` as transformers writes it.

This is its meaning in real numbers. Programs that resize with Pillow, or on bytes, round each of the two passes of a
resize to eight bits and clip it to black and white. On photographs that is about 0.4 of 1/255 away (root mean square):
at most 1.0 for bilinear, and up to 30 at single edges for bicubic and lanczos, which overshoot and are clipped there.
What is harmless to the resize in real numbers is so for such a program only up to that rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from ...errors import BlindspaceError, ShapeError, UnknownNameError, ValueRangeError
from ...maps import Shape, from_module
from ...maps.resize import PIL_FILTERS, TORCH_AXES
from ..preprocessing_modules import CentreCrop, ChannelsLast, FlipChannels, Multiply, Resize
from .preprocessor_config import CONFIG, EXAMPLE, from_config, normalise, read_config
from .source import Source, Steps

OWN = ("timm", "torchvision", "hf")
"""Words for what a network of such a library came with."""

STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation by name."""


def preprocessing(spec: str, source: Source) -> Steps:
    """The preprocessing that a user asks for.

    Args:
        spec: "timm", "torchvision" or "hf" for what the network came with; a ``preprocessor_config.json`` or the
            folder of one; or spelled out.
        source: the network.

    Raises:
        UnknownNameError: a step or mode that does not exist, or the word of another library.
        ValueRangeError: a step with the wrong numbers.
        FileError: a config that is missing, damaged or asks for what is not done here.
    """
    if spec in OWN:
        if spec != source.kind or source.preprocessing is None:
            raise UnknownNameError(
                f"{source.name} came with no preprocessing of {spec}; spell it out, such as {EXAMPLE}"
            )
        return source.preprocessing()
    path = Path(spec)
    if path.suffix == ".json" or path.is_dir():
        path = path / CONFIG if path.is_dir() else path
        return from_config(read_config(path), path)
    return parse(spec)


def made_of(steps: Steps, shape: Shape) -> Shape:
    """The shape that a preprocessing makes of one image.

    Raises:
        ShapeError: it cannot read such an image; the message says why.
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
    """Steps spelled out, apart by commas.

    ======================================  ==============================================================
    ``resize 256 [MODE] [torch]``           the shorter side, the aspect ratio kept; modes as of ``Resize``
    ``resize 480x640 [no-antialias]``       height × width; Pillow's weights unless ``torch`` is said
    ``center-crop 224``, ``center-crop 224x160``
    ``pad 4 [reflect|replicate|circular]``  on every side
    ``scale 255``                           every value times that
    ``normalise imagenet``                  or clip, inception, or ``0.5 0.5 0.5 / 0.5 0.5 0.5`` (mean / std)
    ``bgr``, ``channels-last``              channels reversed; behind the pixels
    ======================================  ==============================================================

    Said first, ``bgr`` is easiest to see through: the solvers of resizes then serve what follows.

    Raises:
        UnknownNameError: no step or mode of that name.
        ValueRangeError: a step with the wrong numbers.
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
        raise ValueError(f"{word!r} is no number") from None
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
        raise ValueError("Pillow always antialiases; say torch no-antialias")
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
        raise ValueError("a factor of 0 leaves nothing")
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
            raise ValueError("it takes nothing more")
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
