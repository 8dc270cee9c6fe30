"""Blackbox: SimBA and NES under every kind of confinement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod, sqrt

import torch

from ...attacks import Cosines, Directions, Pixels, Queried, nes, simba
from ...progress import Progress
from ..common.victims import Victim, confined, slopes, victim
from ..parts import Kept, Part, about
from .settings import CONTROLS, VALUES, Blackbox, part_name, parts_of


def parts(s: Blackbox) -> list[Part]:
    """One part per network, attack and kind of confinement."""

    def part(name: str, attack: str, kind: str) -> Part:
        return Part(part_name(name, attack, kind), lambda progress: _attacked(s, name, attack, kind, progress))

    return [part(*each) for each in parts_of(s)]


def _attacked(s: Blackbox, name: str, attack: str, kind: str, progress: Progress) -> Kept:
    """Queries of one attack under one confinement, on all images, each as often as there are seeds."""
    progress(0, 1, name)
    found = victim(name, s, s.count)
    space = confined(kind, found, s.generator(name, kind))
    harmless = kind == "harmless"
    count = s.harmless_count if harmless else s.count
    seeds = 1 if kind in CONTROLS else s.seeds
    x, y = found.images[:count].repeat(seeds, 1, 1, 1), found.labels[:count].repeat(seeds)
    # SimBA projects at every query, NES after many.
    most = s.harmless_queries * (1 if attack == "simba" else 5) if harmless else s.queries
    factor = sqrt(prod(found.network.input_shape) / VALUES)
    run = partial(
        simba if attack == "simba" else nes,
        found.network.differentiable(found.network.dtype, x.device),
        x,
        y,
        s.size * factor,
        queries=most,
        subspace=space,
        # The same for every kind, so that the directions differ by the projection alone.
        generator=s.generator(name, attack),
    )
    if attack == "simba":
        # The component outside that clipping adds matters in the harmless space only; it is measured in the others.
        out: Queried = run(step_size=s.step * factor, joint=harmless, directions=_directions(kind, found))
    else:
        out = run(pairs=s.pairs, sigma=s.step * factor)
    gradient = None if space is None or harmless else slopes(found)
    # Every gradient lies in the effective space.
    known = torch.ones(int(kind == "effective"))
    share = known if space is None or gradient is None else space.energy(gradient)
    whole = float(out.perturbation.square().sum())
    outside = 0.0 if space is None else float(space.reject(out.perturbation).square().sum())
    values = {
        "network": about(found.network),
        "n": prod(found.network.input_shape),
        "d": None if space is None else space.dim,
        "effective": found.effective.dim,
        "most": most,
        "outside": outside / whole if whole else 0.0,
    }
    arrays = {
        "queries": out.queries.view(seeds, -1),
        "success": out.success.view(seeds, -1),
        "norm": out.perturbation.flatten(1).norm(dim=1).view(seeds, -1),
        "share": share.double(),
    }
    return Kept(values, arrays)


def _directions(kind: str, found: Victim) -> Callable[[Sequence[torch.Generator]], Directions] | None:
    shape = found.network.input_shape
    match kind:
        case "pixels":
            return partial(Pixels, shape=shape)
        case "cosines":
            return partial(Cosines, shape=shape, count=found.effective.dim)
        case _:
            return None
