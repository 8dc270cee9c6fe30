"""Artificial data: first networks, perturbations, and the second networks that learn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...errors import NotSeparableError
from ...learning.controls import controlled
from ...learning.descent import descent
from ...learning.geometry import Geometry, geometric
from ...learning.max_margin import max_margin
from ...learning.perturbed import mislabel
from ...learning.two_layer import TwoLayer
from ...progress import Progress
from ..common.binary_samples import GAUSSIAN, UNIFORM, noise, signs
from ..parts import Kept, Part
from .settings import CONTROLS, FROM_SHUFFLED, GRADIENT, KEPT, LINF, NORMS, SWEEPS, ArtificialSettings, Point


def parts(s: ArtificialSettings) -> list[Part]:
    """For each seed the base point with all controls, and the sweeps."""
    base = [Part(f"base-{seed}", partial(_base, s, seed)) for seed in range(s.seeds)]
    return base + [Part(f"sweeps-{seed}", partial(_sweeps, s, seed)) for seed in range(s.sweep_seeds)]


@dataclass(frozen=True)
class First:
    """A first network with its data.

    Attributes:
        x: Natural samples, uniform from −1 to 1, ``(N, d)``.
        y: Their random labels, ``(N,)``.
        z: Fresh points, ``(B, d)``.
        network: The network, scaled to a least margin of 1 where it classifies all samples correctly.
    """

    x: Tensor
    y: Tensor
    z: Tensor
    network: TwoLayer

    def judged(self, second: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Accuracy of a second network on the natural samples, and its agreement with the first on fresh points."""
        return {
            "natural": float((second(self.x).sign() == self.y).double().mean()),
            "fresh": float((second(self.z).sign() == self.network(self.z).sign()).double().mean()),
        }


def _learnt(s: ArtificialSettings, x: Tensor, y: Tensor, draw: torch.Generator, width: int) -> TwoLayer:
    """A network that descends from default weights, scaled to a least margin of 1 if that is positive."""
    start = TwoLayer.random(width, x.shape[1], s.slope, draw)
    found = descent(start, x, y, s.steps).network
    margin = float((y * found(x)).min())
    return TwoLayer.of(found.weights / margin, s.slope) if margin > 0 else found


def _first(s: ArtificialSettings, point: Point, draw: torch.Generator, width: int) -> First:
    x, z = (noise(UNIFORM, count, point.dim, draw, s.device) for count in (point.count, s.points))
    y = signs(point.count, draw, s.device)
    return First(x, y, z, _learnt(s, x, y, draw, width))


def along(norm: Geometry, direction: Tensor, targets: Tensor, eps: float, draw: torch.Generator) -> Tensor:
    """Geometry-inspired perturbations of one L2 length in every norm."""
    if norm == "linf":
        eps /= len(direction) ** 0.5
    return geometric(norm, direction, targets, eps, _kept(len(direction)) if norm == "l0" else None, draw)


def attacked(s: ArtificialSettings, network: TwoLayer, x: Tensor, targets: Tensor, eps: float, attack: str) -> Tensor:
    """Perturbations by an attack on the network, of samples from −1 to 1 that stay there."""

    def logits(images: Tensor) -> Tensor:
        score = network(2 * images - 1)
        return torch.stack([-score, score], 1) / 2

    radius = eps / 2  # in [0, 1], where all attacks work, distances are half as long
    if attack.endswith("linf"):
        radius *= (LINF if attack.startswith("authors") else 1) / x.shape[1] ** 0.5
    few = attack.endswith("l0")
    found = mislabel(
        logits,
        (x + 1) / 2,
        (targets > 0).long(),
        attack,
        _kept(x.shape[1]) if few else radius,
        None if few else s.attack_steps,
    )
    return 2 * found.perturbation


def _kept(dim: int) -> int:
    return max(1, int(KEPT * dim))


