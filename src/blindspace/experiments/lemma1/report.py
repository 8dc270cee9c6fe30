"""Lemma 1: rows, claims, and the verdicts."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.intervals import median, of_share
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .found import FoundLayer, found
from .pictures import draw
from .settings import ANY, BEYOND, WAYS, Lemma1

__all__ = ["claims", "draw", "rows", "verdicts"]

SIZE, CONTROL = "‖δ‖ / ‖x‖ at the same outputs", "output change of equal norm over ours"

LEAST_CONTROL = 1e3
"""How many times as much a control must change the outputs."""


def rows(s: Lemma1, done: Parts) -> list[Row]:
    """How large perturbations are, layer by layer; then the shares of layers; then the controls."""
    every = found(s, done)
    made = [_size(layer, way) for layer in every for way in WAYS]
    made += [
        Row(case.name, SIZE, None, reason=f"the folder BLINDSPACE_MODELS names has no {case.source}")
        for case in s.cases
        if not s.runs(case)
    ]
    made += _shares(every)
    made += [_control(every, which) for which in ("shuffled", "gaussian") if every]
    return made


def _size(layer: FoundLayer, way: str) -> Row:
    of = median(layer.sizes(way))
    words = [layer.facts()] if way == ANY else []
    words += [f"{int(layer.done(way).sum())} of {len(layer.done(way))} images", layer.why(way)]
    return Row(_case(layer, way), SIZE, of.value, None, of.interval, reason="; ".join(filter(None, words)), form=".3f")


def _case(layer: FoundLayer, way: str) -> str:
    return layer.name if way == ANY else f"{layer.name}, {way}"


def _shares(every: list[FoundLayer]) -> list[Row]:
    made = []
    for way in WAYS:
        for name in dict.fromkeys(layer.case.name for layer in every):
            ok = [bool(layer.done(way).all()) for layer in every if layer.case.name == name]
            what = "layers with ‖δ‖ ≥ 0.1 ‖x‖ at every image" + ("" if way == ANY else f", {way}")
            made.append(
                Row(name, what, sum(ok) / len(ok), None, of_share(sum(ok), len(ok)), reason=f"{sum(ok)} of {len(ok)}",
                    form=".0%")
            )  # fmt: skip
    return made


def ratios(every: list[FoundLayer], which: str) -> Tensor:
    """How many times as much a control changes the outputs, for each successful perturbation."""
    found_ones = []
    for layer in every:
        for way in WAYS:
            if f"{way}/size" in layer.kept.arrays:
                ours = layer.of(way, "outputs distance").clamp(min=torch.finfo(torch.float64).tiny)
                found_ones.append((layer.of(way, f"outputs {which}") / ours)[layer.done(way)])
    return torch.cat(found_ones)


def _control(every: list[FoundLayer], which: str) -> Row:
    of = ratios(every, which)
    name = "the same values in random order" if which == "shuffled" else "Gaussian noise"
    if not len(of):
        return Row(name, CONTROL, None, control=True, reason="no perturbation was found")
    middle = median(of)
    reason = f"{float(of.min()):.1e} at least, over {len(of)} perturbations"
    return Row(name, CONTROL, middle.value, None, middle.interval, True, reason, ".1e")


def claims(s: Lemma1, done: Parts) -> list[Claim]:
    """What holds for all layers."""
    every = found(s, done)
    return [_large(s, every, way) for way in WAYS] + [_unlike_controls(s, every), _accepted(s, every)]


def _large(s: Lemma1, every: list[FoundLayer], way: str) -> Claim:
    whole = [layer for layer in every if bool(layer.done(way).all())]
    others = [layer for layer in every if layer not in whole]
    left = [layer.name for layer in others if not layer.explained(way)]
    where = "" if way == ANY else " outside the nullspace of the affine front"
    text = (
        f"through {len(whole)} of {len(every)} layers a perturbation of {s.size:g} ‖x‖ or more exists at every image"
        f"{where}, stays in [0, 1] and changes no output by more than {s.tolerance:.0e}"
    )
    if len(others) > len(left):
        text += f"; for {len(others) - len(left)} there is a measured reason at every image that lacks one"
    kinks = sum(layer.kinks(way) for layer in others if layer.explained(way))
    if kinks:
        text += f", at {kinks} of them that every path followed to its end stops at kinks"
    if left:
        text += f"; for {len(left)} the search ended without one ({'; '.join(left)})"
    return Claim(text, None if s.preset == "smoke" else not left)


def _unlike_controls(s: Lemma1, every: list[FoundLayer]) -> Claim:
    shuffled, gaussian = (ratios(every, which) for which in ("shuffled", "gaussian"))
    if not len(shuffled):
        return Claim("no perturbation was found, so that there is nothing to compare with controls", None)
    least = min(float(shuffled.min()), float(gaussian.min()))
    return Claim(
        f"it is their direction, not their size: with the same values in random order, or as Gaussian noise of equal "
        f"norm, they change the outputs by {least:.0e} times as much at least "
        f"({float(shuffled.median()):.0e} and {float(gaussian.median()):.0e} in the median)",
        least >= LEAST_CONTROL,
    )


def _accepted(s: Lemma1, every: list[FoundLayer]) -> Claim:
    kinds: dict[str, int] = {}
    accepted = of = 0
    for layer in every:
        for way, places in layer.kept.values["kinds"].items():
            ok = layer.done(way).tolist()
            judged = layer.of(way, "outputs accepted") & layer.of(way, "layer accepted")
            accepted, of = accepted + int(judged[layer.done(way)].sum()), of + sum(ok)
            for kind, counts in zip(places["outputs"], ok, strict=True):
                kinds[kind] = kinds.get(kind, 0) + counts
    words = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return Claim(
        f"of {of} such perturbations {accepted} are accepted at the layer and at the outputs: at the outputs {words}, "
        "the approximate ones closer than all pairs of unrelated images",
        accepted == of if of else None,
    )


def verdicts(s: Lemma1, done: Parts) -> list[Verdict]:
    """Whether harmless perturbations through deep layers exist, and exist beyond those of the front."""
    every = found(s, done)
    shares = _shares(every)
    small = s.preset == "smoke"

    def answer(way: str) -> tuple[Answer | None, str]:
        by_name = {
            name: [bool(layer.done(way).all()) for layer in every if layer.case.name == name]
            for name in dict.fromkeys(layer.case.name for layer in every)
        }
        if small or not by_name:
            return None, ""
        all_of, none_of = (all(f(ok) for ok in by_name.values()) for f in (all, lambda ok: not any(ok)))
        if all_of or none_of:
            return ("holds" if all_of else "does not hold"), ""
        return "depends", "the layer and the network"

    made = []
    for question, way in (("every-layer", ANY), ("beyond-front", BEYOND)):
        said, on = answer(way)
        of_way = [row for row in shares if row.quantity.endswith(BEYOND) == (way == BEYOND)]
        made.append(Verdict(question, said, of_way, on=on))
    return made
