"""Figure 1: rows, claims and the picture."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..common.intervals import of_share
from ..common.pictures import gallery, signed
from ..experiment import Claim, Row
from ..parts import Parts
from .settings import BEYOND, DTYPES, INSIDE, KINDS, NOISE, Fig1

ROUNDING = 20.0
"""Multiple of the effect of one ulp in the input up to which a change of outputs is attributed to rounding."""


def rows(s: Fig1, done: Parts) -> list[Row]:
    """The size of the perturbations, and their effect."""
    part = done["gallery"]
    a = part.arrays
    x, made = a["original"], []
    for kind in KINDS:
        delta = a[kind] - x
        same = a[f"labels {kind}"] == a["labels original"]
        paper = None if kind == NOISE else 1.0
        kept, of, control = int(same.sum()), len(same), kind == NOISE
        case = f"{kind}, ‖δ‖∞ {float(delta.abs().max()):.3g}" if kind == BEYOND else kind
        case = case if control else f"harmless, {case}"
        made += [
            Row(case, "labels as before", kept / of, paper, of_share(kept, of), control, form=".0%"),
            Row(case, "mean squared change", float(delta.square().mean()), control=control, form=".4f"),
        ]
        for name in DTYPES:
            floor = float(a[f"{name} ulp {kind}"].max())
            reason = "" if control else f"rounding; one ulp in the input makes {floor:.1e}"
            change = float(a[f"{name} {kind}"].max())
            paper = None if control or name == "float32" else 0.0
            made.append(Row(case, f"largest change of an output, {name}", change, paper, None, control, reason, ".1e"))
    bound = part.values["bound"]
    made.append(Row("harmless, inside [0, 1]", "upper bound of the mean squared change", bound, form=".4f"))
    made.append(Row("harmless, inside [0, 1]", "values outside [0, 1]", part.values["outside"], 0.0, form=".0f"))
    return made


def claims(s: Fig1, done: Parts) -> list[Claim]:
    """The images lie in the pixel range exactly, and outputs change by rounding only, whatever the magnitude."""
    part = done["gallery"]
    a, outside = part.arrays, part.values["outside"]
    made = [
        Claim(
            f"{outside} of {a[INSIDE].numel()} values of the hidden images are outside [0, 1]; residual "
            f"‖Aδ‖/(‖A‖‖δ‖) at most {part.values['residual']:.1e}",
            outside == 0 and part.values["residual"] <= 1e-12,
        )
    ]
    for kind in (INSIDE, BEYOND):
        changed = int((a[f"labels {kind}"] != a["labels original"]).sum())
        ratios = [float(a[f"{name} {kind}"].max() / a[f"{name} ulp {kind}"].max()) for name in DTYPES]
        moved = ", ".join(f"{a[f'{name} {kind}'].max():.1e} in {name}" for name in DTYPES)
        made.append(
            Claim(
                f"{kind}: {changed} of {len(a['original'])} labels changed; outputs moved by at most {moved}, "
                f"{ratios[0]:.1f} and {ratios[1]:.1f} times what one ulp in the input makes",
                changed == 0 and max(ratios) <= ROUNDING,
            )
        )
    return made


def draw(s: Fig1, done: Parts, folder: Path) -> None:
    """Original, perturbation and sum, inside the pixel range and beyond; then the noise."""
    part = done["gallery"]
    a, captions = part.arrays, part.values["captions"]
    heads = (
        "original x",
        "harmless δ",
        f"x + δ {INSIDE}",
        "larger δ",
        "x + δ, clipped\nto be shown",
        "noise, ‖δ‖ of the\nsecond column",
    )
    pictures, words = [], []
    for i, x in enumerate(a["original"]):
        small, large = a[INSIDE][i] - x, a[BEYOND][i] - x
        pictures.append([x, signed(small), a[INSIDE][i], signed(large), a[BEYOND][i], a[NOISE][i]])
        words.append(
            [
                captions["original"][i],
                f"‖δ‖∞ {float(small.abs().max()):.2f}\n‖δ‖₂ {float(small.norm()):.1f}",
                _outcome(captions[INSIDE][i], a, INSIDE, i),
                f"‖δ‖∞ {float(large.abs().max()):.2f}\n‖δ‖₂ {float(large.norm()):.1f}",
                _outcome(captions[BEYOND][i], a, BEYOND, i),
                _outcome(captions[NOISE][i], a, NOISE, i),
            ]
        )
    gallery(folder / "fig1.png", pictures, heads, words, side=1.35)


def _outcome(caption: str, a: dict[str, Tensor], kind: str, index: int) -> str:
    """Label and confidence, and the change of the outputs in each precision."""
    moved = [float(a[f"{name} {kind}"][index]) for name in DTYPES]
    label, chance = caption.split("\n")
    return f"{label} {chance}\nΔ {moved[0]:.0e}; {moved[1]:.0e}"
