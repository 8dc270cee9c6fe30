"""Figures 6, 7 and 8: rows, claims and pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...experiment import Claim, Experiment, Row
from ...parts import Parts
from ..intervals import of_share
from ..pictures import Line, gallery, new_figure, plain, plot, save
from .measure import (
    CONTROLS,
    DOUBLE,
    HARMLESS,
    LEVEL,
    OWN,
    ULP,
    Base,
    Gallery,
    gallery_parts,
    gallery_settings,
)

ROUNDING = 10.0
"""Multiple of the effect of one ulp in the input up to which a change of outputs is attributed to rounding."""

_COLOURS = {"right": "own", "as the base": "shuffled", "other": "gaussian"}
_NAMES = {"natural": "natural image", "adversarial": "adversarial example", "gaussian": "noisy image"}


def gallery_experiment(name: str, base: Base, title: str, question: str) -> Experiment[Gallery]:
    """One of the three experiments; ``base`` is the kind of images that harmless perturbations are added to."""
    return Experiment(
        name=name,
        title=title,
        source=f"figure {name[-1]}, section 5.2 and appendix F.4",
        question=question,
        settings=partial(gallery_settings, base),
        parts=gallery_parts,
        rows=gallery_rows,
        claims=gallery_claims,
        draw=partial(gallery_draw, name),
        extras=("plot", "timm"),
    )


def gallery_rows(s: Gallery, done: Parts) -> list[Row]:
    """Every kind at the magnitudes of the picture; beyond them, the range of each precision."""
    a = done["sweep"].arrays
    made = _utility(s, a)
    for index, m in enumerate(s.shown):
        case = f"{HARMLESS}, {m}/255"
        made.append(_share(case, "labels changed, float32", changed(a, HARMLESS, OWN)[index], 0.0))
        for precision in (DOUBLE, OWN):
            change, floor = largest(a, HARMLESS, precision, index), largest(a, ULP, precision, index)
            reason = f"rounding; one ulp in the input makes {floor:.1e}"
            made.append(Row(case, f"largest change of an output, {precision}", change, 0.0, reason=reason, form=".1e"))
        if s.base != "natural":
            made.append(_success(a, HARMLESS, index, case))
    for precision in (DOUBLE, OWN):
        kept = exact_up_to(s, changed(a, HARMLESS, precision))
        most = s.magnitudes[-1]
        reason = "the largest one tried" if kept == most else "image and perturbation no longer fit into 24 bits"
        what = f"largest ‖δ‖∞ up to which no label changes, {precision}"
        made.append(Row(f"{HARMLESS}, to {most * LEVEL:.1e}", what, kept * LEVEL, reason=reason, form=".3g"))
    for kind in CONTROLS:
        for index, m in enumerate(s.shown):
            case = f"{kind}, norm of the harmless one at {m}/255"
            made.append(_share(case, "labels changed, float32", changed(a, kind, OWN)[index], control=True))
    return made


def changed(a: dict[str, Tensor], kind: str, precision: str) -> Tensor:
    """Whether a perturbation changes the label, bool ``(magnitudes, N)``."""
    return a[f"{kind} {precision} label"] != a[f"base {precision} label"]


def largest(a: dict[str, Tensor], kind: str, precision: str, index: int) -> float:
    """The largest change of any image's output at one magnitude."""
    return float(a[f"{kind} {precision} change"][index].max())


def exact_up_to(s: Gallery, changes: Tensor) -> int:
    """The last magnitude, in units of 1/255, before the first at which a label changes; 0 if that is the first one."""
    found = changes.any(1).nonzero().flatten().tolist()
    return s.magnitudes[-1] if not found else 0 if found[0] == 0 else s.magnitudes[found[0] - 1]


def _share(case: str, quantity: str, hits: Tensor, paper: float | None = None, control: bool = False) -> Row:
    count, of = int(hits.sum()), len(hits)
    interval = of_share(count, of) if of else None
    return Row(case, quantity, count / of if of else None, paper, interval, control, form=".2%")


def _recognised(a: dict[str, Tensor]) -> Tensor:
    return a["label natural"] == a["truth"]


def _success(a: dict[str, Tensor], kind: str, index: int, case: str) -> Row:
    wrong = a[f"{kind} {OWN} label"][index] != a["truth"]
    return _share(case, "images recognised before and not after", wrong[_recognised(a)])


def _utility(s: Gallery, a: dict[str, Tensor]) -> list[Row]:
    """The effect of the attack and of noise of equal size alone."""
    cases = {"adversarial": f"PGD-{s.steps} alone, 8/255", "gaussian": "Gaussian noise alone, 8/255"}
    return [
        _share(
            case,
            "images recognised before and not after",
            (a[f"label {name}"] != a["truth"])[_recognised(a)],
            control=name != s.base,
        )
        for name, case in cases.items()
        if s.base != "natural"
    ]


