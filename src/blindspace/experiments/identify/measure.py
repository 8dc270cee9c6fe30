"""Identify: candidates, modified copies and impostors queried with probes."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...evidence._identify import Probe, probe
from ...networks import BUILTIN, Network, load
from ...progress import Progress
from ..common.models import images, tensors, trained
from ..parts import Kept, Part, about
from .modified_copies import changed, eight_bit, fine_tuned, half_precision, half_pruned, restemmed
from .querying import WAYS, query, verdict, way, within_range
from .settings import KEPT, MOVED, SHIPPED, STRANGER, Identify


def parts(s: Identify) -> list[Part]:
    """Which network is identified as which; how similar an impostor has to be."""
    return [
        Part("matrix", lambda progress: _matrix(s, progress)),
        Part("impostors", lambda progress: _impostors(s, progress)),
    ]


def _candidates(s: Identify, progress: Progress) -> list[Network]:
    """Networks that probes are made for; the stem of each has a nullspace of dimension 512."""
    shipped = load(SHIPPED)
    recipe = replace(BUILTIN[SHIPPED].recipe, epochs=s.epochs, seed=s.seed + 1)
    other = replace(trained(SHIPPED, s, progress, recipe), name=f"{SHIPPED}, seed {recipe.seed}")
    random = restemmed(shipped, f"{SHIPPED}, random stem", s.generator("random stem"))
    return [shipped, other, random, *(trained(name, s, progress) for name in s.paper)]


def _relatives(s: Identify, progress: Progress) -> dict[str, list[Network]]:
    """Copies of the shipped network with its stem and with a changed one, and one unrelated to all candidates."""
    shipped = load(SHIPPED)
    tuning = images("cifar10", s.preset, s.tuning, "train")
    x, y = tensors(tuning, s)
    found: dict[str, list[Network]] = {}
    for kind, stem in ((KEPT, False), (MOVED, True)):
        progress(int(stem), 2, "copies")
        found[kind] = [
            fine_tuned(shipped, f"fine-tuned, {kind}", x, y, s.generator("tuning"), stem),
            changed(shipped, f"8-bit weights, {kind}", eight_bit, stem),
            changed(shipped, f"half pruned, {kind}", half_pruned, stem),
        ]
    found[MOVED].append(changed(shipped, f"float16 weights, {MOVED}", half_precision))
    return found | {STRANGER: [restemmed(shipped, STRANGER, s.generator("stranger"))]}


def _probes(s: Identify, networks: list[Network]) -> list[Probe]:
    x = images("cifar10", s.preset, s.count).tensor(torch.float64).to(s.device)
    return [probe(each, x, s.size, s.generator("probe", each.name)) for each in networks]


def _matrix(s: Identify, progress: Progress) -> Kept:
    """Every network queried with every probe; the candidates also with probes that pass through files."""
    candidates, relatives = _candidates(s, progress), _relatives(s, progress)
    probes = _probes(s, candidates)
    queried, arrays = [], {}
    everyone = [("candidate", each) for each in candidates]
    everyone += [(kind, each) for kind, group in relatives.items() for each in group]
    for index, (kind, network) in enumerate(everyone):
        progress(index, len(everyone), network.name)
        answers = [query(network, of) for of in probes]
        found = verdict(probes, answers)
        queried.append({"name": network.name, "kind": kind, "match": found.match, "change": list(found.change)})
        arrays[network.name] = torch.stack([a.label for a in answers])
    fitting, draw = [within_range(of, s.within / s.size) for of in probes], s.generator("ways")
    for name in WAYS:
        progress(0, 1, f"on the way {name}")
        rows = [[query(network, of, way(name, draw)).change for of in fitting] for network in candidates]
        arrays[f"way {name}"] = torch.stack([torch.stack(row) for row in rows])
    names = [each.name for each in candidates]
    return Kept({"network": about(candidates[0]), "candidates": names, "queried": queried}, arrays)


def _impostors(s: Identify, progress: Progress) -> Kept:
    """Networks with other stems, from random to hardly changed, queried with the shipped network's probe."""
    shipped = load(SHIPPED)
    of = _probes(s, [shipped])[0]
    own = query(shipped, of)
    others, near = [], []
    for index in range(s.impostors):
        progress(index, s.impostors + len(s.drifts), "random stems")
        others.append(query(restemmed(shipped, "", s.generator("impostor", index)), of))
    for index, share in enumerate(s.drifts):
        progress(s.impostors + index, s.impostors + len(s.drifts), "changed stems")
        near.append(query(restemmed(shipped, "", s.generator("drift", index), share), of).change)
    arrays = {"own": own.change, "own label": own.label, "own control": own.control, "drift": torch.stack(near)}
    arrays |= {"change": torch.stack([a.change for a in others]), "label": torch.stack([a.label for a in others])}
    return Kept({"network": about(shipped)}, arrays | {"control": torch.stack([a.control for a in others])})
