"""Table 1: rows, claims and the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..common.intervals import of_mean
from ..common.pictures import Line, new_figure, plain, plot, save
from ..experiment import Claim, Row
from ..parts import Parts
from .settings import KINDS, PAPER, Table1


def _found(done: Parts) -> dict[str, Tensor]:
    """Values by kind; the rounding floor is that of the network with the harmless subspace."""
    return {**done["least-harmful"].arrays, **done["harmless"].arrays}


def rows(s: Table1, done: Parts) -> list[Row]:
    """The table, kind by kind."""
    found = _found(done)
    made = []
    for kind in KINDS:
        for index, multiple in enumerate(s.multiples):
            values = found[kind][index]
            paper = PAPER[kind][index] if kind in PAPER else None
            reason = _REASONS.get(kind, "") if index == 0 else ""
            name = "rounding floor, one ulp of the perturbed input" if kind == "one ulp" else kind
            row = Row(f"{name}, {multiple}ε", "RMSE of outputs", float(values.mean()), paper, of_mean(values))
            made.append(replace(row, control=kind not in PAPER, reason=reason))
    return made


_TRAINING = "a network of another training, which the paper leaves open"
_REASONS = {
    "Gaussian": f"standard deviation ε here; {_TRAINING}",
    "adversarial": f"PGD-20 of ε, scaled to ‖δ‖∞; {_TRAINING}",
    "harmless": "exact projection, scaled to ‖δ‖∞; what is left is rounding",
    "least harmful": f"‖δ‖₂ = ε here; {_TRAINING}",
}


def claims(s: Table1, done: Parts) -> list[Claim]:
    """The harmless row against the paper's; the least harmful one by the paper's ratio."""
    found = {kind: value.mean(1) for kind, value in _found(done).items()}
    below = [float(ours) <= paper for ours, paper in zip(found["harmless"], PAPER["harmless"], strict=True)]
    ratio = found["Gaussian, unmodified network"] / found["least harmful"]
    two = found["Gaussian, equal ‖δ‖₂"] / found["least harmful"]
    largest = found["Gaussian, equal ‖δ‖∞"] / found["least harmful, equal ‖δ‖∞"]
    theirs = torch.tensor(PAPER["Gaussian"]) / torch.tensor(PAPER["least harmful"])
    return [
        Claim(
            f"harmless at or below the paper's at {sum(below)} of {len(below)} magnitudes: "
            f"{found['harmless'].min():.1e} to {found['harmless'].max():.1e}; "
            f"one ulp of the input makes {found['one ulp'].min():.1e} to {found['one ulp'].max():.1e}",
            all(below),
        ),
        Claim(
            f"the least harmful unit vector times ε moves outputs {_span(ratio)} times less than noise of standard "
            f"deviation ε, which is how the paper's figures read (there {_span(theirs)} times); "
            f"at equal ‖δ‖∞ {_span(largest)} times less, at equal ‖δ‖₂ {_span(two)}",
            None if s.preset == "smoke" else bool((ratio >= theirs).all()),
        ),
    ]


def _span(values: Tensor) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def draw(s: Table1, done: Parts, folder: Path) -> None:
    """Every kind against the magnitude, logarithmic."""
    figure = new_figure(7.5, 4.6)
    axes = plain(figure.subplots(), "", "magnitude, multiples of ε = 8/255", "RMSE of outputs")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(s.multiples, [str(m) for m in s.multiples])
    colours = ("gaussian", "third", "own", "second", "control", "shuffled", "paper")
    plot(
        axes,
        [
            Line(kind, s.multiples, _found(done)[kind].mean(1).tolist(), colour, kind not in PAPER)
            for kind, colour in zip(KINDS, colours, strict=False)
        ],
    )
    save(figure, folder / "table1.png")
