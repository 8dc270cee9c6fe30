"""Keys for the command line: from a file, the environment or a prompt, never from an argument that others can see."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import FileError, ValueRangeError
from ..perturbations import Key

VARIABLE = "BLINDSPACE_KEY"

LARGEST = 1 << 16
"""Bytes of the largest key file."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # It begins like UTF-16.
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by their byte order marks, which are no part of a passphrase."""

KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        help=f"Read the passphrase of keyed noise from the first line of this file; else {VARIABLE} or a prompt has it."
    ),
]
SaltOption = Annotated[
    str | None,
    typer.Option(
        help="Use this salt of the key, in hexadecimal; if not given, a random one is drawn and shown. --remove "
        "finds it in "
        "the file."
    ),
]


def read_key(key_file: Path | None, salt: str | None, fresh: bool = True) -> tuple[Key, str]:
    """The key that the user names, and its salt in hexadecimal.

    Args:
        key_file: File with the passphrase; if None, it comes from the environment or from a prompt.
        salt: Salt in hexadecimal; a random one if None.
        fresh: Whether a random salt may be drawn.

    Raises:
        FileError: The file cannot be read.
        ValueRangeError: The passphrase is missing, or the salt is not valid.
    """
    if salt is None:
        if not fresh:
            raise ValueRangeError("--remove needs the --salt that was shown when the noise was added")
        salt = os.urandom(16).hex()
    try:
        raw = bytes.fromhex(salt)
    except ValueError as error:
        raise ValueRangeError(f"--salt {salt!r} is not hexadecimal; give the one that was shown") from error
    return Key.derive(_passphrase(key_file), raw), salt


def _passphrase(key_file: Path | None) -> str:
    if key_file is not None:
        return _first_line(key_file)
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    if not sys.stdin.isatty():
        raise ValueRangeError(f"keyed noise needs a passphrase; give --key-file, or set {VARIABLE}")
    return str(typer.prompt("passphrase", hide_input=True, err=True))


def _first_line(key_file: Path) -> str:
    """The first line of a text file, whichever way an editor has marked its encoding and ended its lines.

    Raises:
        FileError: The file cannot be read, is no text or too large, or its first line is empty.
    """
    try:
        with key_file.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise FileError(f"cannot read the key file {key_file}: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise FileError(
            f"the key file {key_file} has more than {LARGEST} bytes, so it is not a text file with the passphrase"
        )
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FileError(
            f"the key file {key_file} is not a text file in {encoding}; its first line must be the passphrase"
        ) from error
    line = (text.splitlines() or [""])[0]
    if not line.strip():
        raise FileError(f"the key file {key_file} begins with an empty line; its first line must be the passphrase")
    if not line.isprintable() and "\0" in line:
        raise FileError(f"the key file {key_file} is not a text file; its first line must be the passphrase")
    return line
