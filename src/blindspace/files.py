"""Atomic writing of files, their checksums, and the cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FileError, shown


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, which is renamed to it if the block ends without an error.

    A device or a pipe stays what it is: the finished content is written to it.

    Args:
        path: Path of the finished file; missing parent folders are made.

    Raises:
        FileError: The folder cannot be made or written to.
    """
    target = Path(path)
    try:
        is_stream = target.exists() and not target.is_file() and not target.is_dir()
        target.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last, because writers such as Pillow and NumPy choose the format by it.
        folder = None if is_stream else target.parent
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=target.suffix, dir=folder)
        os.close(handle)
    except OSError as error:
        raise unwritable(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        if is_stream:
            with temporary.open("rb") as finished, target.open("wb") as stream:
                shutil.copyfileobj(finished, stream)
            return
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files
        temporary.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> FileError:
    """Return the error to raise if the system refuses to write ``path``."""
    return FileError(f"cannot write {path}: {error.strerror or error}; choose a folder you may write to")


def as_path(given: object, what: str) -> Path:
    """A path from a string or a path; ``what`` is the subject of the message.

    Raises:
        FileError: It is something else.
    """
    if isinstance(given, str | os.PathLike):
        return Path(os.fsdecode(os.fspath(given)))
    raise FileError(f"{what} must be a string or a path, got {shown(given)}")


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        FileError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error


def readable(name: str) -> str:
    """A file's name as text that can be written down: bytes that are not UTF-8 become escapes of hexadecimal digits."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def home() -> Path:
    """Return the cache folder: ``BLINDSPACE_HOME``, or ``~/.cache/blindspace`` if that is not set."""
    given = os.environ.get("BLINDSPACE_HOME")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "blindspace"


def sha256(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
