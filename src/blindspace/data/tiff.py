"""What a TIFF says of its values (TIFF 6.0, 1992): how many bits, which numbers, their range, and whether 0 is white.

Pillow and tifffile return the stored numbers, and each applies some of these statements to some files only.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from ..errors import FileError
from .pixel_range import normalised

_BIG_ENDIAN_BIGTIFF = b"MM\x00+"
SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", _BIG_ENDIAN_BIGTIFF)

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, 3: 1, 5: 4, 6: 3, 8: 3}
"""Number of colours of each photometric interpretation that is read: also palette, CMYK, YCbCr and CIELab."""

_YCBCR = 6

_OF_PILLOW = (3, 5, _YCBCR, 8)
"""Those of them that Pillow alone converts to RGB."""

Numbers = Literal["unsigned", "signed", "float"]
_NUMBERS: dict[Any, Numbers] = {1: "unsigned", 2: "signed", 3: "float"}

_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError,
           ValueError, struct.error)  # fmt: skip


@dataclass(frozen=True)
class Values:
    """The statements of a TIFF's first page about its values, of which a picture can be made.

    Attributes:
        bits: Number of bits per value.
        numbers: Whether they are ``unsigned`` or ``signed`` integers, or ``float``.
        photometric: Code of the colour space.
        samples: Number of values per pixel, transparency included.
        premultiplied: Whether the colours are multiplied by the last value, the opacity.
        planar: Whether each colour is stored as a picture of its own.
        swapped: Whether the values are compressed and big-endian.
        low, high: The values that stand for 0 and 1, or for 1 and 0 where 0 is white.
    """

    bits: int
    numbers: Numbers
    photometric: int
    samples: int
    premultiplied: bool
    planar: bool
    swapped: bool
    low: float
    high: float

    @property
    def colours(self) -> int:
        """Number of values per pixel that are not transparency."""
        return _COLOURS[self.photometric]

    @property
    def only_pillow(self) -> bool:
        """Whether only Pillow converts these colours."""
        return self.photometric in _OF_PILLOW

    def normalised(self, stored: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
        """Colours in [0, 1], 1 being white.

        Args:
            stored: Numbers as they are in the file, any shape.
            name: Name of the file in messages.

        Raises:
            FileError: A number lies outside the range, or is none.
        """
        share = normalised(stored, self.low, self.high, name)
        return 1 - share if self.photometric == WHITE_IS_ZERO else share


def needs_tifffile(content: bytes, values: Values) -> bool:
    """Whether Pillow cannot read this TIFF, or would return other numbers than the file's."""
    if values.only_pillow:
        return False
    most = {"unsigned": 8 if values.samples > 1 else 16, "signed": 0, "float": 0 if values.samples > 1 else 32}
    apart = values.planar and (values.samples > values.colours or values.bits > 8)
    if apart or values.bits > most[values.numbers]:
        return True
    if content[:4] == _BIG_ENDIAN_BIGTIFF or (values.numbers == "float" and values.swapped):
        return True  # Pillow 13 takes the bytes of floats that libtiff has swapped for big-endian ones.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Damage is reported later.
            Image.open(BytesIO(content), formats=("TIFF",)).close()
    except UnidentifiedImageError:
        return True  # Pillow does not know this combination of depth, colours and transparency.
    except (Image.DecompressionBombError, *_DAMAGE):
        return False  # It says better what is wrong.
    return False


