"""Seeded mutations of files: what discs, networks and editors do to them, and what nobody expected to read."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import onnx

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


OPERATIONS = (
    "Add",
    "Concat",
    "Conv",
    "Gather",
    "Gemm",
    "Identity",
    "MatMul",
    "Mul",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
)
"""Operations whose names take the place of others."""


def _graph(data: bytes, rng: random.Random) -> bytes:
    """An ONNX model with one field of a node, an attribute, a tensor, a shape or a version replaced by another."""
    model = onnx.load_from_string(data)
    graph = model.graph
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    value = rng.choice([*graph.input, *graph.output])
    names = [*(name for each in graph.node for name in (*each.input, *each.output)), "", "absent"]
    match rng.randrange(9):
        case 0:
            node.op_type = rng.choice(OPERATIONS)
        case 1:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        case 2:
            node.output[0] = rng.choice(names)
        case 3 if node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.i = rng.choice((-(2**63), -1, 0, 2, 2**62))
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice((-(2**63), -1, 0, 3, 2**31))
        case 4:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((-1, 0, 1, 7, 2**40))
        case 5:
            tensor.data_type = rng.randrange(24)
        case 6:
            rng.choice(value.type.tensor_type.shape.dim).dim_value = rng.choice((-1, 0, 1, 2, 5, 2**40))
        case 7:
            model.opset_import[0].version = rng.choice((0, 1, 6, 11, 13, 26, 10**6))
        case _:
            graph.node.remove(node)
    return bytes(model.SerializeToString())


STRUCTURED: dict[str, Mutation] = {".json": _json, ".onnx": _graph}
"""Mutations of what a file says rather than of its bytes, by suffix."""


def mutated(data: bytes, rng: random.Random, suffix: str = "") -> bytes:
    """One mutated version of a file.

    Args:
        data: The file, not empty.
        rng: Source of the randomness.
        suffix: Suffix of the file, by which what it says may be mutated instead of its bytes.
    """
    if suffix in STRUCTURED and rng.random() < 0.8:
        return STRUCTURED[suffix](data, rng)
    return rng.choice(BYTES)(data, rng)
