"""Writing files so that nothing is ever half-written, and where the package keeps its own."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FileError


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes ``path``'s name only if the block ends well.

    Args:
        path: where the finished file belongs. Missing parent folders are made.

    Raises:
        FileError: the folder cannot be made or written to.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last: writers such as Pillow and numpy choose the format by it.
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise unwritable(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files
        temporary.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> FileError:
    """The error to raise where the system refuses to write ``path``."""
    return FileError(f"cannot write {path}: {error.strerror or error}; choose a folder you may write to")


def home() -> Path:
    """The cache folder: ``BLINDSPACE_HOME``, else ``~/.cache/blindspace``."""
    given = os.environ.get("BLINDSPACE_HOME")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "blindspace"


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
