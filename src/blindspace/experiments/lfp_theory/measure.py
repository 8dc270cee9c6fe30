"""Reach of the theory: exact solutions beside gradient descent, and the second network beside the prediction."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...errors import NotSeparableError
from ...learning.condition import condition
from ...learning.descent import Descended, descent
from ...learning.geometry import geometric
from ...learning.max_margin import MaxMargin, max_margin
from ...learning.relearnt import guaranteed, relearnt
from ...learning.two_layer import TwoLayer
from ...progress import Progress
from ..common.binary_samples import Binary, binary, signs
from ..parts import Kept, Part
from .settings import KINDS, Case, TheorySettings

SMALL, DEFAULT = "small", "default"
"""Initial weights: near 0, as in the theory, or as torch draws them for a linear layer."""


def parts(s: TheorySettings) -> list[Part]:
    """One part per named case and seed, and per kind of data and seed of the grid."""
    named = [
        Part(f"named-{i}-{seed}", partial(_named, s, i, seed)) for i in range(len(s.named)) for seed in range(s.seeds)
    ]
    grid = [
        Part(f"grid-{i}-{seed}", partial(_grid, s, i, seed)) for i in range(len(KINDS)) for seed in range(s.grid_seeds)
    ]
    return named + grid


def _named(s: TheorySettings, index: int, seed: int, progress: Progress) -> Kept:
    """A named case: both initial weights, and the networks that learn from perturbed samples."""
    case, draw = s.named[index], s.generator("named", index, seed)
    data = binary(case.kind, case.count, case.dim, s.points, draw, s)
    exact = max_margin(data.x, data.y, case.slope)
    values = _about(case, data, exact)
    for name, scale in ((SMALL, s.start), (DEFAULT, None)):
        start = TwoLayer.random(s.width, case.dim, case.slope, draw, scale)
        found = descent(start, data.x, data.y, s.long, progress)
        values[name] = _beside(exact, found, data) | {
            "within": condition(data.x, case.slope).within(found.multipliers),
        }
    values["again"] = [
        _again(s, case, data, exact, ratio, targets, name == "all wrong", draw, progress)
        for ratio in s.ratios
        for name, targets in (("random", signs(case.count, draw, s.device)), ("all wrong", -data.y))
    ]
    return Kept(values)


def _again(
    s: TheorySettings,
    case: Case,
    data: Binary,
    exact: MaxMargin,
    ratio: float,
    targets: Tensor,
    wrong: bool,
    draw: torch.Generator,
    progress: Progress,
) -> dict[str, Any]:
    """A network that learns from the perturbed samples, beside the prediction and the first network."""
    size = float(data.x.norm(dim=1).mean()) / len(data.x) ** 0.5
    added = geometric("l2", exact.direction, targets, ratio * size)
    second = max_margin(data.x + added, targets, case.slope)
    start = TwoLayer.random(s.width, case.dim, case.slope, draw, s.start)
    found = descent(start, data.x + added, targets, s.steps, progress)
    terms = relearnt(second.multipliers, targets, data.x, added, exact.direction, data.z)
    seen = found.network(data.z).sign()
    bounds = condition(data.x + added, case.slope)
    return {
        "ratio": ratio,
        "wrong": wrong,
        "exact": second.exact,
        "condition": bounds.margin,
        "predicted": int((seen == terms.second.sign()).sum()),
        "first": int((seen == terms.first.sign()).sum()),
        "dominated": int(terms.dominated.sum()),
        "agree in it": int((seen == terms.first.sign())[terms.dominated].sum()),
        "guaranteed": int(guaranteed(bounds, targets, data.x + added, exact.direction, data.z).sum()),
        "natural": float((found.network(data.x).sign() == data.y).double().mean()),
    }


def _grid(s: TheorySettings, index: int, seed: int, progress: Progress) -> Kept:
    """Every case of a kind of data: the exact solution, if there is one, beside gradient descent from a small start."""
    cases, found = s.grid(KINDS[index]), []
    for done, case in enumerate(cases):
        progress(done, len(cases), case.name)
        draw = s.generator("grid", case.name, seed)
        data = binary(case.kind, case.count, case.dim, s.points, draw, s)
        try:
            exact = max_margin(data.x, data.y, case.slope)
        except NotSeparableError:
            found.append({"solved": False, "condition": condition(data.x, case.slope).margin})
            continue
        start = TwoLayer.random(s.width, data.x.shape[1], case.slope, draw, s.start)
        found.append(_about(case, data, exact) | _beside(exact, descent(start, data.x, data.y, s.steps), data))
    return Kept({"cells": found})


def _about(case: Case, data: Binary, exact: MaxMargin) -> dict[str, Any]:
    """The exact solution, and the condition; a condition on exactly orthogonal samples is met by any margin."""
    bounds = condition(data.x, case.slope)
    return {
        "solved": True,
        "condition": min(bounds.margin, 1e300),
        "exact": exact.exact,
        "pattern": exact.pattern,
        "residual": exact.residual,
        "method": exact.method,
        "within exact": bounds.within(exact.multipliers),
        "bounds": list(bounds.bounds),
        "multipliers": [float(exact.multipliers.min()), float(exact.multipliers.max())],
    }


def _beside(exact: MaxMargin, found: Descended, data: Binary) -> dict[str, Any]:
    """How gradient descent compares with the exact solution."""
    sides = (data.z @ exact.direction).sign()
    return {
        "cosine": float(torch.cosine_similarity(found.network.direction, exact.direction, 0)),
        "agree": int((found.network(data.z).sign() == sides).sum()),
        "points": len(sides),
        "margins": float(found.margins.min()),
        "multiplier": float(((found.multipliers / exact.multipliers.clamp(min=1e-300)) - 1).abs().max())
        if exact.method == "linear solve"
        else None,
    }
