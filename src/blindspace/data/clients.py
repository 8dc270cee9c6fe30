"""Downloads a package with its registry's own client, which knows the mirrors, proxies and keys of this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..errors import FileError
from .sources import Source

_POLL = 0.2  # seconds


def download_with_client(source: Source, folder: Path, progress: Callable[[int, int], None]) -> Path:
    """Have ``npm`` or ``apt-get`` put a package's archive into an empty folder.

    Args:
        source: which package, by which client.
        folder: holds the archive, and while it runs the client's own files.
        progress: called with the bytes so far, as far as they show, and those of the whole archive.

    Returns:
        The archive.

    Raises:
        FileError: the client is not installed or fails; the message holds its own last words.
    """
    program = shutil.which(source.client)
    if program is None:
        raise FileError(f"the program {source.client} is not installed, which downloads {source.package}")
    if source.client == "npm":
        # A cache of its own: what has arrived can be counted, and no second copy stays behind.
        cache = ["--cache", str(folder / "cache")]
        command, suffix = [program, "pack", source.package, "--ignore-scripts", "--loglevel=error", *cache], ".tgz"
    else:
        command, suffix = [program, "download", source.package], ".deb"
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
                    progress(min(_size(folder), source.size), source.size)
        finally:
            if process.poll() is None:  # Ctrl-C, or an error in progress
                process.terminate()
                process.wait()
        words.seek(0)
        lines = words.read().decode("utf-8", "replace").split("\n")
    archives = sorted(folder.glob(f"*{suffix}"))
    if process.returncode or len(archives) != 1:
        said = next((line.strip() for line in lines if _is_error(line)), f"it ended with {process.returncode}")
        raise FileError(f"{source.client} could not download {source.package}: {said}")
    progress(source.size, source.size)
    return archives[0]


def _is_error(line: str) -> bool:
    """Whether a line says what went wrong: no warning, no bare code."""
    return bool(line.strip()) and not line.lower().startswith(("npm warn", "npm error code", "npm err! code", "w:"))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # the client moves its files about meanwhile
            continue
    return total
