"""Lemma 1: perturbations through every layer of a network, their controls, and what the network makes of them."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from ...evidence.acceptance import accept
from ...invariances import through
from ...invariances.features import OUTPUTS
from ...networks import Network, harmless, layers, load
from ...progress import Progress
from ..common.models import images
from ..common.networks_of_others import RESNET20, VIT, resnet20_of_others, vit_of_others
from ..parts import Kept, Part, about, seed_of
from .settings import ANY, BEYOND, Case, Lemma1


def parts(s: Lemma1) -> list[Part]:
    """One part per layer, and one for the outputs."""
    return [
        Part(part_name(case, index), partial(_measure, s, case, index))
        for case in s.cases
        if s.runs(case)
        for index in [*range(0, len(layers(network_of(case))), s.every), -1]
    ]


def part_name(case: Case, index: int) -> str:
    """Name of the part of the layer of that number; -1 stands for the outputs."""
    return f"{case.name}.{OUTPUTS if index < 0 else f'{index:02d}'}"


@lru_cache(maxsize=1)
def network_of(case: Case) -> Network:
    """The network of a case."""
    if case.source == RESNET20:
        return resnet20_of_others()
    return vit_of_others() if case.source == VIT else load(case.source)


def _measure(s: Lemma1, case: Case, index: int, progress: Progress) -> Kept:
    """Perturbations of a few images through one layer, anywhere and beyond the front, and their controls."""
    network = network_of(case)
    every = layers(network)
    name = OUTPUTS if index < 0 else every[index].name
    call = sum(layer.name == name for layer in every[: max(index, 0)])
    pictures = images(case.dataset, s.preset, case.images + s.reference).tensor().to(s.device).double()
    x, unrelated = pictures[: case.images], pictures[case.images :]
    between, front = through(network, name, call), harmless(network)
    values: dict[str, Any] = {
        "network": about(network),
        "layer": name,
        "inputs": x[0].numel(),
        "front": front.dim,
        "read": None if index < 0 else every[index].operator.in_dim,
        "dim": None if index < 0 else between.space.dim,
        "certificate": None if index < 0 else between.space.certificate.kind,
        "demands": list(between.demands),
        "reasons": {},
        "kinds": {},
    }
    arrays: dict[str, Tensor] = {}
    ways = (ANY, BEYOND) if front.dim else (ANY,)
    changed: list[Tensor] = []
    for step, way in enumerate(ways):

        def report(done: int, of: int, what: str, step: int = step) -> None:
            progress(step * of + done, len(ways) * of + 1, f"{case.name}, {what}")

        seed = seed_of(s.seed, case.name, index, way) % 2**31
        found = between.find(
            x, size=s.size, beyond_front=way == BEYOND, seed=seed, products=s.products, progress=report
        )
        changed.append(found.images)
        values["reasons"][way] = list(found.reasons)
        for what, figures in found.to_dict().items():
            if what != "reasons":
                arrays[f"{way}/{what}"] = torch.tensor(figures, dtype=torch.float64)
        arrays[f"{way}/in box"] = ((found.images >= 0) & (found.images <= 1)).flatten(1).all(1)
        arrays[f"{way}/image"] = found.images[0].float()
    _judge(s, network, (name, call), (x, torch.cat(changed), unrelated), ways, values, arrays)
    arrays["image"] = x[0].float()
    return Kept(values, arrays)


def _judge(
    s: Lemma1,
    network: Network,
    layer: tuple[str, int],
    pictures: tuple[Tensor, Tensor, Tensor],
    ways: tuple[str, ...],
    values: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """What acceptance says of all perturbed images, at the layer and at the outputs, beside the controls."""
    x, changed, unrelated = pictures
    seed = seed_of(s.seed, "acceptance", network.name) % 2**31
    originals = x.repeat(len(ways), *[1] * (x.ndim - 1))
    at = accept(network, originals, changed, layer[0], unrelated, pairs=s.pairs, call=layer[1], seed=seed)
    out = (
        at if layer[0] == OUTPUTS else accept(network, originals, changed, OUTPUTS, unrelated, pairs=s.pairs, seed=seed)
    )
    for step, way in enumerate(ways):
        some = slice(step * len(x), (step + 1) * len(x))
        values["kinds"][way] = {"layer": list(at.kinds[some]), OUTPUTS: list(out.kinds[some])}
        for place, judged in (("layer", at), (OUTPUTS, out)):
            assert judged.quantile is not None
            arrays[f"{way}/{place} accepted"] = torch.tensor([bool(ok) for ok in judged.accepted[some]])
            arrays[f"{way}/{place} distance"] = judged.found.distance[some].clone()
            arrays[f"{way}/{place} quantile"] = judged.quantile[some].clone()
            arrays[f"{way}/{place} shuffled"] = judged.shuffled[some].clone()
            arrays[f"{way}/{place} gaussian"] = judged.gaussian[some].clone()
    assert at.null is not None
    values["null"] = at.null.to_dict()