def values(content: bytes, name: str) -> Values:
    """Read what the first page of a TIFF says of its values.

    Args:
        content: Bytes of a file that begins with one of ``SIGNATURES``.
        name: Name of the file in messages.

    Raises:
        FileError: The file is damaged, or holds numbers or colours of which no picture can be made.
    """
    tags = _tags(content, name)
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    if photometric is None:
        raise FileError(f"{name} is damaged, or does not say whether 0 is black or white; save it as PNG")
    if photometric not in _COLOURS:
        raise FileError(
            f"{name} holds colours of the TIFF type {photometric}, which is not read; save it in RGB or grey"
        )
    bits, formats = (_tuple(tags, tag, 1) for tag in (TiffImagePlugin.BITSPERSAMPLE, TiffImagePlugin.SAMPLEFORMAT))
    samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, len(bits))
    extra = _tuple(tags, TiffImagePlugin.EXTRASAMPLES)
    if not isinstance(samples, int) or len(set(bits)) != 1 or len(set(formats)) != 1:
        raise FileError(f"{name} holds values of {bits} bits and formats {formats}; save it with 8 or 16 bits for each")
    depth, colours = bits[0], _COLOURS[photometric]
    numbers = _NUMBERS.get(formats[0])
    if numbers is None or not isinstance(depth, int) or depth < 1:
        raise FileError(f"{name} holds values that are no integers or floats; save it with 8 or 16 bits per value")
    if not colours <= samples <= colours + 1 and not (photometric in _OF_PILLOW or depth == 8):
        raise FileError(f"{name} holds {samples} values per pixel where {colours} are colours; save it in RGB or grey")
    low, high = _range(tags, depth, numbers, name)
    compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
    if (compression in _JPEG and depth > 8) or (compression in _WITHOUT_PREDICTOR and tags.get(_PREDICTOR, 1) != 1):
        raise FileError(f"{name} is compressed in a way that programs read differently; save it without compression")
    if photometric == _YCBCR and compression == 1 and int(PIL.__version__.split(".")[0]) < 13:
        raise FileError(
            f"{name} holds YCbCr colours without compression, which Pillow {PIL.__version__} reads as RGB; install "
            "Pillow 13 or newer, or save it in RGB"
        )
    planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2
    swapped = content[:2] == b"MM" and compression != 1
    return Values(depth, numbers, photometric, samples, extra[:1] == (1,), planar, swapped, low, high)


def _range(tags: Any, bits: int, numbers: Numbers, name: str) -> tuple[float, float]:
    """The numbers that stand for black and white, whichever is which."""
    if numbers == "unsigned" and bits <= 16:
        # Stated extremes are statistics here: the specification forbids that they change how a picture looks.
        return 0.0, 2.0**bits - 1
    low, high = (_stated(tags, tag) for tag in _EXTREMES)
    stated = None if low is None or high is None else (low, high)
    if numbers == "float" and (stated is None or (stated[0] >= 0 and stated[1] <= 1)):
        return 0.0, 1.0
    if stated is None or not stated[0] < stated[1]:
        raise FileError(
            f"{name} holds {bits}-bit {numbers} integers of unknown range; save it with 8 or 16 unsigned bits, or in "
            "[0, 1] as .npz"
        )
    return stated


_PREDICTOR = 317
_JPEG = (6, 7)
_WITHOUT_PREDICTOR = (1, 32773)
"""Compressions, none and PackBits, for which libtiff ignores a predictor and tifffile does not."""

_EXTREMES = ((340, 280), (341, 281))
"""Tags of the smallest and the largest value: SMinSampleValue, MinSampleValue, SMaxSampleValue, MaxSampleValue."""


def _stated(tags: Any, names: tuple[int, ...]) -> float | None:
    for tag in names:
        found = {float(value) for value in _tuple(tags, tag)}
        if len(found) == 1 and np.isfinite(value := found.pop()):
            return value
    return None


def _tuple(tags: Any, tag: int, *default: int) -> tuple[Any, ...]:
    found = tags.get(tag, default)
    return tuple(found) if isinstance(found, tuple) else (found,)


def _tags(content: bytes, name: str) -> Any:
    """The tags of the first page, as Pillow reads them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A damaged tag is noticed where it is used.
            # Pillow 13 recognises a BigTIFF by its third byte, which is the number's second byte in big-endian files.
            header = b"II+\0" + content[4:16] if b"+" in content[:4] else content[:8]
            tags = TiffImagePlugin.ImageFileDirectory_v2(header, content[:2])
            file = BytesIO(content)
            file.seek(tags.next)
            tags.load(file)
            return dict(tags)
    except _DAMAGE as error:
        raise FileError(f"{name} is damaged ({error})") from error
