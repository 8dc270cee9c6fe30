"""Images as files and back: exact in formats that keep all digits, one line for damaged files."""

from __future__ import annotations

import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from blindspace.data import read_image, samples
from blindspace.data.encoding import FORMATS, SUFFIX, decode, encode, save
from blindspace.data.picture_files import read_picture
from blindspace.errors import (
    BlindspaceError,
    BlindspaceWarning,
    FileError,
    MissingExtraError,
    ShapeError,
    UnknownNameError,
    ValueRangeError,
)

NEEDS = {"png16": "png", "tiff": "tifffile"}
LEVELS = {"png": 255, "png16": 65535}
GENERATOR = np.random.default_rng(0)
Array = npt.NDArray[np.float64]

each_format = pytest.mark.parametrize("file_format", FORMATS)
each_shape = pytest.mark.parametrize("shape", [(3, 5, 7), (1, 5, 7), (3, 1, 1), (1, 1, 9)])


def has(file_format: str) -> None:
    if file_format in NEEDS:
        pytest.importorskip(NEEDS[file_format])


def pixels_for(file_format: str, shape: tuple[int, ...]) -> Array:
    """Random pixels that the format can represent, including black and white."""
    pixels = GENERATOR.random(shape)
    pixels.flat[0], pixels.flat[-1] = 0, 1
    return np.rint(pixels * LEVELS[file_format]) / LEVELS[file_format] if file_format in LEVELS else pixels


