"""Depth of the dimples: the claims of the model and its critics that it decides."""

from __future__ import annotations

from ..experiment import Answer, Parts, Verdict
from .found import Group, found
from .report import accuracy, deepening, gap, local, realism
from .settings import ADVERSARIAL, STANDARD, DepthSettings

LOCAL, NOT_LOCAL = 1.5, 1.25
"""Share at the image over that at another image from which on, and up to which, a network knows the local manifold."""


def verdicts(s: DepthSettings, done: Parts) -> list[Verdict]:
    """What it says of them."""
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in QUESTIONS]
    every = found(s, done)
    dearer = [(g.difference("test").interval or (0, 0))[1] < 0 for g in every]
    deeper = [(g.deepening().interval or (0, 0))[0] > 1 for g in every]
    away = [(g.growth("share of PGD").interval or (0, 0))[1] < 1 for g in every]
    wider = [(g.widening().interval or (0, 0))[0] > 0 for g in every]
    knows = [g.local(ADVERSARIAL).value > LOCAL and g.local(STANDARD).value < NOT_LOCAL for g in every]
    shown = _shown(every)
    costs = [a and b for a, b in zip(away, wider, strict=True)]
    return [
        _verdict("trade-off", dearer, [accuracy(g) for g in every][:4]),
        _verdict("deeper-dimples", deeper, [deepening(g) for g in every][:4], "1 means equally"),
        _verdict(
            "away-from-images",
            costs,
            [row for g in shown for row in (realism(g), gap(g))],
            "holds would mean a share below the standard network's and a wider gap",
        ),
        _verdict(
            "local-after-training",
            knows,
            [local(g, way) for g in shown for way in (STANDARD, ADVERSARIAL)],
            f"over all kinds of networks the ratio is {min(g.local(ADVERSARIAL).value for g in every):.2f} to "
            f"{max(g.local(ADVERSARIAL).value for g in every):.2f} after adversarial training",
        ),
    ]


QUESTIONS = ("trade-off", "deeper-dimples", "away-from-images", "local-after-training")


def _shown(every: list[Group]) -> list[Group]:
    return [every[0], every[-1]] if len(every) > 1 else every


def _verdict(question: str, holds: list[bool], rows: list, because: str = "") -> Verdict:  # type: ignore[type-arg]
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    on = "the data set and the network" if answer == "depends" else ""
    return Verdict(question, answer, rows, on, because)
