"""Takes named files out of a .tgz or .deb, checked by their SHA-256; nothing else in it touches the disk."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ..errors import FileError
from ..files import sha256
from .sources import Source


class WrongArchiveError(FileError):
    """The archive itself is wrong, so that to keep it would not help."""


def unpack(archive: Path, source: Source, folder: Path) -> None:
    """Write ``source.files`` from an archive into ``folder``, under their own names.

    Raises:
        WrongArchiveError: the archive is damaged, lacks a file, or a file has another SHA-256 than ``source`` says.
        FileError: dpkg-deb is needed and not installed.
        OSError: the disk refuses.
    """
    try:
        if source.client == "npm":
            with tarfile.open(archive, "r:gz") as members:
                _take(members, source, folder)
        else:
            _unpack_deb(archive, source, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongArchiveError(f"{archive.name} is damaged ({error}); fetch it again") from error
    for name, expected in source.files.items():
        path = folder / name
        if not path.is_file():
            raise WrongArchiveError(
                f"{archive.name} has no file {source.folder}/{name}; it is another package than expected"
            )
        if (found := sha256(path)) != expected:
            raise WrongArchiveError(f"{name} from {archive.name} has SHA-256 {found}; expected was {expected}")


def _unpack_deb(archive: Path, source: Source, folder: Path) -> None:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise FileError(f"the program dpkg-deb is not installed, which opens {archive.name}")
    command = [program, "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=cast(IO[bytes], process.stdout), mode="r|") as members:
                _take(members, source, folder)
        finally:
            process.kill()  # it may have more to say than was wanted


def _take(members: tarfile.TarFile, source: Source, folder: Path) -> None:
    wanted = {f"{source.folder}/{name}": name for name in source.files}
    for member in members:
        # The path on disk comes from the table here, never from the archive.
        name = wanted.get(str(PurePosixPath(member.name)))
        content = members.extractfile(member) if name is not None and member.isreg() else None
        if name is None or content is None:
            continue
        with content, open(folder / name, "wb") as target:
            shutil.copyfileobj(content, target, 1 << 20)
