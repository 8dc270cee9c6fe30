"""Resizer identification: every resizer in front of a network, asked by probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...evidence import ResizerIdentification, identify_resizer
from ...evidence.resizes.candidates import candidates
from ...maps import LinearMap
from ...maps.resizing import resizer
from ...networks import Network, load
from ...networks.preprocessing_modules import CentreCrop
from ...networks.preprocessing_modules import Resize as ResizeTo
from ...progress import Progress
from ..common.resize_libraries import LIBRARIES
from ..parts import Kept, Part, seed_of
from .settings import WAYS, ResizerIdentificationSettings, Several

LEVELS = 255

Resize = Callable[[Tensor], Tensor]


SEVERAL = ("several sizes", "larger picture")
"""The parts in which the size is unknown too."""


def part_of(case: str) -> str:
    """Name of the part of a case."""
    return case.replace(" ", "-").replace("'", "")


def parts(s: ResizerIdentificationSettings) -> list[Part]:
    """One part per way to resize, one per control, and those of several sizes."""
    asked = [Part(part_of(way), partial(_asked, s, way)) for way in WAYS]
    controls = [Part(part_of(f"control {way}"), partial(_left_out, s, way)) for way in WAYS]
    several = [
        Part(part_of(case), partial(_several, s, case, each))
        for case, each in zip(SEVERAL, (s.several, s.large), strict=True)
    ]
    return [*asked, *controls, *several]


def _asked(s: ResizerIdentificationSettings, way: str, progress: Progress) -> Kept:
    network, found = load(s.network), []
    for k, name in enumerate(s.resizers):
        progress(k, len(s.resizers), name)
        resize = _resized(s, network, name, way)
        if resize is None:
            continue
        answer = _identified(s, network, resize, s.resizers, f"{way} {name}")
        found.append({"resizer": name, "right": name in _told(answer), **_summary(answer)})
    return Kept({"found": found})


def _left_out(s: ResizerIdentificationSettings, way: str, progress: Progress) -> Kept:
    """The control: the candidates that are the right map are left out."""
    network, found = load(s.network), []
    known = candidates(map(resizer, s.resizers), (network.input_shape[0], *s.size), [_out(network)])
    same = {name: each.names for each in known for name in each.names}
    some = s.resizers[:: s.every]
    for k, name in enumerate(some):
        progress(k, len(some), name)
        others = [other for other in s.resizers if other not in same[name]]
        resize = _resized(s, network, name, way)
        if others and resize is not None:
            answer = _identified(s, network, resize, others, f"control {way} {name}")
            found.append({"resizer": name, "refused": not answer.fits, **_summary(answer)})
    return Kept({"found": found})


def _several(s: ResizerIdentificationSettings, case: str, several: Several, progress: Progress) -> Kept:
    """Resizers in front of the network, rounded, to one of several sizes each."""
    network, found = load(s.network), []
    shape, some = (network.input_shape[0], *several.size), s.resizers[:: several.every]
    crop = torch.nn.Identity() if several.crop is None else CentreCrop(several.crop)
    for k, name in enumerate(some):
        progress(k, len(some), name)
        size = several.sizes[k % len(several.sizes)]
        out = ResizeTo(size).size_of(several.size)
        resize = rounded(resizer(name).map(shape, out))

        def outputs(x: Tensor, resize: Resize = resize) -> Tensor:
            return network.run(crop(resize(x)).to(s.device, torch.float32), torch.float32).cpu()

        seed = seed_of(s.seed, case, name)
        answer = identify_resizer(outputs, shape, several.sizes, s.resizers, s.queries, seed)
        right = name in _told(answer) and answer.scores[0].size == out
        found.append({"resizer": name, "size": list(out), "right": right, **_summary(answer)})
    return Kept({"found": found})


def _told(answer: ResizerIdentification) -> tuple[str, ...]:
    return () if answer.match is None else answer.match.names


def _summary(answer: ResizerIdentification) -> dict[str, Any]:
    told = "" if answer.match is None else " to {}×{}".format(*answer.match.size)
    return {
        "told": ", ".join(_told(answer)) + told,
        "change": answer.change,
        "p_value": answer.p_value,
        "queries": answer.queries,
    }


def _out(network: Network) -> tuple[int, int]:
    return network.input_shape[1], network.input_shape[2]


def _identified(
    s: ResizerIdentificationSettings, network: Network, resize: Resize, names: Sequence[str], use: str
) -> ResizerIdentification:
    def outputs(x: Tensor) -> Tensor:
        return network.outputs(resize(x).to(s.device, torch.float32)).cpu()

    shape = (network.input_shape[0], *s.size)
    return identify_resizer(outputs, shape, [_out(network)], names, s.queries, seed_of(s.seed, use))


def rounded(operator: LinearMap) -> Resize:
    """A resize in real numbers, then rounded to eight bits."""
    return lambda x: (operator.forward(x) * LEVELS).round().div(LEVELS).clamp(0, 1)


def _resized(s: ResizerIdentificationSettings, network: Network, name: str, way: str) -> Resize | None:
    """The resize of pictures ``(B, C, *s.size)`` that stands in front of the network; None if it is not at hand."""
    chosen, out = resizer(name), _out(network)
    operator = chosen.map((network.input_shape[0], *s.size), out)
    if way == WAYS[0]:
        return operator.forward
    if way == WAYS[1]:
        return rounded(operator)
    library = LIBRARIES[chosen.library]
    run = library.eight_bit
    if run is None or library.version is None or chosen.eight_bit == "refused by torch":
        return None

    def by_library(x: Tensor) -> Tensor:
        levels = (x * LEVELS).round().byte().numpy()
        made = [[np.asarray(run(chosen.mode, channel, out), np.float64) for channel in image] for image in levels]
        return torch.from_numpy(np.array(made)).div(LEVELS).clamp(0, 1)

    return by_library
