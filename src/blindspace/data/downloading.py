"""Downloads of one archive: over HTTP, resumable, or by the client of a package registry.

The clients npm and apt-get know the mirrors, proxies and keys of this machine.
"""

from __future__ import annotations

import fcntl
import http.client
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import FileError
from .registry_packages import RegistryPackage

_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 18  # bytes


def download(address: str, part: Path, limit: int, progress: Callable[[int, int], None]) -> None:
    """Download ``address`` into ``part``, appending to what is there already.

    Args:
        address: An ``http`` or ``https`` address.
        part: The file; it stays when the download is interrupted and is completed by the next call.
        limit: Maximum number of bytes accepted.
        progress: Called with the bytes so far and the bytes in all.

    Raises:
        FileError: There is no connection, the server refuses, the connection broke, more than ``limit`` bytes arrive,
            or another process runs the same download.
    """
    if not address.lower().startswith(("http://", "https://")):
        raise FileError(f"cannot download from {address!r}; give an address that begins with http:// or https://")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FileError(f"another process is downloading to {part}; wait for it to end") from error
            _continue(address, stream, limit, progress)
    except urllib.error.HTTPError as error:
        raise FileError(f"{address} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise FileError(f"downloading {address} failed: {reason}; run it again to go on from there") from error


def _continue(address: str, stream: BinaryIO, limit: int, progress: Callable[[int, int], None]) -> None:
    have = stream.tell()
    headers = {"User-Agent": "blindspace", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        # The server has nothing beyond these bytes. If its file is as long, it is complete; else it is another file.
        error.close()
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            progress(have, have)
        else:
            _empty(stream)
            _continue(address, stream, limit, progress)
        return
    with response:
        whole = re.fullmatch(rf"bytes {have}-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status != 206 or whole is None:  # The server sends the whole file from the start.
            _empty(stream)
            have = 0
        length = response.headers.get("Content-Length")
        total = int(whole[1]) if whole and have else int(length) if length else limit
        while piece := response.read(_PIECE):
            have += len(piece)
            if have > limit:
                _empty(stream)
                raise FileError(f"{address} sends more than the {limit} bytes expected; it is another file")
            stream.write(piece)
            progress(have, max(total, have))
    if (whole or length) and have < total:
        raise FileError(f"{address} broke off after {have} of {total} bytes; run it again to go on from there")


def _empty(stream: BinaryIO) -> None:
    stream.seek(0)  # Truncating alone leaves the position behind the end.
    stream.truncate()


_POLL = 0.2  # seconds


def download_with_client(package: RegistryPackage, folder: Path, progress: Callable[[int, int], None]) -> Path:
    """Let ``npm`` or ``apt-get`` download a package's archive into an empty folder.

    Args:
        package: The package and its client.
        folder: Folder for the archive and, during the download, the client's own files.
        progress: Called with the bytes so far, as far as they are visible, and those of the whole archive.

    Returns:
        The archive.

    Raises:
        FileError: The client is not installed or fails; the message repeats its own error.
    """
    program = shutil.which(package.client)
    if program is None:
        raise FileError(f"the program {package.client} is not installed, which downloads {package.name}")
    if package.client == "npm":
        # With a cache of its own the bytes can be counted, and no second copy stays behind.
        cache = ["--cache", str(folder / "cache")]
        command, suffix = [program, "pack", package.name, "--ignore-scripts", "--loglevel=error", *cache], ".tgz"
    else:
        command, suffix = [program, "download", package.name], ".deb"
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words
        )
        try:
            while True:
                try:
                    process.wait(_POLL)
                    break
                except subprocess.TimeoutExpired:
                    progress(min(_size(folder), package.size), package.size)
        finally:
            if process.poll() is None:  # Ctrl-C, or an error in progress
                process.terminate()
                process.wait()
        words.seek(0)
        lines = words.read().decode("utf-8", "replace").split("\n")
    archives = sorted(folder.glob(f"*{suffix}"))
    if process.returncode or len(archives) != 1:
        said = next((line.strip() for line in lines if _is_error(line)), f"it ended with {process.returncode}")
        raise FileError(f"{package.client} could not download {package.name}: {said}")
    progress(package.size, package.size)
    return archives[0]


def _is_error(line: str) -> bool:
    """Whether a line states the error: neither a warning nor a bare code."""
    return bool(line.strip()) and not line.lower().startswith(("npm warn", "npm error code", "npm err! code", "w:"))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # The client moves its files meanwhile.
            continue
    return total