def _base(s: ArtificialSettings, seed: int, progress: Progress) -> Kept:
    """The base point: every attack and every control, and the exact solutions."""
    draw, point = s.generator("base", seed), s.base
    values: dict[str, Any] = {}

    def learn(name: str, first: First, added: Tensor, below: Tensor, targets: Tensor, width: int = s.width) -> None:
        progress(len(values), 40, name)
        values[name] = first.judged(_learnt(s, below + added, targets, draw, width))

    first = _first(s, point, draw, s.wide)
    below, targets = noise(UNIFORM, point.noise, point.dim, draw, s.device), signs(point.noise, draw, s.device)
    eps, small, q = point.eps, s.small * point.eps, first.network.direction
    values["first"] = first.judged(first.network)
    learn("wide, along q", first, along("l2", q, targets, eps, draw), below, targets, s.wide)
    strong = attacked(s, first.network, below, targets, eps, "authors-l2")
    learn("wide, authors-l2", first, strong, below, targets, s.wide)
    learn("wide, none", first, torch.zeros_like(below), below, targets, s.wide)
    for norm in NORMS:
        learn(f"small, {norm} along q", first, along(norm, q, targets, small, draw), below, targets)
    for attack in GRADIENT:
        learn(f"small, {attack}", first, attacked(s, first.network, below, targets, small, attack), below, targets)
    for name in CONTROLS:
        learn(name, first, controlled(name, strong, (targets > 0).long(), draw), below, targets)
    mixed = _learnt(s, first.x, first.y[torch.randperm(point.count, generator=draw)], draw, s.wide)
    learn(FROM_SHUFFLED, first, attacked(s, mixed, below, targets, eps, "authors-l2"), below, targets)
    other = noise(GAUSSIAN, point.noise, point.dim, draw, s.device) / 3**0.5  # the norm of uniform noise
    learn("Gaussian noise", first, along("l2", q, targets, eps, draw), other, targets)
    few, its = below[: point.count], targets[: point.count]
    learn("as many of noise", first, along("l2", q, its, eps, draw), few, its)
    learn("natural", first, along("l2", q, its, eps, draw), first.x, its)
    learn("natural, all wrong", first, along("l2", q, -first.y, eps, draw), first.x, -first.y)
    learn("natural, none", first, torch.zeros_like(first.x), first.x, its)
    values["exact, along q"] = _exact(s, first, below, targets, eps)
    return Kept(values)


def _exact(s: ArtificialSettings, first: First, below: Tensor, targets: Tensor, eps: float) -> dict[str, float] | None:
    """The same by quadratic programmes alone, without any training; None where there is no solution."""
    try:
        one = max_margin(first.x, first.y, s.slope)
        two = max_margin(below + along("l2", one.direction, targets, eps, torch.Generator()), targets, s.slope)
    except NotSeparableError:
        return None
    agree = (two.network(first.z).sign() == one.network(first.z).sign()).double().mean()
    return {
        "natural": float((two.network(first.x).sign() == first.y).double().mean()),
        "fresh": float(agree),
        "pattern": two.pattern,
    }


def _sweeps(s: ArtificialSettings, seed: int, progress: Progress) -> Kept:
    """Every point of every sweep, in three norms and without a perturbation."""
    found: dict[str, list[dict[str, Any]]] = {}
    firsts: dict[tuple[int, int], First] = {}
    for of in SWEEPS:
        found[of] = []
        for value, point in s.sweep(of).items():
            progress(sum(map(len, found.values())), 24, f"{of} {value:g}")
            draw = s.generator("sweep", point, seed)
            key = (point.dim, point.count)
            if key not in firsts:
                firsts[key] = _first(s, point, s.generator("first", key, seed), s.width)
            first = firsts[key]
            below, targets = noise(UNIFORM, point.noise, point.dim, draw, s.device), signs(point.noise, draw, s.device)
            q = first.network.direction
            made: dict[str, Any] = {"first": float((first.network(first.x).sign() == first.y).double().mean())}
            for norm in NORMS:
                added = along(norm, q, targets, point.eps, draw)
                made[norm] = first.judged(_learnt(s, below + added, targets, draw, s.width))
            made["none"] = first.judged(_learnt(s, below, targets, draw, s.width))
            made["exact"] = _exact(s, first, below, targets, point.eps) if of == "d" else None
            found[of].append(made)
    return Kept({"sweeps": found})
