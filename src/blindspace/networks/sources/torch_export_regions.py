"""Regions of an exported graph that run without gradients or under autocast, laid out among the other operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Json = Mapping[str, Any]

WITHOUT_GRADIENTS = "torch.ops.higher_order.wrap_with_set_grad_enabled"
AUTOCAST = "torch.ops.higher_order.wrap_with_autocast"

BFLOAT16 = 13
"""The precision of autocast where none is given, by its number in the file format."""


@dataclass(frozen=True)
class Autocast:
    """The precision to which operations convert what they read; off if None."""

    dtype: int | None

    def __call__(self, dtypes: Mapping[int, torch.dtype]) -> torch.autocast:
        """The context in which operations run."""
        if self.dtype is None:
            return torch.autocast("cpu", enabled=False)
        return torch.autocast("cpu", dtype=dtypes[self.dtype], cache_enabled=False)


def laid_out(nodes: Iterable[Json], autocast: Autocast | None = None) -> Iterator[tuple[Json, Autocast | None]]:
    """The nodes of a graph with those of its regions in their places, each with the autocast that it runs under.

    The values of a region have names of its own, which begin with that of what it writes.
    """
    for node in nodes:
        if node["target"] not in (WITHOUT_GRADIENTS, AUTOCAST):
            yield node, autocast
            continue
        given = [each["arg"] for each in node["inputs"]]
        place = next(index for index, argument in enumerate(given) if "as_graph" in argument)
        inner = autocast
        if node["target"] == AUTOCAST:
            device, dtype, enabled, *_ = given
            if device["as_string"] == "cpu":  # that of other devices has no effect on this one
                inner = Autocast(dtype.get("as_scalar_type", BFLOAT16) if enabled["as_bool"] else None)
        graph = given[place]["as_graph"]["graph"]
        names = dict(zip(_named(graph["inputs"]), _named(given[place + 1 :]), strict=True))
        written = _named(node["outputs"])
        for each, cast in laid_out(graph["nodes"], inner):
            yield _renamed(each, names, f"{written[0]} "), cast
        for name, inside in zip(written, graph["outputs"], strict=True):
            read = {"name": "self", "arg": _renamed(inside, names, f"{written[0]} ")}
            yield {"target": "torch.ops.aten.alias.default", "inputs": [read], "outputs": [_tensor(name)]}, None


def _named(given: Iterable[Json]) -> list[str]:
    """The names of values."""
    found = []
    for each in given:
        for value in each.values():
            parts = value if isinstance(value, list) else [value]
            found += [str(part.get("name", part.get("as_name"))) for part in parts if isinstance(part, dict)]
    return found


def _tensor(name: str) -> Json:
    return {"as_tensor": {"name": name}}


def _renamed(part: Any, names: Mapping[str, str], prefix: str) -> Any:
    """Arguments, results or a node with the names of values replaced: known ones, and others by a prefix."""
    if isinstance(part, list):
        return [_renamed(each, names, prefix) for each in part]
    if not isinstance(part, dict):
        return part
    if "target" in part:
        inputs = [{**each, "arg": _renamed(each["arg"], names, prefix)} for each in part["inputs"]]
        return {**part, "inputs": inputs, "outputs": _renamed(part["outputs"], names, prefix)}
    return {
        key: names.get(value, prefix + value)
        if key in ("name", "as_name") and isinstance(value, str)
        else _renamed(value, names, prefix)
        for key, value in part.items()
    }