@each_format
@each_shape
def test_round_trip_is_exact(file_format: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    has(file_format)
    pixels = pixels_for(file_format, shape)
    for found in (
        decode(encode(pixels, file_format), file_format),
        decode(encode(pixels.astype(np.float32), file_format), file_format),
    ):
        assert found.dtype == np.float64
        assert found.shape == shape
    assert np.array_equal(decode(encode(pixels, file_format), file_format), pixels)
    path = tmp_path / f"a{SUFFIX[file_format]}"
    save(path, pixels, file_format)
    assert np.array_equal(read_image(path), pixels)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("file_format", ["tiff", "npz", "safetensors"])
def test_float32_stays_float32(file_format: str) -> None:
    has(file_format)
    pixels = GENERATOR.random((3, 40, 50)).astype(np.float32)
    content = encode(pixels, file_format)
    assert np.array_equal(decode(content, file_format), pixels.astype(np.float64))
    if file_format == "npz":
        assert np.load(BytesIO(content), allow_pickle=False)["image"].dtype == np.float32
    else:
        assert len(content) < 0.6 * len(encode(pixels.astype(np.float64), file_format))


@pytest.mark.parametrize("file_format", LEVELS)
def test_png_rounds_to_the_nearest(file_format: str) -> None:
    has(file_format)
    pixels = GENERATOR.random((3, 6, 4))
    assert np.array_equal(
        decode(encode(pixels, file_format), file_format), np.rint(pixels * LEVELS[file_format]) / LEVELS[file_format]
    )


@pytest.mark.parametrize("file_format", ["npz", "safetensors"])
def test_arrays_hold_any_number_of_channels(file_format: str) -> None:
    pixels = GENERATOR.random((7, 2, 3))
    assert np.array_equal(decode(encode(np.asfortranarray(pixels), file_format), file_format), pixels)


def test_png_is_no_larger_than_by_the_default() -> None:
    """But for one per cent: photographs, digits, and patterns that repeat, in one channel and in three alike."""
    rng = np.random.default_rng(0)
    tile = np.tile(rng.random((1, 8, 8)), (1, 12, 12))
    noise = rng.random((3, 96, 96))
    pictures = [noise, tile, np.repeat(tile, 3, 0), 0.5 + 0.1 * noise, *samples("cifar10").tensor()[:20].numpy()]
    for pixels in pictures:
        content = BytesIO()
        whole = (pixels * 255).round().astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(whole[:, :, 0] if len(pixels) == 1 else whole).save(content, "PNG")
        made = encode(pixels, "png")
        assert len(made) < 1.02 * len(content.getvalue())
        assert np.array_equal(decode(made, "png"), decode(content.getvalue(), "png"))


def test_save_determines_the_format_by_the_suffix(tmp_path: Path) -> None:
    pixels = np.full((3, 2, 2), 0.4)
    save(tmp_path / "a.PNG", pixels)
    save(tmp_path / "a.npz", pixels)
    assert read_image(tmp_path / "a.PNG").max() == 102 / 255
    assert read_image(tmp_path / "a.npz").max() == 0.4
    for name, file_format in [("a.txt", None), ("a.npz", "png"), ("a.png", "tiff"), ("a", "png16")]:
        with pytest.raises(FileError, match=r"suffix|ends in"):
            save(tmp_path / name, pixels, file_format)
    with pytest.raises(ValueRangeError):
        save(tmp_path / "b.png", pixels * 9)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.PNG", "a.npz"]


def test_jpeg_is_measured_and_refused(tmp_path: Path) -> None:
    pixels = np.full((3, 16, 16), 0.5)
    for ask in (lambda: encode(pixels, "jpeg"), lambda: save(tmp_path / "a.jpg", pixels)):
        with pytest.raises(BlindspaceError, match=r"JPEG keeps no promise.*8 of 200 labels") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert np.allclose(decode(encode(pixels, "jpeg", measuring=True), "jpeg"), 0.5, atol=0.01)


def test_what_cannot_be_written() -> None:
    pixels = np.zeros((3, 4, 4))
    with pytest.raises(UnknownNameError, match="png16"):
        encode(pixels, "bmp")
    with pytest.raises(UnknownNameError, match="png16"):
        decode(b"", "bmp")
    for file_format, shape in [("png", (2, 4, 4)), ("png", (4, 4)), ("npz", (1, 3, 4, 4)), ("npz", (3, 0, 4))]:
        with pytest.raises(ShapeError, match=r"needed|channels"):
            encode(np.zeros(shape), file_format)
    with pytest.raises(ShapeError, match="uint8"):
        encode(np.zeros((3, 2, 2), np.uint8), "npz")
    for wrong in (np.nan, -0.1, 1.1):
        with pytest.raises(ValueRangeError):
            encode(pixels + wrong, "npz")


@each_format
def test_damaged_files_give_one_line(file_format: str) -> None:
    """Truncated or overwritten files, or another format: an error of one line or still an image, nothing else."""
    has(file_format)
    content = encode(pixels_for(file_format, (3, 30, 20)), file_format)
    refused = 0
    for end in {*range(0, 60, 4), *range(60, len(content) - 40, len(content) // 9)}:
        with pytest.raises(FileError, match="photo") as caught:
            decode(content[:end], file_format, "photo")
        assert "\n" not in str(caught.value)
    for _ in range(120):
        damaged = bytearray(content)
        for place in GENERATOR.integers(0, min(len(content), 400), 3):
            damaged[place] = GENERATOR.integers(256)
        said = None
        try:
            assert decode(bytes(damaged), file_format, "photo").ndim == 3
        except FileError as error:
            said = str(error)
        refused += said is not None
        assert "\n" not in (said or "")
    assert refused > 10
    for other in (b"", b"this is text", encode(np.zeros((1, 2, 2)), "npz" if file_format != "npz" else "safetensors")):
        with pytest.raises(FileError, match="photo"):
            decode(other, file_format, "photo")


def png(values: npt.NDArray[np.uint16], **options: Any) -> bytes:
    """A 16-bit PNG of ``(H, W, planes)`` by pypng."""
    writer = pytest.importorskip("png").Writer(values.shape[1], values.shape[0], bitdepth=16, **options)
    content = BytesIO()
    writer.write(content, values.reshape(len(values), -1).tolist())
    return content.getvalue()


@pytest.mark.parametrize("interlace", [False, True])
@pytest.mark.parametrize(("planes", "grey", "alpha"), [(3, False, False), (4, False, True), (2, True, True)])
def test_16_bit_png_of_others(planes: int, grey: bool, alpha: bool, interlace: bool, tmp_path: Path) -> None:
    values = GENERATOR.integers(0, 65536, (6, 9, planes), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png(values, greyscale=grey, alpha=alpha, interlace=interlace))
    colours = values[:, :, : 1 if grey else 3].transpose(2, 0, 1)
    assert np.array_equal(read_picture(tmp_path / "a.png"), colours / 65535)


@pytest.mark.parametrize(
    ("dtype", "shape", "options"),
    [
        (np.uint16, (6, 9, 3), {"photometric": "rgb"}),
        (np.uint16, (3, 6, 9), {"photometric": "rgb", "planarconfig": "separate"}),
        (np.uint16, (6, 9, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (np.float32, (6, 9, 3), {"photometric": "rgb"}),
        (np.float64, (6, 9), {"photometric": "minisblack"}),
        (np.float16, (6, 9, 3), {"photometric": "rgb"}),
        (np.float32, (6, 9), {"photometric": "minisblack", "byteorder": ">"}),
        (np.float32, (6, 9, 3), {"photometric": "rgb", "bigtiff": True}),
        (np.float64, (40, 40, 3), {"photometric": "rgb", "tile": (16, 16)}),
    ],
)
def test_tiff_of_others(dtype: Any, shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = GENERATOR.random(shape).astype(dtype)
    if dtype is np.uint16:
        values = GENERATOR.integers(0, 65536, shape, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    expected = values.astype(np.float64) / (65535 if dtype is np.uint16 else 1)
    if expected.ndim == 2:
        expected = expected[None]
    elif options.get("planarconfig") != "separate":
        expected = expected[:, :, :3].transpose(2, 0, 1)
    assert np.array_equal(read_picture(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("value", [-0.1, 1.5, 255.0, np.nan, np.inf])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)])
def test_floats_of_unknown_range(value: float, shape: tuple[int, ...], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.full(shape, 0.5, np.float32)
    values.flat[3] = value
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if len(shape) == 3 else "minisblack")
    with pytest.raises(FileError, match="unknown range"):
        read_image(tmp_path / "a.tif")


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    has("tiff")
    for tag, size in ((256, 60_000), (257, 60_000), (256, 5_000)):
        content = bytearray(encode(np.zeros((3, 4, 4)), "tiff"))
        entry = next(at for kind in (3, 4) if (at := content.find(struct.pack("<HHI", tag, kind, 1))) >= 0)
        content[entry + 8 : entry + 12] = struct.pack("<I", size)
        with pytest.raises(FileError, match="photo"):
            decode(bytes(content), "tiff", "photo")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that Pillow reads are still read; errors for the others name the extra."""
    deep = GENERATOR.integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(by_hand(deep))
    floats = GENERATOR.random((5, 4)).astype(np.float32)
    Image.fromarray(floats).save(tmp_path / "grey.tif")
    colours = (deep >> 8).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.tif")
    has("tiff")
    (tmp_path / "colour.tif").write_bytes(encode(GENERATOR.random((3, 4, 4)), "tiff"))
    for library in ("png", "tifffile"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.warns(BlindspaceWarning, match=r"8 of its 16 bits.*blindspace\[formats\]"):
        assert np.array_equal(read_image(tmp_path / "deep.png"), colours.transpose(2, 0, 1) / 255)
    assert np.array_equal(read_image(tmp_path / "grey.tif"), floats[None].astype(np.float64))
    assert np.array_equal(read_image(tmp_path / "a.tif"), colours.transpose(2, 0, 1) / 255)
    with pytest.raises(MissingExtraError, match=r"colour.tif.*blindspace\[formats\]"):
        read_image(tmp_path / "colour.tif")
    for file_format in NEEDS:
        with pytest.raises(MissingExtraError, match=r"blindspace\[formats\]"):
            encode(np.zeros((3, 2, 2)), file_format)


def by_hand(values: npt.NDArray[np.uint16]) -> bytes:
    """A 16-bit colour PNG without any library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_by_hand_and_by_pypng_alike(tmp_path: Path) -> None:
    has("png16")
    values = GENERATOR.integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(by_hand(values))
    assert np.array_equal(read_image(tmp_path / "a.png"), values.transpose(2, 0, 1) / 65535)
    assert np.array_equal(
        decode(encode(values.transpose(2, 0, 1) / 65535, "png16"), "png16"), read_image(tmp_path / "a.png")
    )
