"""Fetches a data set once, verified, so that `load` finds it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ..errors import FileError, UnknownNameError
from ..files import home, sha256, unwritable
from .clients import download_with_client
from .download import download
from .sources import SOURCES, Source
from .unpack import WrongArchiveError, unpack

Progress = Callable[[str, int, int], None]


def fetch(name: str, root: Path | None = None, progress: Progress | None = None, address: str | None = None) -> Path:
    """Download a data set, verify it and unpack what `load` reads; at once if it is there already.

    Interrupted, it leaves either nothing or, with ``address``, a ``.part`` file that the next call completes.

    Args:
        name: one of `SOURCES`: cifar10, mnist, fashion-mnist.
        root: the folder for the files; None is ``home()/"data"/name``.
        progress: called with the name, the bytes so far and the bytes in all.
        address: where a copy of the same archive lies, for those who keep one; None has the registry's own
            client download it.

    Returns:
        The folder.

    Raises:
        UnknownNameError: no such set, or one that cannot be fetched.
        FileError: the client is missing or fails, the archive is not the expected one, or the disk refuses.
    """
    if name not in SOURCES:
        raise UnknownNameError(f"no data set called {name!r} can be fetched; those that can are {', '.join(SOURCES)}")
    source, target = SOURCES[name], home() / "data" / name if root is None else Path(root)
    try:
        if _complete(target, source):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            _fetch(name, source, target, Path(temporary), progress, address)
    except OSError as error:
        raise unwritable(target, error) from error
    return target


def _complete(folder: Path, source: Source) -> bool:
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in source.files.items())


def _fetch(
    name: str, source: Source, target: Path, temporary: Path, progress: Progress | None, address: str | None
) -> None:
    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(name, done, total)

    packed, unpacked = temporary / "packed", temporary / "unpacked"
    packed.mkdir()
    unpacked.mkdir()
    if address is None:
        try:
            archive = download_with_client(source, packed, report)
        except FileError as error:
            raise FileError(f"{error}; install or mend it, or put {', '.join(source.files)} into {target}") from error
    else:
        archive = target.parent / f".{target.name}.part"
        # A later build of the same files may be a little larger.
        download(address, archive, source.size if source.archive else 2 * source.size, report)
    try:
        if source.archive is not None and (found := sha256(archive)) != source.archive:
            raise WrongArchiveError(f"the archive for {name} has SHA-256 {found}; expected was {source.archive}")
        unpack(archive, source, unpacked)
    except WrongArchiveError:
        archive.unlink()  # adding to a wrong file would never mend it
        raise
    _move(unpacked, target, list(source.files))
    archive.unlink()


def _move(unpacked: Path, target: Path, names: list[str]) -> None:
    if not target.exists():
        unpacked.replace(target)
        return
    for name in names:  # whatever else lies in the folder stays
        (unpacked / name).replace(target / name)