def gallery_claims(s: Gallery, done: Parts) -> list[Claim]:
    """Outputs stay the same at every magnitude, but not under the controls."""
    a = done["sweep"].arrays
    own, double = (changed(a, HARMLESS, precision) for precision in (OWN, DOUBLE))
    shown, most = len(s.shown), s.magnitudes[-1] * LEVEL
    times = (a[f"{HARMLESS} {DOUBLE} change"].amax(1) / a[f"{ULP} {DOUBLE} change"].amax(1)).max()
    others = {kind: changed(a, kind, OWN)[shown - 1] for kind in CONTROLS}
    shares = ", ".join(f"{kind} {float(hits.double().mean()):.0%}" for kind, hits in others.items())
    made = [
        Claim(
            f"of {own.shape[1]} images {int(own[:shown].any(0).sum())} change their label in float32 at magnitudes "
            f"up to {s.shown[-1]}/255, {int(double.any(0).sum())} in float64 up to {most:.1e}",
            not bool(own[:shown].any()) and not bool(double.any()),
        ),
        Claim(
            f"what is left is rounding: in float64 outputs move by {largest(a, HARMLESS, DOUBLE, shown - 1):.0e} at "
            f"{s.shown[-1]}/255, at no magnitude by more than {float(times):.1f} times what one ulp in the input makes",
            float(times) <= ROUNDING,
        ),
        Claim(
            f"other perturbations of the same norm change labels, at {s.shown[-1]}/255: {shares}",
            all(
                of_share(int(hits.sum()), len(hits))[0] > float(own[shown - 1].double().mean())
                for hits in others.values()
            ),
        ),
    ]
    return [*made, *_apart(s, a)]


def _apart(s: Gallery, a: dict[str, Tensor]) -> list[Claim]:
    """Section 5.2: attack and noise of one magnitude differ in effect, and keep it under any harmless perturbation."""
    if s.base == "natural":
        return []
    right = _recognised(a)
    attack, noise = ((a[f"label {name}"] != a["truth"])[right] for name in ("adversarial", "gaussian"))
    after = (a[f"{HARMLESS} {OWN} label"][: len(s.shown)] != a["truth"])[:, right]
    before = attack if s.base == "adversarial" else noise
    name = "attack" if s.base == "adversarial" else "noise"
    counts = sorted({int(row.sum()) for row in after} | {int(before.sum())})
    few = int(right.sum()) == 0
    return [
        Claim(
            f"the {name} deceives {' to '.join(map(str, counts))} of {int(right.sum())} images, without and with "
            f"harmless perturbations up to {s.shown[-1]}/255, the same ones",
            bool((after == before).all()),
        ),
        Claim(
            f"of one size, 8/255, the attack deceives {int(attack.sum())} and Gaussian noise {int(noise.sum())} of "
            f"{int(right.sum())} images",
            None if few else of_share(int(attack.sum()), len(attack))[0] > of_share(int(noise.sum()), len(noise))[1],
        ),
    ]


def gallery_draw(name: str, s: Gallery, done: Parts, folder: Path) -> None:
    """The gallery, and the range of each precision."""
    kept = done["sweep"]
    heads = ["natural image"] * (s.base != "natural") + [_NAMES[s.base]]
    heads += [f"{HARMLESS if index == 0 else '+'} {m}/255" for index, m in enumerate(s.shown)]
    heads += [f"{kind}, {s.compared}/255" for kind in ("shuffled", "Gaussian")]
    colours = [[_COLOURS[mark] for mark in row] for row in kept.values["marks"]]
    rows = [list(row) for row in kept.arrays["picture"]]
    gallery(folder / f"{name}.png", rows, heads, kept.values["captions"], colours=colours)
    _rounding(s, kept.arrays, folder / f"{name}-magnitude.png")


def _rounding(s: Gallery, a: dict[str, Tensor], path: Path) -> None:
    """Changes of outputs and of labels against the magnitude."""
    figure = new_figure(13, 4.4)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.62)
    x = [m * LEVEL for m in s.magnitudes]
    plain(left, "largest change of an output", "magnitude ‖δ‖∞, in units of the image range")
    plain(right, "share of labels changed", "magnitude ‖δ‖∞, in units of the image range")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.minorticks_off()
    left.set_yscale("log")
    right.set_ylim(-0.03, 1.03)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    colours = {"shuffled": "shuffled", "random subspace": "control", "Gaussian": "gaussian"}
    names = [(HARMLESS, DOUBLE, "own", "harmless"), (HARMLESS, OWN, "second", "harmless")]
    lines = [Line(f"{text}, {p}", x, _change(a, kind, p), colour) for kind, p, colour, text in names]
    lines += [Line(f"one ulp, {p}", x, _change(a, ULP, p), c, True) for p, c in ((DOUBLE, "own"), (OWN, "second"))]
    lines += [Line(kind, x, _change(a, kind, OWN), colour) for kind, colour in colours.items()]
    plot(left, lines)
    shares = [(HARMLESS, DOUBLE, "own", True), (HARMLESS, OWN, "second", True)]
    shares += [(kind, OWN, colour, False) for kind, colour in colours.items()]
    plot(
        right,
        [
            Line(f"{kind}, {p}" if double else kind, x, changed(a, kind, p).double().mean(1).tolist(), colour)
            for kind, p, colour, double in shares
        ],
    )
    save(figure, path)


def _change(a: dict[str, Tensor], kind: str, precision: str) -> list[float]:
    smallest = torch.finfo(torch.float64).tiny
    values: list[float] = a[f"{kind} {precision} change"].amax(1).clamp(min=smallest).tolist()
    return values
