"""TIFFs of every depth, number format and colour space: one ramp, read as that ramp or refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from blindspace.data.picture_files import decode_picture
from blindspace.errors import FileError

WIDTH, HEIGHT = 32, 5
RAMP = np.linspace(0, 1, WIDTH)[None].repeat(HEIGHT, 0)
COLOURS = np.stack([RAMP, RAMP[:, ::-1], RAMP**2])
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
TYPES = {3: "H", 4: "I", 8: "h", 11: "f"}

Tags = Mapping[int, tuple[int, Sequence[float]] | None]


def packed(row: np.ndarray[Any, Any], bits: int, numbers: int, order: str) -> bytes:
    """One row of values; those of other sizes than whole words have their highest bit first."""
    if numbers == FLOAT:
        return row.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32):
        return row.astype(f"{order}{'i' if numbers == SIGNED else 'u'}{bits // 8}").tobytes()
    return np.packbits((row.astype(int)[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()


def tiff(
    stored: np.ndarray[Any, Any],
    bits: int,
    photometric: int,
    numbers: int = UNSIGNED,
    order: str = "<",
    deflate: bool = False,
    planar: bool = False,
    extra: Sequence[int] = (),
    tags: Tags | None = None,
) -> bytes:
    """A TIFF of one strip, or one per plane, of numbers ``(samples, H, W)``."""
    samples, height, width = stored.shape
    planes = list(stored) if planar else [np.moveaxis(stored, 0, 2).reshape(height, width * samples)]
    strips = [b"".join(packed(row, bits, numbers, order) for row in plane) for plane in planes]
    if deflate:
        strips = [zlib.compress(strip) for strip in strips]
    starts = np.cumsum([8, *map(len, strips)])
    entries: dict[int, tuple[int, Sequence[float]] | None] = {
        **{256: (3, [width]), 257: (3, [height]), 258: (3, [bits] * samples), 259: (3, [8 if deflate else 1])},
        **{262: (3, [photometric]), 273: (4, starts[:-1].tolist()), 277: (3, [samples]), 278: (3, [height])},
        **{279: (4, [*map(len, strips)]), 284: (3, [2 if planar else 1]), 339: (3, [numbers] * samples)},
        338: (3, list(extra)) if extra else None,
        **(tags or {}),
    }
    known = sorted((tag, entry) for tag, entry in entries.items() if entry is not None)
    directory = int(starts[-1])
    table, tail = struct.pack(order + "H", len(known)), b""
    for tag, (kind, values) in known:
        data = struct.pack(f"{order}{len(values)}{TYPES[kind]}", *values)
        if len(data) > 4:
            place = directory + 2 + 12 * len(known) + 4 + len(tail)
            data, tail = struct.pack(order + "I", place), tail + data
        table += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, directory)
    return header + b"".join(strips) + table + bytes(4) + tail


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize(
    ("bits", "numbers"),
    [(1, UNSIGNED), (2, UNSIGNED), (4, UNSIGNED), (8, UNSIGNED), (16, UNSIGNED), (16, FLOAT), (32, FLOAT), (64, FLOAT)],
)
def test_grey(bits: int, numbers: int, photometric: int, order: str, deflate: bool) -> None:
    top = 1 if numbers == FLOAT else 2**bits - 1
    shown = RAMP[None] if photometric else 1 - RAMP[None]
    stored = shown if numbers == FLOAT else np.rint(shown * top)
    pixels = decode_picture(tiff(stored, bits, photometric, numbers, order, deflate), "a.tif")
    assert pixels.shape == (1, HEIGHT, WIDTH)
    assert np.abs(pixels - RAMP).max() <= (5e-4 if numbers == FLOAT else 0.5 / top + 1e-12)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [(), (0,), (1,), (2,)])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_and_transparency(
    bits: int, colours: int, extra: tuple[int, ...], order: str, deflate: bool, planar: bool
) -> None:
    wanted = COLOURS[:colours]
    shown = wanted / 2 if extra == (1,) else wanted  # Colours are stored multiplied by the opacity.
    whole = np.concatenate([shown, np.full((len(extra), HEIGHT, WIDTH), 0.5)])
    stored = np.rint(whole * (2**bits - 1))
    content = tiff(stored, bits, 2 if colours == 3 else 1, order=order, deflate=deflate, planar=planar, extra=extra)
    pixels = decode_picture(content, "a.tif")
    assert pixels.shape == wanted.shape
    assert np.abs(pixels - wanted).max() <= (2.1 if extra == (1,) else 0.51) / (2**bits - 1)


@pytest.mark.parametrize("photometric", [0, 1])
def test_twelve_bits(photometric: int) -> None:
    shown = RAMP[None] if photometric else 1 - RAMP[None]
    stored = np.rint(shown * 4095)
    if photometric:
        pixels = decode_picture(tiff(stored, 12, photometric), "a.tif")
        assert np.abs(pixels - RAMP).max() <= 0.5 / 4095 + 1e-12
    for content in (tiff(stored, 12, photometric, order=">"), tiff(np.rint(shown * 1023), 10, photometric)):
        if find_spec("imagecodecs"):
            assert np.abs(decode_picture(content, "a.tif") - RAMP).max() <= 0.5 / 1023 + 1e-12
        else:
            with pytest.raises(FileError, match="imagecodecs"):
                decode_picture(content, "a.tif")


def test_big_tiff_of_either_order() -> None:
    tifffile = pytest.importorskip("tifffile")
    for order in "<>":
        for values in (RAMP.astype(np.float32), np.rint(RAMP * 255).astype(np.uint8)):
            file = BytesIO()
            tifffile.imwrite(file, values, bigtiff=True, byteorder=order, photometric="minisblack", metadata=None)
            assert np.abs(decode_picture(file.getvalue(), "a.tif") - RAMP).max() <= 0.51 / 255


@pytest.mark.parametrize("numbers", [SIGNED, UNSIGNED])
def test_integers_of_unknown_range(numbers: int) -> None:
    for bits in (8, 16, 32) if numbers == SIGNED else (32,):
        for photometric, pixels in ((0, RAMP[None]), (1, RAMP[None]), (2, COLOURS)):
            with pytest.raises(FileError, match=r"a\.tif holds .*signed integers of unknown range"):
                decode_picture(tiff(np.rint(pixels * 100), bits, photometric, numbers), "a.tif")


@pytest.mark.parametrize(
    ("bits", "numbers", "low", "high", "tags"),
    [
        (16, SIGNED, -100, 100, {340: (8, [-100]), 341: (8, [100])}),
        (8, SIGNED, 0, 100, {280: (3, [0]), 281: (3, [100])}),
        (32, UNSIGNED, 0, 255, {280: (3, [0]), 281: (3, [255])}),
        (32, FLOAT, 0, 255, {340: (11, [0]), 341: (11, [255])}),
        (32, FLOAT, 0, 1, {340: (11, [0.25]), 341: (11, [0.75])}),  # statistics of pixels
        (16, UNSIGNED, 0, 65535, {280: (3, [0]), 281: (3, [255])}),  # the same
    ],
)
def test_stated_ranges(bits: int, numbers: int, low: int, high: int, tags: Tags) -> None:
    stored = low + RAMP[None] * (high - low)
    stored = stored if numbers == FLOAT else np.rint(stored)
    for photometric in (0, 1):
        pixels = decode_picture(tiff(stored, bits, photometric, numbers, tags=tags), "a.tif")
        assert np.abs(pixels - (RAMP if photometric else 1 - RAMP)).max() <= 0.51 / (high - low if high > 1 else 1e4)


def test_values_outside_the_range() -> None:
    tags: Tags = {280: (3, [0]), 281: (3, [200])}
    for stored, numbers in ((RAMP * 255, UNSIGNED), (RAMP * 2, FLOAT), (RAMP - 0.5, FLOAT), (RAMP * np.nan, FLOAT)):
        with pytest.raises(FileError, match="unknown range"):
            decode_picture(tiff(stored[None], 32, 1, numbers, tags=tags if numbers == UNSIGNED else {}), "a.tif")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (tiff(RAMP[None], 8, 1, tags={262: None}), "black or white"),
        (tiff(RAMP[None], 8, 32803), "32803"),
        (tiff(COLOURS, 16, 1, extra=(0, 0)), "3 values per pixel"),
        (tiff(COLOURS, 8, 2, tags={258: (3, [5, 6, 5])}), "bits"),
        (tiff(RAMP[None], 16, 1, 4), "no integers or floats"),
        (tiff(RAMP[None], 16, 1, tags={259: (3, [32773]), 317: (3, [2])}), "differently"),
        (b"II*\0", "damaged"),
        (b"MM\0+" + bytes(40), "damaged"),
    ],
)
def test_refused(content: bytes, word: str) -> None:
    with pytest.raises(FileError, match=rf"^a\.tif .*{word}") as caught:
        decode_picture(content, "a.tif")
    assert "\n" not in str(caught.value)


def test_other_colours() -> None:
    grey = np.linspace(0, 255, WIDTH)[None].repeat(HEIGHT, 0)
    for photometric, low in ((6, 128), (8, 0)):  # YCbCr and CIELab
        stored = np.stack([grey, np.full_like(grey, low), np.full_like(grey, low)])
        content = tiff(stored, 8, photometric, tags={530: (3, [1, 1])})
        if photometric == 6 and int(PIL.__version__.split(".")[0]) < 13:
            with pytest.raises(FileError, match="YCbCr colours without compression"):
                decode_picture(content, "a.tif")
            continue
        pixels = decode_picture(content, "a.tif")
        assert np.abs(pixels[:, :, [0, -1]] - [0, 1]).max() < 0.02
        assert np.ptp(pixels, 0).max() < 0.02
    black = np.concatenate([np.zeros((3, HEIGHT, WIDTH)), 255 - grey[None]])
    assert np.abs(decode_picture(tiff(np.rint(black), 8, 5), "a.tif") - grey / 255).max() <= 0.51 / 255


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_cut_short(tmp_path: Any) -> None:
    whole = [tiff(np.rint(RAMP[None] * 4095), 12, 1), tiff(COLOURS, 32, 2, FLOAT), tiff(RAMP[None], 8, 0, deflate=True)]
    for content in whole:
        for end in range(0, len(content) - 1, 7):
            with suppress(FileError):
                decode_picture(content[:end], "a.tif")
    Image.new("F", (3, 3), 0.5).save(tmp_path / "a.tif")
    assert (decode_picture((tmp_path / "a.tif").read_bytes(), "a.tif") == 0.5).all()
