"""Preprocessing of a photograph in [0, 1] for a network, as modules in front of it.

It is spelled out ("resize 256 bicubic, center-crop 224, normalise imagenet"), or that of a library: the one a network
was published with, or the one of a ``preprocessor_config.json`` of transformers (see ``processors.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from ...errors import BlindspaceError, ShapeError, UnknownNameError, ValueRangeError
from ...maps import Shape, from_module
from ...maps.resizing.pytorch import NO_ANTIALIAS, TORCH_AXES
from ...maps.resizing.registry import LIBRARIES, modes
from ..preprocessing_modules import CentreCrop, ChannelsLast, FlipChannels, Multiply, Normalise, Resize
from .pictures import whole
from .processors import from_file
from .raw_model import RawModel, Steps

EXAMPLE = "'resize 256 bicubic, center-crop 224, normalise imagenet'"

OWN = ("timm", "torchvision", "hf")
"""Words for the preprocessing that a network of such a library was published with."""

STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation per channel, by name."""


def preprocessing(spec: str, source: RawModel, shape: Shape | None) -> Steps:
    """The preprocessing that a user specifies.

    Args:
        spec: "timm", "torchvision" or "hf" for the published preprocessing; a ``preprocessor_config.json`` or its
            folder; or spelled out.
        source: The network.
        shape: Shape of one photograph, which only the user knows; None if it was not given.

    Raises:
        UnknownNameError: The network was published with no such preprocessing, or a step has no such name.
        ShapeError: The shape is missing, or not that of an image.
        FileError: A config cannot be read, or requests what cannot be done here.
        ValueRangeError: A step has wrong numbers.
    """
    made = _made(spec, source)
    if shape is None:
        raise ShapeError(
            f"with a preprocessing, {source.name} needs the shape of the images: --input-shape 3x480x640 "
            "(input_shape=(3, 480, 640))"
        )
    if len(shape) != 3:
        raise ShapeError(f"the preprocessing reads images (channels, height, width), not the shape {shape}")
    return made(shape)


def _made(spec: str, source: RawModel) -> Callable[[Shape], Steps]:
    """The builder of a preprocessing."""
    if spec in OWN:
        if spec != source.kind or source.preprocessing is None:
            raise UnknownNameError(
                f"{source.name} was published with no preprocessing of {spec}; spell it out, such as {EXAMPLE}"
            )
        return source.preprocessing
    if Path(spec).suffix == ".json" or Path(spec).is_dir():
        return partial(whole, from_file(Path(spec)))
    steps = parse(spec)
    return lambda _: steps


def output_shape(steps: Steps, shape: Shape) -> Shape:
    """The shape of one preprocessed image.

    Raises:
        ShapeError: The preprocessing cannot read such an image; the message says why.
    """
    if not steps:
        return shape
    try:
        return from_module(nn.Sequential(*steps), shape).out_shape
    except BlindspaceError as error:
        raise ShapeError(f"the preprocessing cannot read an image of shape {shape}: {error}") from error


def parse(spec: str) -> Steps:
    """Steps spelled out, separated by commas.

    ======================================  ==============================================================
    ``resize 256 [MODE] [torch]``           the shorter side, aspect ratio kept; modes of ``Resize``
    ``resize 480x640 [no-antialias]``       height × width; Pillow's weights unless ``torch`` is given
    ``opencv resize 256 linear``            as another library resizes, named first or last, by its own mode
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
        if word in LIBRARIES and rest[:1] == ["resize"]:
            word, rest = "resize", [*rest[1:], word]
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
    _only(words, 8, "a size, and perhaps a library, one of its modes, no-antialias")
    size, named = _size(words[0]), [word for word in words[1:] if word in LIBRARIES]
    mode = " ".join(word for word in words[1:] if word not in LIBRARIES)
    if len(named) > 1:
        raise ValueError(f"give one library, not {' and '.join(named)}")
    if named and named[0] not in ("pil", "torch"):
        if not mode:
            raise ValueError(f"give one of the modes of {named[0]}: {', '.join(modes(named[0]))}")
        return Resize(size, mode, convention=named[0])
    antialias = NO_ANTIALIAS.strip() not in words
    mode = " ".join(word for word in mode.split() if word != NO_ANTIALIAS.strip()) or "bilinear"
    known = dict.fromkeys([*modes("pil"), *TORCH_AXES])
    if mode not in known:
        raise UnknownNameError(
            f"no resize mode is called {mode!r}; there are {', '.join([*known, *LIBRARIES, NO_ANTIALIAS.strip()])}"
        )
    convention = named[0] if named else "pil" if mode in modes("pil") and antialias else "torch"
    if convention == "pil" and not antialias:
        raise ValueError("Pillow always antialiases; give torch no-antialias")
    return Resize(size, mode, antialias, convention)


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
