"""What some bytes hold, determined by the bytes alone: a picture, something that may hold pictures, or neither.

Every command and every kind of collection asks here. A name never makes a picture of something else, nor something
else of a picture; only of bytes that hold neither may a name say that a picture was meant.
"""

from __future__ import annotations

import codecs
import logging
import struct
import tarfile
import tokenize
import warnings
import zlib
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from .embedded import hidden_in_text, looks_like_pixels
from .signatures import CONTAINERS, PICTURES, SOUND, named_by

SUFFIXES: tuple[str, ...] = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".apng", ".jpe", ".jfif", ".dib", ".avif"),
    *(".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".qoi", ".tga"),
    *(".ico", ".psd", ".svg", ".exr", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
)
"""Endings of names that say that a picture is meant, even if its bytes are damaged."""

SMALL = 64
"""Number of bytes that hold no picture unless they are a known format: labels, hashes, numbers."""

# Of damage Pillow logs what is also raised; without any handler Python would print it.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_HEAD = 4096
_PIECE = 16 << 20
_KEY = 200
_PLUGINS = ("pillow_heif", "pillow_jxl", "pillow_avif")
_NEVER = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats of which Pillow knows the name only, or that run a program."""

_NOT_OPENED = (OSError, ValueError, SyntaxError, LookupError, TypeError, ArithmeticError, RuntimeError,
               struct.error, zlib.error, tokenize.TokenError, MemoryError)  # fmt: skip


class Holds(Enum):
    """What bytes hold."""

    PICTURE = "a picture, of a format that can be opened here or not"
    TAR = "a tar archive, compressed or not"
    PARQUET = "a Parquet table"
    CLOSED = "something inside which pictures may be stored"
    NOTHING = "no picture"


@dataclass(frozen=True)
class Content:
    """What some bytes hold.

    Attributes:
        holds: The kind of content.
        what: The same in words, as a noun phrase.
    """

    holds: Holds
    what: str

    @property
    def may_hold_pictures(self) -> bool:
        """Whether a picture may be in it in any form."""
        return self.holds is not Holds.NOTHING


def recognise(content: bytes) -> Content:
    """What the bytes of a file hold."""
    return recognise_stream(BytesIO(content))


def recognise_file(path: Path) -> Content:
    """What a file holds.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        return recognise_stream(stream)


def recognise_stream(stream: IO[bytes]) -> Content:
    """What a file that is open for reading holds; of pictures and archives only the beginning is read."""
    head = stream.read(_HEAD)
    if (what := named_by(head, PICTURES)) is not None:
        return Content(Holds.PICTURE, what)
    if (what := named_by(head, SOUND)) is not None:
        return Content(Holds.NOTHING, what)
    if (what := _archive(head, stream)) is not None:
        return Content(Holds.TAR, what)
    if head.startswith(b"PAR1"):
        return Content(Holds.PARQUET, "a Parquet table")
    if head.startswith(b"\x93NUMPY"):
        return _array(stream)
    if (what := named_by(head, CONTAINERS)) is not None:
        return Content(Holds.CLOSED, what)
    if (what := _by_pillow(stream)) is not None:
        return Content(Holds.PICTURE, what)
    stream.seek(0)
    return _text_or_unknown(stream)


def is_named_as_picture(name: str) -> bool:
    """Whether a name ends as those of pictures do."""
    return name.lower().endswith(SUFFIXES)


@cache
def pillow_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are opened, those of installed plugins among them."""
    Image.init()
    for plugin in _PLUGINS:
        if find_spec(plugin) is not None:
            try:
                getattr(import_module(plugin), "register_heif_opener", lambda: None)()
            except (ImportError, OSError, RuntimeError):
                continue  # a plugin that does not fit its library; its pictures are listed as those without one
    return tuple(name for name in Image.OPEN if name not in _NEVER)


def _by_pillow(stream: IO[bytes]) -> str | None:
    stream.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(stream, formats=pillow_formats())
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        return "a picture with too many pixels"
    except _NOT_OPENED:
        return None
    return f"a {image.format} picture"


def _archive(head: bytes, stream: IO[bytes]) -> str | None:
    """The name of a tar archive, by its first member."""
    compression = named_by(head, CONTAINERS)
    if compression not in (None, "a gzip file", "a bzip2 file", "an xz file"):
        return None
    stream.seek(0)
    try:
        if compression is None:
            tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
        else:
            with tarfile.open(fileobj=stream, mode="r|*") as archive:
                if archive.next() is None:
                    return None
    except (tarfile.TarError, EOFError, *_NOT_OPENED):
        return None
    return "a tar archive"


def _array(stream: IO[bytes]) -> Content:
    """A NumPy array: one of pixels, or of labels and features."""
    stream.seek(0)
    try:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(stream)
        values = np.zeros(0)
        if dtype.kind in "biuf" and len(shape) == 1:
            count = min(shape[0], 1 << 22)
            values = np.frombuffer(stream.read(count * dtype.itemsize), dtype)
    except _NOT_OPENED:
        return Content(Holds.CLOSED, "a damaged NumPy array")
    told = f"a NumPy array of {dtype} of shape {shape}"
    if dtype.kind not in "biufc" and dtype.kind not in "SU":
        return Content(Holds.CLOSED, told)
    # Labels of many pictures are whole numbers too, so wider ones count as pixels only with two axes.
    narrow = dtype.kind == "f" or dtype == np.uint8
    is_flat = len(shape) == 1 and narrow and looks_like_pixels(values, shape)
    return Content(Holds.CLOSED if is_flat or looks_like_pixels(None, shape) else Holds.NOTHING, told)


def _text_or_unknown(stream: IO[bytes]) -> Content:
    begin, size = "", 0
    while piece := stream.read(_PIECE):
        text = as_text(piece)
        if text is None:
            if size + len(piece) <= SMALL:
                return Content(Holds.NOTHING, "a few bytes")
            return Content(Holds.CLOSED, "a file of an unknown kind")
        begin, size = begin or text[:_HEAD].lower(), size + len(piece)
        if "<svg" in begin and begin.lstrip("\ufeff \t\r\n").startswith(("<svg", "<?xml", "<!")):
            return Content(Holds.PICTURE, "an SVG drawing")
        if hidden := hidden_in_text(text, holds_picture):
            return Content(Holds.CLOSED, f"text with {hidden} in it")
    return Content(Holds.NOTHING, "text")


def holds_picture(content: bytes) -> bool:
    """Whether bytes are a picture, or an archive or document of a known kind that may hold some."""
    head = content[:_HEAD]
    if named_by(head, PICTURES, 3) is not None or _is_bitmap(head):
        return True
    if named_by(head, CONTAINERS, 3) is not None:
        return named_by(head, SOUND) is None
    # Shorter ones are hashes and keys, of which a text may hold many.
    return len(content) > _KEY and _by_pillow(BytesIO(content)) is not None


def _is_bitmap(head: bytes) -> bool:
    return head.startswith((b"P5\n", b"P6\n")) or (head.startswith(b"BM") and head[6:10] == bytes(4))


def as_text(content: bytes) -> str | None:
    """The text that bytes are, which may be cut within a letter; None if they are no text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content[: len(content) // 2 * 2].decode("utf-16", "replace")
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(content)
        except UnicodeDecodeError:
            # Text of an older encoding, mostly of letters without accents.
            if 4 * len(content.translate(None, _ASCII)) > len(content):
                return None
            text = content.decode("latin-1")
    return None if _CONTROL & set(text) else text


_ASCII = bytes(range(128))
_CONTROL = {chr(code) for code in range(32)} - set("\t\n\r\f\b\v\x1b\x1e") | {"\x7f"}
