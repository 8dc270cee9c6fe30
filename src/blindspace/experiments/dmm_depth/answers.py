"""Depth of the dimples: the claims of the model and its critics that it decides."""

from __future__ import annotations

from ..experiment import Answer, Row, Verdict
from ..parts import Parts
from .found import Group, found
from .report import accuracy, deepening, gap, local, realism
from .settings import ADVERSARIAL, STANDARD, DepthSettings

LOCAL = 1.5
"""Share at the image over that at another image from which on a network knows the local manifold."""


def verdicts(s: DepthSettings, done: Parts) -> list[Verdict]:
    """What it says of them."""
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in QUESTIONS]
    every = found(s, done)
    dearer = [(g.difference("test").interval or (0, 0))[1] < 0 for g in every]
    deeper = [(g.deepening().interval or (0, 0))[0] > 1 for g in every]
    away = [(g.growth("share of PGD").interval or (0, 0))[1] < 1 for g in every]
    wider = [(g.widening().interval or (0, 0))[0] > 0 for g in every]
    knows = [g.local(ADVERSARIAL).value > LOCAL for g in every]
    ranges = [[g.local(way).value for g in every] for way in (STANDARD, ADVERSARIAL)]
    shown = _shown(every)
    costs = [a and b for a, b in zip(away, wider, strict=True)]
    return [
        _verdict(every, "trade-off", dearer, [accuracy(g) for g in every][:4]),
        _verdict(every, "deeper-dimples", deeper, [deepening(g) for g in every][:4], "1 means equally"),
        _verdict(
            every,
            "away-from-images",
            costs,
            [row for g in shown for row in (realism(g), gap(g))],
            "holds would mean a share below the standard network's and a wider gap",
        ),
        _verdict(
            every,
            "local-after-training",
            knows,
            [local(g, way) for g in shown for way in (STANDARD, ADVERSARIAL)],
            "over all kinds of networks the ratio is "
            + " and ".join(
                f"{min(r):.2f} to {max(r):.2f} {when}" for r, when in zip(ranges, ("before", "after"), strict=True)
            ),
        ),
    ]


QUESTIONS = ("trade-off", "deeper-dimples", "away-from-images", "local-after-training")


def _shown(every: list[Group]) -> list[Group]:
    return [every[0], every[-1]] if len(every) > 1 else every


def _verdict(every: list[Group], question: str, holds: list[bool], rows: list[Row], because: str = "") -> Verdict:
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    return Verdict(question, answer, rows, _decided_by(every, holds) if answer == "depends" else "", because)


def _decided_by(every: list[Group], holds: list[bool]) -> str:
    """What decides whether something holds: the data set or the network alone, or both."""
    for name, of in (
        ("the data set", [g.case.dataset for g in every]),
        ("the network", [g.case.kind for g in every]),
    ):
        if len(set(zip(of, holds, strict=True))) == len(set(of)):
            return name
    return "the data set and the network"
