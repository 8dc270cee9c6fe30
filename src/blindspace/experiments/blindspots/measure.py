"""Blind spots: paths that keep all logits, and the rule that keeps one number, on the same pairs of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from ...data import ImageSet
from ...evidence import similarity
from ...invariances import level_set
from ...networks import SMALL, Network, harmless, load
from ...progress import Progress
from ..common.classifiers import classifier
from ..common.models import images
from ..common.networks_of_others import RESNET20, resnet20_of_others
from ..common.photographs import photographs
from ..parts import Kept, Part, about
from .one_scalar import traverse
from .settings import Blindspots, Case

SHOWN = (1 / 3, 2 / 3)
"""Shares of the length of a path at which its points are kept for the picture."""

FRAMES = tuple(i / 6 for i in range(7))
"""Those at which they are kept for pictures of one path alone."""

PHOTOGRAPHED = "cifar10"
"""Data set of the networks that read photographs."""

STRAIGHT = 16
"""Number of points of the straight line at which logits are measured."""


def parts(s: Blindspots) -> list[Part]:
    """One part per network and pair of images."""
    return [
        Part(part_name(case, seed, pair), partial(_measure, s, case, seed, pair))
        for case in s.cases
        if s.runs(case)
        for seed in range(case.seeds)
        for pair in range(case.pairs)
    ]


def part_name(case: Case, seed: int, pair: int) -> str:
    """Name of the part of a pair."""
    return f"{case.name}.{seed}.{pair}"


@lru_cache(maxsize=1)
def network_of(s: Blindspots, case: Case, seed: int) -> Network:
    """The network of a case with that seed."""
    if case.kind in SMALL:
        found = classifier(case.kind, PHOTOGRAPHED if case.side else case.dataset, seed, s)
    else:
        found = resnet20_of_others() if case.kind == RESNET20 else load(case.kind)
    if case.side:
        network = load(found.module, (3, case.side, case.side), preprocess="resize 32", name=found.name)
        return replace(network, classes=found.classes, card=found.card)
    return found


def images_of(s: Blindspots, case: Case) -> ImageSet:
    """The images of a case, enough for its pairs."""
    return photographs(case.side) if case.side else images(case.dataset, s.preset, 4 * case.pairs + 16)


def pairs_of(s: Blindspots, network: Network, of: ImageSet) -> Iterator[tuple[int, int]]:
    """Neighbours in a data set that differ in their labels and in what the network takes them for, each image once."""
    said = network.outputs(of.tensor().to(s.device)).flatten(1).argmax(1)
    for first in range(0, len(of) - 1, 2):
        if of.labels[first] != of.labels[first + 1] and said[first] != said[first + 1]:
            yield first, first + 1


def _measure(s: Blindspots, case: Case, seed: int, pair: int, progress: Progress) -> Kept:
    """Both rules on one pair, and the controls."""
    network = network_of(s, case, seed)
    some = images_of(s, case)
    source, other = list(pairs_of(s, network, some))[pair]
    pictures = some.tensor().to(s.device).double()
    x, target = pictures[source], pictures[other]
    label = f"{case.name}, seed {seed}, pair {pair}"
    ours = level_set(
        network,
        x,
        target,
        tolerance=s.tolerance,
        steps=case.steps,
        progress=lambda done, of, what: progress(done, of, f"{label}, {what}"),
    )
    rule = traverse(s, network, x, target, s.generator(case.name, seed, pair))
    end = ours.end.to(s.device)  # a path lies in a file
    front = harmless(network, check=False)
    beside = (target - x - front.project((target - x)[None])[0]).square().mean().sqrt()
    shares = torch.linspace(0, 1, STRAIGHT + 1, dtype=x.dtype).to(s.device)
    line = x + shares.view(-1, *[1] * x.ndim) * (end - x)
    outputs = network.outputs(line, torch.float64).flatten(1)
    straight = (outputs - outputs[0]).abs().max() / outputs[0].abs().max()
    ends = torch.stack([x, end, rule.points[-1]])
    goals = target.expand_as(ends)
    looks = similarity(ends, goals, with_perceptual=False)
    values: dict[str, Any] = {
        "network": about(network),
        "labels": [int(some.labels[source]), int(some.labels[other])],
        "pair": [source, other],
        "front": front.dim,
        "front rmse": float(beside),
        "path": ours.to_dict(),
        "in box": bool(((ours.vertices >= 0) & (ours.vertices <= 1)).all()),
        "straight": float(straight),
        "rule": {
            "kept": rule.kept,
            "reason": rule.reason,
            "change end": float(rule.changes[-1]),
            "change largest": float(rule.changes.max()),
            "confidence start": float(rule.confidence[0]),
            "confidence end": float(rule.confidence[-1]),
            "same label": bool(rule.outputs[-1].argmax() == rule.outputs[0].argmax()),
        },
        "rmse": _named((ends - goals).square().flatten(1).mean(1).sqrt()),
        "ssim": _named(looks.ssim),
    }
    shown = torch.cat([x[None], ours.at(SHOWN).to(s.device), end[None], target[None], rule.points[-1:]])
    values["said"] = _said(network, shown)
    frames = ours.at(FRAMES).to(s.device)
    values["frames said"] = _said(network, frames)
    return Kept(values, {"shown": shown.float(), "frames": frames.float()})


def _said(network: Network, pictures: Tensor) -> list[str]:
    """What the network takes pictures for, with its confidence."""
    confidence, label = network.outputs(pictures, torch.float64).flatten(1).softmax(1).max(1)
    names = network.classes or [str(i) for i in range(int(label.max()) + 1)]
    return [f"{names[i]}, {share:.2f}" for i, share in zip(label.tolist(), confidence.tolist(), strict=True)]


def _named(figures: Tensor) -> dict[str, float]:
    return dict(zip(("start", "path", "rule"), figures.tolist(), strict=True))
