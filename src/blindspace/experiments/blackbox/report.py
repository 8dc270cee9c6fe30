"""Black-box attacks confined to what a network sees: queries to success against the same attack unconfined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod, sqrt
from pathlib import Path

import torch
from torch import Tensor

from ...attacks import Cosines, Directions, Pixels, Queried, nes, simba
from ..common.models import Preset, Report
from ..common.victims import ROBUST, Target, confined, present, slopes, target
from ..experiment import Claim, Experiment, Kept, Part, Parts, Row, about
from .pictures import curves, measured
from .queries import (
    CONTROLS,
    KINDS,
    VALUES,
    Blackbox,
    asked,
    bootstrap,
    described,
    kinds_of,
    needed,
    part_name,
    parts_of,
    predicted,
    ratio,
)


def settings(preset: Preset, seed: int) -> Blackbox:
    """Of a preset."""
    if preset == "smoke":
        return Blackbox(
            preset,
            seed,
            ("mnist-mlp",),
            count=6,
            seeds=1,
            queries=100,
            size=8.0,
            step=1.0,
            pairs=4,
            harmless_count=1,
            harmless_queries=4,
            draws=200,
        )
    if preset == "cpu":
        return Blackbox(preset, seed, present=present())
    networks = ("cifar-resnet", "cifar-resnet@64", "cifar-resnet@96", "resnet18-ten", "resnet50-ten", ROBUST)
    return Blackbox(preset, seed, networks, present(), count=1000, seeds=5, queries=10_000)


def parts(s: Blackbox) -> list[Part]:
    """One an attack, network and kind of confinement."""

    def part(name: str, attack: str, kind: str) -> Part:
        return Part(part_name(name, attack, kind), lambda report: _attacked(s, name, attack, kind, report))

    return [part(*each) for each in parts_of(s)]


def _attacked(s: Blackbox, name: str, attack: str, kind: str, report: Report) -> Kept:
    """Queries of one attack, confined in one way, on all images, each as often as there are seeds."""
    report(0, 1, name)
    found = target(name, s, s.count)
    space = confined(kind, found, s.generator(name, kind))
    harmless = kind == "harmless"
    count = s.harmless_count if harmless else s.count
    seeds = 1 if kind in CONTROLS else s.seeds
    x, y = found.images[:count].repeat(seeds, 1, 1, 1), found.labels[:count].repeat(seeds)
    # Of NES alone few queries are followed by a projection.
    most = s.harmless_queries * (1 if attack == "simba" else 5) if harmless else s.queries
    factor = sqrt(prod(found.network.input_shape) / VALUES)
    run = partial(
        simba if attack == "simba" else nes,
        found.network.module,
        x,
        y,
        s.size * factor,
        queries=most,
        subspace=space,
        # The same for every kind: what an image is given differs by the projection alone.
        generator=s.generator(name, attack),
    )
    if attack == "simba":
        # What clipping puts outside matters to the harmless space alone, and is measured for the others.
        out: Queried = run(step_size=s.step * factor, joint=harmless, directions=_directions(kind, found))
    else:
        out = run(pairs=s.pairs, sigma=s.step * factor)
    gradient = None if space is None or harmless else slopes(found)
    # Of what the network sees no gradient has anything outside.
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


def _directions(kind: str, found: Target) -> Callable[[Sequence[torch.Generator]], Directions] | None:
    shape = found.network.input_shape
    match kind:
        case "pixels":
            return partial(Pixels, shape=shape)
        case "cosines":
            return partial(Cosines, shape=shape, count=found.effective.dim)
        case _:
            return None


def rows(s: Blackbox, done: Parts) -> list[Row]:
    """Success, median and mean queries of each attack, and the ratio to it unconfined."""
    made = []
    for name in s.networks:
        if name not in asked(s):
            reason = f"not run: {name} is not in the folder BLINDSPACE_MODELS"
            made.append(Row(name, "mean queries", None, reason=reason))
            continue
        for attack, kinds in KINDS.items():
            for kind in kinds_of(name, kinds):
                made += _rows(s, done, name, attack, kind)
    return made


def _rows(s: Blackbox, done: Parts, name: str, attack: str, kind: str) -> list[Row]:
    kept = done[part_name(name, attack, kind)]
    control = kind in CONTROLS
    case = f"{name}, {attack.upper() if attack == 'nes' else 'SimBA'}, {described(name, kind, kept)}"
    success = kept.arrays["success"].double().mean(0)

    def of_images(values: Tensor, pick: Callable[[Tensor], Tensor]) -> tuple[float, float] | None:
        return bootstrap(lambda chosen: pick(values[chosen]), len(values), s.draws, s.generator("rows", name))

    size = f"‖δ‖₂ {float(kept.arrays['norm'].mean()):.2f} on average"
    rate = Row(
        case, "success", float(success.mean()), None, of_images(success, lambda v: v.mean(1)), control, size, ".3f"
    )
    if kind == "harmless":
        outside = f"{kept.values['outside']:.0e} of the energy outside"
        return [replace(rate, reason=f"{kept.values['most']} queries an image; {size}, {outside}")]
    queries = needed(kept, s.queries).mean(0)
    compared, interval = ratio(s, done, name, attack, kind)
    made = [
        rate,
        Row(
            case,
            "median queries",
            float(queries.quantile(0.5)),
            None,
            of_images(queries, lambda v: v.quantile(0.5, 1)),
            control,
            form=".0f",
        ),
        Row(
            case,
            "mean queries",
            float(queries.mean()),
            None,
            of_images(queries, lambda v: v.mean(1)),
            control,
            form=".0f",
        ),
    ]
    if kind == "unconfined":
        return made
    theory = predicted(kept)
    reason = "" if theory is None else f"√(d/(n e)) = {theory:.3f}, e = {float(kept.arrays['share'].mean()):.3f}"
    if attack == "simba" and kept.values["d"] is not None:
        reason += f"{'; ' if reason else ''}clipping puts {kept.values['outside']:.1%} of the energy outside"
    return [*made, Row(case, "mean queries, of unconfined", compared, None, interval, control, reason, ".3f")]


def claims(s: Blackbox, done: Parts) -> list[Claim]:
    """What confining is worth, what it should be worth, and that the controls are worth nothing."""
    small = s.preset == "smoke"
    made, theory = [], []
    for name in asked(s):
        for attack in KINDS:
            value, interval = ratio(s, done, name, attack, "effective")
            kept = done[part_name(name, attack, "effective")]
            d, n = kept.values["d"], kept.values["n"]
            made.append(
                Claim(
                    f"{name}, {attack}: confined to the {d} of {n} dimensions that the network sees, {value:.3f} "
                    f"({_span(interval)}) of the queries; √(d/n) = {sqrt(d / n):.3f}",
                    _less(interval, sqrt(d / n)) if not small else None,
                )
            )
        for kind in kinds_of(name, KINDS["simba"]):
            expected = predicted(done[part_name(name, "simba", kind)]) if kind != "harmless" else None
            if expected is not None:
                theory.append((expected, *ratio(s, done, name, "simba", kind)))
    far = [abs(value / expected - 1) for expected, value, _ in theory]
    if far:
        within = sum(i is not None and i[0] <= expected <= i[1] for expected, _, i in theory)
        made.append(
            Claim(
                f"SimBA's ratio follows √(d/(n e)), e the gradient's share in the subspace: at most {max(far):.1%} off "
                f"in {len(far)} cases, {within} of them within the interval",
                None if small else max(far) <= 0.15,
            )
        )
    none = [ratio(s, done, name, "simba", kind) for name in asked(s) for kind in ("random subspace", "permuted")]
    mean = sum(value for value, _ in none) / len(none)
    below = sum(interval is not None and interval[1] < 1 for _, interval in none)
    made.append(
        Claim(
            f"a random subspace of the same dimension and the permuted one gain nothing: {mean:.3f} of the queries on "
            f"average ({min(v for v, _ in none):.3f} to {max(v for v, _ in none):.3f}), {below} of {len(none)} "
            "intervals below 1",
            None if small else mean >= 0.95,
        )
    )
    hits = [done[part_name(name, attack, "harmless")].arrays["success"] for name in asked(s) for attack in KINDS]
    queries = sum(
        int(done[part_name(name, attack, "harmless")].arrays["queries"].sum()) for name in asked(s) for attack in KINDS
    )
    count = sum(int(each.sum()) for each in hits)
    text = f"confined to the harmless space no attack succeeds: {count} of {sum(each.numel() for each in hits)}"
    return [*made, Claim(f"{text}, {queries} queries", count == 0)]


def _less(interval: tuple[float, float] | None, expected: float) -> bool | None:
    """Whether a ratio is below 1; None where the interval holds both 1 and what is expected."""
    if interval is None or interval[0] <= expected < 1 <= interval[1]:
        return None
    return interval[1] < 1


def _span(interval: tuple[float, float] | None) -> str:
    return "no interval" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def draw(s: Blackbox, done: Parts, folder: Path) -> None:
    """Success against queries, an attack each; and the ratios measured against those predicted."""
    for attack in KINDS:
        curves(s, done, attack, folder / f"blackbox-{attack}.png")
    measured(s, done, folder / "blackbox-predicted.png")


EXPERIMENT: Experiment[Blackbox] = Experiment(
    name="blackbox",
    title="queries of black-box attacks confined to what the network sees",
    source="beyond the paper",
    question=(
        "An attacker who sees scores alone tries random directions. If they are drawn from the d of n dimensions "
        "that the network's front sees, none is wasted on harmless ones: a step of the same length then should bring "
        "√(n/d) times as much. SimBA and NES, at equal L2 size and steps, on the same images with the same random "
        "numbers; against them low frequencies, which need no knowledge of the network, and a guess of what it sees: "
        "its resize alone, or the space of another network of the same stem."
    ),
    settings=settings,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm", "onnx"),
)
