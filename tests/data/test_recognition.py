"""What bytes hold is decided by the bytes: pictures of every format, what may hold some, and what holds none."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blindspace.data import read_image, read_images
from blindspace.data.embedded import looks_like_pixels, unwrapped
from blindspace.data.recognition import Holds, recognise, recognise_file
from blindspace.errors import FileError

GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (24, 32, 3), dtype=np.uint8)


def coded(file_format: str, pixels: Any = RGB, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


PNG = coded("PNG")
OPENED = [
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "WEBP",
    "TIFF",
    "PPM",
    "TGA",
    "ICO",
    "PCX",
    "SGI",
    "DDS",
    "AVIF",
    "JPEG2000",
    "QOI",
]


@pytest.mark.parametrize("file_format", OPENED)
def test_pictures_are_recognised_and_read_whatever_their_name(file_format: str, tmp_path: Path) -> None:
    try:
        content = coded(file_format)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {file_format}")
    for name in ("a", "a.txt", "a.jfif"):
        (tmp_path / name).write_bytes(content)
        assert recognise_file(tmp_path / name).holds is Holds.PICTURE
        assert len(read_image(tmp_path / name)) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
        b"\x76\x2f\x31\x01" + bytes(100),
        b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        bytes(128) + b"DICM" + bytes(100),
    ],
    ids=["HEIC", "JPEG XL", "OpenEXR", "SVG", "EPS", "DICOM"],
)
def test_pictures_that_cannot_be_opened_are_pictures(content: bytes, tmp_path: Path) -> None:
    assert recognise(content).holds is Holds.PICTURE
    (tmp_path / "a.dat").write_bytes(content)
    with pytest.raises(FileError, match=r"a\.dat is an? .*, which needs a library") as caught:
        read_images([tmp_path])
    assert "\n" not in str(caught.value)


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.png", PNG)
    return stream.getvalue()


def tarred(mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as file:  # type: ignore[call-overload]
        info = tarfile.TarInfo("a.png")
        info.size = len(PNG)
        file.addfile(info, io.BytesIO(PNG))
    return stream.getvalue()


def saved(write: Callable[..., None], *arrays: Any) -> bytes:
    stream = io.BytesIO()
    write(stream, *arrays)
    return stream.getvalue()


WRAPPED = base64.encodebytes(PNG).decode()
CLOSED = {
    "zip": zipped(),
    "gzip": gzip.compress(PNG),
    "bzip2": bz2.compress(PNG),
    "xz": lzma.compress(PNG),
    "npy": saved(np.save, RGB),
    "npy of floats": saved(np.save, RGB / 255),
    "npy, flat bytes": saved(np.save, RGB.ravel()),
    "npy of objects": saved(np.save, np.array([{"a": 1}, 2], object)),
    "npz": saved(np.savez, RGB),
    "pickle": pickle.dumps(RGB),
    "old pickle": pickle.dumps({"image": PNG}, 2),
    "PDF": b"%PDF-1.7\n" + PNG,
    "mp4": b"\0\0\0\x18ftypmp42" + bytes(100),
    "webm": b"\x1aE\xdf\xa3" + bytes(100),
    "idx": b"\0\0\x08\x03" + RGB.tobytes(),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "raw pixels": RGB.tobytes(),
    "dull raw pixels": (RGB // 2 + 60).tobytes(),
    "base64": base64.b64encode(PNG),
    "base64 of a JPEG": base64.b64encode(coded("JPEG")),
    "base64 in lines": WRAPPED.encode(),
    "base64 in JSON": json.dumps({"n": 1, "image": base64.b64encode(PNG).decode()}).encode(),
    "base64 in lines in JSON": json.dumps({"image": WRAPPED}).encode(),
    "base64 with escaped slashes": base64.b64encode(coded("JPEG")).replace(b"/", b"\\/"),
    "base64 in UTF-16": WRAPPED.encode("utf-16"),
    "url-safe base64": base64.urlsafe_b64encode(coded("WEBP")),
    "data URI": b'<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
    "hexadecimal": PNG.hex().encode(),
    "hexadecimal of databases": b"\\x" + PNG.hex().encode(),
    "escaped": str(PNG).encode(),
    "drawing in HTML": b"<html><body><svg><path d='M0 0'/></svg></body></html>",
    "pixels in JSON": json.dumps({"pixels": RGB.tolist()}).encode(),
    "pixels in indented JSON": json.dumps({"pixels": RGB.ravel().tolist()}, indent=1).encode(),
    "floats in JSON": json.dumps((RGB / 255).tolist()).encode(),
    "pixels in CSV": b"\n".join(b",".join(b"%d" % value for value in row) for row in RGB.reshape(24, -1)),
    "pixels between blanks": b" ".join(b"%d" % value for value in RGB.ravel()),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_what_may_hold_pictures(kind: str) -> None:
    assert recognise(CLOSED[kind]).holds is Holds.CLOSED


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_of_any_compression(mode: str) -> None:
    assert recognise(tarred(mode)).holds is Holds.TAR


NOTHING = {
    "empty": b"",
    "label": b"3",
    "labels": b"\n".join(b"%d" % (n % 200) for n in range(500)),
    "small labels in JSON": json.dumps({"labels": [n % 10 for n in range(500)]}).encode(),
    "caption": "Eine Katze auf der Straße, 35 mm".encode(),
    "caption in Latin-1": "Un café à la crème et un thé vert".encode("latin-1"),
    "caption with BOM": b"\xef\xbb\xbfa cat",
    "caption that begins like a table": b"ORCA whales and PAR1 golf, ID3 tags",
    "JSON": json.dumps(
        {"bbox": [[1.5, 2, 300, 4]] * 40, "sha256": "ab" * 32, "url": "https://a.b/" + "c/d" * 40}
    ).encode(),
    "features": saved(np.save, np.linspace(-3, 3, 512, dtype=np.float32)),
    "labels in npy": saved(np.save, np.arange(1000) % 10),
    "scalar in npy": saved(np.save, np.array(3)),
    "int64": (3).to_bytes(8, "little"),
    "digest": bytes(range(200, 232)),
    "sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_what_holds_none(kind: str) -> None:
    found = recognise(NOTHING[kind])
    assert found.holds is Holds.NOTHING, found


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_are_recognised_as_something(content: bytes) -> None:
    assert recognise(content).what
    text = base64.b64encode(content).decode()
    found = unwrapped(text)
    assert (found is None and not content) or (found is not None and found.content == content)
    assert found is None or found.around(content, "image/png") == text


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "DATA:image/svg+xml;charset=utf-8;base64,"])
@pytest.mark.parametrize("lines", [False, True])
def test_a_picture_written_as_text(prefix: str, lines: bool) -> None:
    text = prefix + (WRAPPED if lines else base64.b64encode(PNG).decode())
    found = unwrapped(text)
    assert found is not None
    assert found.content == PNG
    new = found.around(b"new", "image/png")
    assert new == ("data:image/png;base64," if prefix else "") + base64.b64encode(b"new").decode()


def test_text_is_no_file() -> None:
    for text in ("", "a photo of a cat", "https://example.org/a.png", "images/a.png", '{"a": 1}'):
        assert unwrapped(text) is None


def test_numbers_that_look_like_pixels() -> None:
    assert looks_like_pixels(None, (28, 28))
    assert looks_like_pixels(None, (3, 8, 8))
    assert not looks_like_pixels(None, (100, 4))
    assert looks_like_pixels(np.arange(64), (64,))
    assert looks_like_pixels(np.linspace(0, 1, 64), (64,))
    assert not looks_like_pixels(np.arange(63), (63,))
    assert not looks_like_pixels(np.arange(300), (300,))
    assert not looks_like_pixels(np.ones(512), (512,))
    assert not looks_like_pixels(np.arange(512) % 2, (512,))
    assert not looks_like_pixels(np.linspace(-1, 1, 64), (64,))


def test_a_folder_of_arrays_is_read(tmp_path: Path) -> None:
    for name in ("b.npz", "a.npz"):
        np.savez(tmp_path / name, image=RGB.transpose(2, 0, 1))
    (tmp_path / "notes.txt").write_text("text")
    assert [image.name for image in read_images([tmp_path])] == ["a", "b"]
    (tmp_path / "c.png").write_bytes(PNG)
    assert [image.name for image in read_images([tmp_path])] == ["c"]


@pytest.mark.parametrize(
    "unit", [b"1, ", b"1,\n", b" ", b"[", b"1.1", b"1, " * 62 + b"x ", b"ab" * 32 + b"\n", b"data:"]
)
def test_long_texts_are_examined_once(unit: bytes) -> None:
    """The number of steps grows with the length alone: a text of a million letters takes no minutes."""
    assert recognise(unit * (1_000_000 // len(unit))).holds is Holds.NOTHING
