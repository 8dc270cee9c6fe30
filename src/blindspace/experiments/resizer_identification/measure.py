"""Resizer identification: every resizer in front of a network, asked by probes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...evidence import identify_resizer
from ...maps.resizing.registry import RESIZERS
from ...networks import Network, load
from ...progress import Progress
from ..common.resize_libraries import LIBRARIES
from ..parts import Kept, Part, seed_of
from .settings import WAYS, ResizerIdentificationSettings

LEVELS = 255

Resize = Callable[[Tensor], Tensor]


def parts(s: ResizerIdentificationSettings) -> list[Part]:
    """One part per way to resize, and the control."""
    return [Part(way.replace(" ", "-").replace("'", ""), partial(_asked, s, way)) for way in WAYS] + [
        Part("control", partial(_left_out, s))
    ]


def _asked(s: ResizerIdentificationSettings, way: str, progress: Progress) -> Kept:
    network, found = load(s.network), []
    for k, name in enumerate(s.resizers):
        progress(k, len(s.resizers), name)
        resize = resized(s, network, name, way)
        if resize is None:
            continue
        answer = _identified(s, network, resize, s.resizers, f"{way} {name}")
        match = answer["match"]
        right = match is not None and name in match["resizers"]
        told = [] if match is None else match["resizers"]
        found.append({"resizer": name, "right": right, "told": told, "queries": answer["queries"]})
    return Kept({"found": found})


def _left_out(s: ResizerIdentificationSettings, progress: Progress) -> Kept:
    """The control: the candidates that are the right map are left out."""
    network, found = load(s.network), []
    some = s.resizers[:: s.every]
    for k, name in enumerate(some):
        progress(k, len(some), name)
        resize = resized(s, network, name, WAYS[0])
        assert resize is not None
        whole = _identified(s, network, resize, s.resizers, f"whole {name}")
        same = next((each["resizers"] for each in whole["candidates"] if name in each["resizers"]), [name])
        others = [other for other in s.resizers if other not in same]
        if others:
            answer = _identified(s, network, resize, others, f"control {name}")
            found.append({"resizer": name, "refused": answer["match"] is None})
    return Kept({"found": found})


def _identified(
    s: ResizerIdentificationSettings, network: Network, resize: Resize, names: tuple[str, ...] | list[str], use: str
) -> dict[str, Any]:
    def outputs(x: Tensor) -> Tensor:
        return network.outputs(resize(x).float())

    shape = (network.input_shape[0], *s.size)
    sizes = [network.input_shape[1:]]
    return identify_resizer(outputs, shape, sizes, names, s.queries, seed_of(s.seed, use)).to_dict()


def resized(s: ResizerIdentificationSettings, network: Network, name: str, way: str) -> Resize | None:
    """The resize of pictures ``(B, C, *s.size)`` that stands in front of the network; None if it is not at hand."""
    resizer, out = RESIZERS[name], (network.input_shape[1], network.input_shape[2])
    operator = resizer.map((network.input_shape[0], *s.size), out)
    if way == WAYS[0]:
        return operator.forward
    if way == WAYS[1]:
        return lambda x: (operator.forward(x) * LEVELS).round().div(LEVELS).clamp(0, 1)
    library = LIBRARIES[resizer.library]
    run = library.eight_bit
    if run is None or library.version is None or resizer.eight_bit == "refused by torch":
        return None

    def by_library(x: Tensor) -> Tensor:
        levels = (x * LEVELS).round().byte().numpy()
        made = [[np.asarray(run(resizer.mode, channel, out), np.float64) for channel in image] for image in levels]
        return torch.from_numpy(np.array(made)).div(LEVELS).clamp(0, 1)

    return by_library
