"""Blackbox: rows and claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path

from torch import Tensor

from ..experiment import Claim, Row
from ..parts import Parts
from .pictures import curves, measured
from .queries import bootstrap, described, needed, predicted, ratio
from .settings import CONTROLS, KINDS, Blackbox, kinds_of, part_name, victims


def rows(s: Blackbox, done: Parts) -> list[Row]:
    """Success, median and mean queries of each attack, and the ratio to it unconfined."""
    made = []
    for name in s.networks:
        if name not in victims(s):
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
    """The measured and the predicted gain of confinement, and the absence of a gain under the controls."""
    small = s.preset == "smoke"
    made, theory = [], []
    for name in victims(s):
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
    none = [ratio(s, done, name, "simba", kind) for name in victims(s) for kind in ("random subspace", "permuted")]
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
    hits = [done[part_name(name, attack, "harmless")].arrays["success"] for name in victims(s) for attack in KINDS]
    queries = sum(
        int(done[part_name(name, attack, "harmless")].arrays["queries"].sum())
        for name in victims(s)
        for attack in KINDS
    )
    count = sum(int(each.sum()) for each in hits)
    text = f"confined to the harmless space no attack succeeds: {count} of {sum(each.numel() for each in hits)}"
    return [*made, Claim(f"{text}, {queries} queries", count == 0)]


def _less(interval: tuple[float, float] | None, expected: float) -> bool | None:
    """Whether a ratio is below 1; None if the interval contains both 1 and the prediction."""
    if interval is None or interval[0] <= expected < 1 <= interval[1]:
        return None
    return interval[1] < 1


def _span(interval: tuple[float, float] | None) -> str:
    return "no interval" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def draw(s: Blackbox, done: Parts, folder: Path) -> None:
    """Success against queries, one picture per attack; measured against predicted ratios."""
    for attack in KINDS:
        curves(s, done, attack, folder / f"blackbox-{attack}.png")
    measured(s, done, folder / "blackbox-predicted.png")
