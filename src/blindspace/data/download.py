"""Downloads one file over HTTP so that an interrupted download goes on where it stopped."""

from __future__ import annotations

import fcntl
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import FileError

_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 18


def download(address: str, part: Path, limit: int, progress: Callable[[int, int], None]) -> None:
    """Download ``address`` into ``part``, adding to what is there already.

    Args:
        address: an ``http`` or ``https`` address.
        part: the file; it stays when the download is interrupted and is completed by the next call.
        limit: the most bytes accepted.
        progress: called with the bytes so far and the bytes in all.

    Raises:
        FileError: no connection, a refusal, a connection that broke, more than ``limit`` bytes, or
            another process is at the same download.
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
        # Nothing lies beyond what is here. If the server's file is as long, it is done; else it is another file.
        error.close()
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            progress(have, have)
        else:
            _empty(stream)
            _continue(address, stream, limit, progress)
        return
    with response:
        whole = re.fullmatch(rf"bytes {have}-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status != 206 or whole is None:  # it sends all of it, from the start
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
    stream.seek(0)  # truncating alone leaves the position behind the end
    stream.truncate()
