"""What a library does to pictures before its network reads them, found out from the library's own code.

No option of any library is known here. What is done to each pixel by itself is measured on plain colours. The whole
preprocessing is followed as its code runs on real numbers, as any network's code is, and compared with what the same
code makes of a picture in bytes. What cannot be followed, or comes out otherwise, is refused.

The modules compute in real numbers. Libraries resize bytes: each of the two passes of a resize is rounded to eight bits
and clipped to black and white. On photographs the difference is about 0.4 of 1/255 (root mean square): at most 1.25 per
resize where nothing is clipped, as half a step of the first pass is multiplied by at most 1.5 in the second, and up to
30 at single edges for bicubic and lanczos, which overshoot and are clipped there. A perturbation that is harmless in
real numbers is harmless for such a program up to that rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...errors import BlindspaceError, FileError, first_line
from ...extras import require
from ...maps import Shape
from ..affine_graph import output_map
from ..following.recorder import record_module
from ..preprocessing_modules import AffineMap, FlipChannels, Multiply, Normalise
from .raw_model import Steps

ROUNDING = 2.5
"""Steps of 1/255 up to which bytes may differ from real numbers: 1.25 per resize, of which a few libraries do two."""

EXACT = 1e-4
"""Relative difference up to which two colours are the same, in float32."""

SIDE = 224
"""Side of the pictures of one colour, in pixels: a multiple of every usual size of patches."""

OTHERWISE = "spell the preprocessing out, such as 'resize 256 bicubic, center-crop 224, normalise imagenet'"


@dataclass(frozen=True)
class Pipeline:
    """The code that a library runs on pictures before its network reads them.

    Attributes:
        name: What it is called in messages.
        of_bytes: From a picture, uint8 ``(H, W, C)``, to what the network reads, with a first axis of one.
        of_levels: The same code on real numbers from 0 to 255, ``(C, H, W)``; None if it runs on bytes alone.
        axes: Number of axes of what the network reads, the first one of the batch left out.
        channels_at: Which of them holds the channels, counted from the last; they lie within the last one of patches.
        flipped: Whether ``of_levels`` leaves out that the channels are reversed, which is then done first: that is
            the same, and easier for the solvers.
        unmoved: Options of ``of_bytes`` that leave out what does not change a plain colour, to save time.
    """

    name: str
    of_bytes: Callable[..., Tensor]
    of_levels: Callable[[Tensor], Tensor] | None = None
    axes: int = 3
    channels_at: int = -3
    flipped: bool = False
    unmoved: Mapping[str, Any] = field(default_factory=dict)


def per_pixel(pipeline: Pipeline, channels: int) -> Steps:
    """What is done to every pixel by itself, such as mean and standard deviation, for images in [0, 1].

    Args:
        pipeline: The code of the library.
        channels: Number of channels of a picture.

    Raises:
        FileError: The code refuses pictures, or does more to their colours than an affine map.
    """
    if pipeline.unmoved:
        try:
            alone = partial(pipeline.of_bytes, **pipeline.unmoved)
            return per_pixel(replace(pipeline, of_bytes=alone, unmoved={}), channels)
        except FileError:
            pass  # The code needs the steps that were left out.
    units = [[0] * channels, *np.diag([255] * channels).tolist()]
    others = np.random.default_rng(0).integers(0, 256, (3, channels)).tolist()
    black, *columns = [_colour(pipeline, colour) for colour in units]
    matrix = torch.stack([column - black for column in columns], -1)
    largest = float(torch.stack([black.abs().max(), matrix.abs().max()]).max())
    for colour in others:
        expected = black + matrix @ torch.tensor(colour, dtype=torch.float64) / 255
        if not bool(((_colour(pipeline, colour) - expected).abs() <= EXACT * largest).all()):
            raise FileError(f"{pipeline.name} does more to colours than an affine map; {OTHERWISE}")
    return _of_colours(matrix, black, pipeline)


def _colour(pipeline: Pipeline, colour: list[int]) -> Tensor:
    """What one plain colour becomes, float64: one value per channel, or per number of a patch."""
    picture = np.empty((SIDE, SIDE, len(colour)), np.uint8)
    picture[:] = colour
    found = run(pipeline, pipeline.of_bytes, picture).double()
    if found.ndim <= pipeline.axes:
        raise FileError(f"{pipeline.name} makes patches of images, which its network does not read; {OTHERWISE}")
    if pipeline.channels_at == -1:
        return found.reshape(-1, found.shape[-1])[0]
    # The middle of an image, or of its first tile or frame, is never padding.
    column = found.movedim(pipeline.channels_at, -3)[..., found.shape[-2] // 2, found.shape[-1] // 2]
    return column.reshape(-1, column.shape[-1])[0]


def _of_colours(matrix: Tensor, black: Tensor, pipeline: Pipeline) -> Steps:
    """The modules of the map c ↦ matrix c + black of colours in [0, 1]."""
    used = matrix.abs() > EXACT * matrix.abs().max()
    if not bool((used.sum(1) == 1).all()):
        raise FileError(f"{pipeline.name} mixes the channels of colours, or drops one; {OTHERWISE}")
    source, gain = used.double().argmax(1), matrix.sum(1)
    order, plain = source.tolist(), list(range(matrix.shape[1]))
    flipped = order == plain[::-1] != plain
    if order != plain and not flipped and pipeline.channels_at != -1:
        raise FileError(f"{pipeline.name} puts the channels in the order {order}; {OTHERWISE}")
    mean, std = (0.0 - black / gain, 1 / gain)
    done = bool((mean == 0).all() and (std == 1).all())
    steps: Steps = () if done else (Normalise(mean.tolist(), std.tolist(), pipeline.channels_at),)
    return (FlipChannels(), *steps) if flipped else steps


def whole(pipeline: Pipeline, shape: Shape) -> Steps:
    """The whole preprocessing of photographs in [0, 1].

    Args:
        pipeline: The code of the library.
        shape: Shape of one photograph, (channels, height, width).

    Raises:
        FileError: The code refuses such a photograph, is not affine, or does something else to bytes.
        MissingExtraError: torchvision is not installed, without which the code reads bytes alone.
    """
    if pipeline.of_levels is None:
        require("torchvision", "hf", pipeline.name)  # without it, transformers has processors of another kind
        raise FileError(f"{pipeline.name} reads bytes alone, and cannot be followed; {OTHERWISE}")
    picture = photograph(shape)
    theirs = run(pipeline, pipeline.of_bytes, picture).double()
    if pipeline.axes > 3 or theirs.ndim != pipeline.axes + 1:
        made = " × ".join(map(str, theirs.shape[1:]))
        raise FileError(f"{pipeline.name} makes {made} of one image, which its network does not read; {OTHERWISE}")
    code = _Code(pipeline.of_levels, tuple(theirs.shape[1:]))
    try:
        operator = output_map(record_module(code, shape, torch.float32, pipeline.name).graph)
        constant = run(pipeline, code, torch.zeros(1, *shape))[0]
    except BlindspaceError as error:
        raise FileError(f"{first_line(error)}; {OTHERWISE}") from error
    if operator is None:
        raise FileError(f"{pipeline.name} is not affine in the values of pixels; {OTHERWISE}")
    first = (FlipChannels(),) if pipeline.flipped else ()
    steps = *first, Multiply(255.0), AffineMap(operator, constant)
    pixels = torch.from_numpy(picture.transpose(2, 0, 1) / 255)
    ours = nn.Sequential(*steps)(pixels[None])
    step = operator.forward(torch.ones(1, *shape, dtype=torch.float64)).abs()  # a step of 1/255 in every channel
    away = float(((ours - theirs).abs() - EXACT * theirs.abs().max()).max() / step.max())
    if not away <= ROUNDING:
        raise FileError(
            f"{pipeline.name} makes something else of bytes than of real numbers: {away:.3g}/255; {OTHERWISE}"
        )
    return steps


def photograph(shape: Shape) -> Any:
    """A smooth picture, uint8 ``(H, W, C)``, far enough from black and white that no resize is clipped."""
    channels, height, width = shape
    coarse = [max(2, min(24, n // 12)) for n in (width, height)]
    generator = np.random.default_rng(0)
    each = [Image.fromarray(generator.integers(70, 186, coarse[::-1], dtype=np.uint8)) for _ in range(channels)]
    return np.stack([np.asarray(channel.resize((width, height), Image.Resampling.BICUBIC)) for channel in each], -1)


def as_image(picture: Any) -> Any:
    """A picture, uint8 ``(H, W, C)``, of one or three channels as an image of Pillow."""
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def run(pipeline: Pipeline, code: Callable[[Any], Tensor], given: Any) -> Tensor:
    """Code of a library on one picture.

    Raises:
        FileError: The code raises whatever it may.
    """
    try:
        with torch.no_grad():
            return code(given)
    except BlindspaceError:
        raise
    except Exception as error:
        raise FileError(f"{pipeline.name} cannot be applied ({first_line(error)}); {OTHERWISE}") from error


class _Code(nn.Module):
    """The code of a library on real numbers from 0 to 255, as a module that can be followed."""

    def __init__(self, of_levels: Callable[[Tensor], Tensor], shape: Shape) -> None:
        super().__init__()
        self.of_levels, self.shape = of_levels, shape

    def forward(self, x: Tensor) -> Tensor:
        """One photograph ``(1, C, H, W)`` to what the network reads, ``(1, *shape)``."""
        return self.of_levels(x[0]).reshape(1, *self.shape)
