"""Seeded mutations of files: what discs, networks and editors do to them, and what nobody expected to read."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 32))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _remove(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice((1, 4, 64, 512))
    return data[:at] + data[at + length :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 64))) + data[at:]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice((4, 64, 512))
    return data[: at + length] + data[at : at + length] + data[at + length :]


def _number(data: bytes, rng: random.Random) -> bytes:
    """A number of a header becomes an extreme one; most numbers stand near the beginning or the end."""
    width = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 0x7F, 0x80, (1 << 8 * width - 1) - 1, (1 << 8 * width) - 1)) % (1 << 8 * width)
    places = (
        rng.randrange(len(data)),
        rng.randrange(min(64, len(data))),
        len(data) - 1 - rng.randrange(min(64, len(data))),
    )
    at = rng.choice(places)
    changed = data[:at] + value.to_bytes(width, rng.choice(("little", "big"))) + data[at + width :]
    return changed[: len(data)]


def _zeros(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice((16, 512, 4096))
    return (data[:at] + bytes(length) + data[at + length :])[: len(data)]


def _nothing(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", b"\0", b"\n", b"{}", b"[]", data[:1], bytes(4096), b"\xef\xbb\xbf" + data, data + data))


BYTES: tuple[Mutation, ...] = (_flip, _flip, _cut, _remove, _insert, _repeat, _number, _number, _zeros, _nothing)

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 0.5, -0.5, 1e308, 2**31, 2**63, "", "x", "../x", "/", [], [0], [[]], {}),
    *([0.5], [0.5, 0.5], [0.5, 0.5, 0.5], ["a"], {"height": 8}, {"shortest_edge": 0}, {"height": -1, "width": 2}),
)
"""Values that take the place of others in JSON."""


def _json(data: bytes, rng: random.Random) -> bytes:
    """One or two values of a JSON document removed, renamed, or replaced by another of perhaps another type."""
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        places = list(_places(document))
        if not places:
            return json.dumps(rng.choice(VALUES)).encode()
        holder, key = rng.choice(places)
        if rng.random() < 0.25 and isinstance(holder, dict):
            value = holder.pop(key)
            if rng.random() < 0.3:
                holder[f"{key}_"] = value
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(document).encode()


def _places(document: Any) -> Any:
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in list(keys):
        yield document, key
        yield from _places(document[key])


def mutated(data: bytes, rng: random.Random, is_json: bool = False) -> bytes:
    """One mutated version of a file.

    Args:
        data: The file, not empty.
        rng: Source of the randomness.
        is_json: Whether the file is a JSON document, whose values are mutated rather than its bytes.
    """
    if is_json and rng.random() < 0.8:
        return _json(data, rng)
    return rng.choice(BYTES)(data, rng)
