"""Where the boundaries differ: exact solutions at fresh and at correlated points, and trained networks in planes."""

from __future__ import annotations

from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from ...learning.descent import descent
from ...learning.geometry import geometric
from ...learning.max_margin import max_margin
from ...learning.relearnt import relearnt
from ...learning.two_layer import TwoLayer
from ...progress import Progress
from ..common.binary_samples import UNIFORM, Binary, binary, noise, signs
from ..parts import Kept, Part
from .settings import NOISE, BoundarySettings


def parts(s: BoundarySettings) -> list[Part]:
    """One part per draw, and one per picture."""
    draws = [Part(f"draw-{seed}", partial(_draw, s, seed)) for seed in range(s.seeds)]
    return draws + [Part(f"plane-{i}", partial(_plane, s, slope)) for i, slope in enumerate(s.slopes)]


def _draw(s: BoundarySettings, seed: int, progress: Progress) -> Kept:
    """Every setting for one draw of the data, at the same points."""
    draw = s.generator("draw", seed)
    data = binary(UNIFORM, s.count, s.dim, s.points, draw, s)
    under, targets = noise(UNIFORM, max(s.noises), s.dim, draw, s.device), signs(max(s.noises), draw, s.device)
    own = signs(s.count, draw, s.device)
    first = max_margin(data.x, data.y, s.slope)
    found: dict[str, dict[str, Any]] = {}
    wrong: dict[str, Tensor] = {}
    for done, setting in enumerate(s.all):
        progress(done, len(s.all), setting.name)
        below, t = (under, targets) if setting.below == NOISE else (data.x, own)
        below, t = below[: setting.count], t[: setting.count]
        added = geometric("l2", first.direction, t, setting.ratio * _unit(data))
        second = max_margin(below + added, t, s.slope)

        terms = partial(relearnt, second.multipliers, t, below, added, first.direction)
        fresh = terms(data.z)
        values: dict[str, Any] = {
            "exact": second.exact,
            "agree": int(fresh.agree.sum()),
            "dominated": int(fresh.dominated.sum()),
            "agree in it": int((fresh.agree & fresh.dominated).sum()),
            **_what_predicts(~fresh.agree, data.z, below, first.direction),
        }
        wrong_ones = below[(below @ first.direction) * t < 0]
        if len(wrong_ones):
            values["correlated"] = [
                float(terms(_near(c, wrong_ones, s.points, draw)).agree.double().mean()) for c in s.correlations
            ]
        found[setting.name], wrong[setting.name] = values, ~fresh.agree
    start, ends = wrong[s.more[0].name], (s.more[-1].name, s.larger(NOISE)[-1].name)
    mended = [int((start & ~wrong[end]).sum()) for end in ends]
    return Kept({"settings": found, "exceptions": int(start.sum()), "mended": mended})


def _unit(data: Binary) -> float:
    """R/√N."""
    return float(data.x.norm(dim=1).mean()) / sqrt(len(data.x))


def _near(correlation: float, samples: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """Points with a given correlation with one of the samples each."""
    chosen = samples[torch.randint(len(samples), (count,), generator=draw)]
    chosen = chosen / chosen.norm(dim=1, keepdim=True)
    other = noise(UNIFORM, count, samples.shape[1], draw).to(samples)
    other -= (other * chosen).sum(1, keepdim=True) * chosen
    other /= other.norm(dim=1, keepdim=True)
    points: Tensor = correlation * chosen + sqrt(1 - correlation**2) * other
    return points


def _what_predicts(wrong: Tensor, z: Tensor, samples: Tensor, q: Tensor) -> dict[str, float | None]:
    """How well two figures distinguish the exceptions among fresh points: areas under the ROC curve."""
    unit = z / z.norm(dim=1, keepdim=True)
    correlation = (unit @ (samples / samples.norm(dim=1, keepdim=True)).T).abs().amax(1)
    return {
        "by correlation": area(correlation, wrong),
        "by distance": area(-(unit @ q).abs(), wrong),
    }


def area(score: Tensor, positive: Tensor) -> float | None:
    """Area under the ROC curve: how often a positive point scores higher than another; None if there is one kind."""
    of, others = int(positive.sum()), int((~positive).sum())
    if not of or not others:
        return None
    ranks = torch.empty(len(score), dtype=torch.float64, device=score.device)
    ranks[score.argsort()] = torch.arange(1, len(score) + 1, dtype=torch.float64, device=score.device)
    return float((ranks[positive].sum() - of * (of + 1) / 2) / (of * others))


def _plane(s: BoundarySettings, slope: float, progress: Progress) -> Kept:
    """Trained networks in two planes: along q and the effect of the samples, and along q and one sample."""
    draw = s.generator("plane", slope)
    data = binary(UNIFORM, s.count, s.dim, 0, draw, s)
    t = signs(s.count, draw, s.device)
    start = partial(TwoLayer.random, s.width, s.dim, slope, draw, 1e-6)
    first = descent(start(), data.x, data.y, s.steps, progress).network
    q = first.direction
    added = geometric("l2", q, t, 2 * _unit(data))
    learnt = descent(start(), data.x + added, t, s.steps, progress)
    effect = (learnt.multipliers.nan_to_num(posinf=1.0) * t) @ data.x
    wrong = ((data.x @ q) * t < 0).nonzero()[:, 0]
    sample = data.x[wrong[0]] if len(wrong) else data.x[0]
    grid = torch.linspace(-1.5, 1.5, s.side, dtype=torch.float64, device=s.device)
    up, across = torch.meshgrid(grid, grid, indexing="ij")
    scale = float(data.x.norm(dim=1).mean())
    arrays: dict[str, Tensor] = {}
    for name, other in (("effect", effect), ("sample", sample)):
        along = q / q.norm()
        other = other - (other @ along) * along
        other = other / other.norm()
        z = scale * (torch.outer(across.flatten(), along) + torch.outer(up.flatten(), other))
        terms = relearnt(learnt.multipliers.nan_to_num(posinf=1.0), t, data.x, added, q, z)
        arrays[f"{name}/first"] = first(z).view(s.side, s.side)
        arrays[f"{name}/second"] = learnt.network(z).view(s.side, s.side)
        arrays[f"{name}/dominated"] = terms.dominated.double().view(s.side, s.side)
        for label, x in (("below", data.x), ("perturbed", data.x + added)):
            arrays[f"{name}/{label}"] = torch.stack([x @ along, x @ other], 1) / scale
    agree = {}
    for name in ("effect", "sample"):
        same = arrays[f"{name}/first"].sign() == arrays[f"{name}/second"].sign()
        agree[name] = float(same.double().mean())
    return Kept(
        {"agree": agree, "sample": int(wrong[0]) if len(wrong) else 0}, arrays | {"targets": t, "labels": data.y}
    )
