"""On and off the manifold: the model's claims that it decides."""

from __future__ import annotations

from math import sqrt

from ..experiment import Answer, Parts, Verdict
from .found import found
from .predictions import ARCHITECTURE, BOTH, DATA, LOCAL_SHARE, NEITHER, sign
from .report import elsewhere as elsewhere_row
from .report import on_and_off
from .settings import OTHERS, PCA, RANDOM, TANGENT, OnOffSettings

CHEAP, DEAR = 1.25, 2.0
"""Largest off/plain that is hardly more than 1, and smallest on/plain that is many times as much."""


def verdicts(s: OnOffSettings, done: Parts) -> list[Verdict]:
    """What it says of the model's claims."""
    names = ("perpendicular", "off-is-cheap", "data-or-architecture", "local-manifold")
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in names]
    every = [group for group in found(s, done) if not group.case.adversarial and group.case.kind != OTHERS]
    shown = [group for group in every if group.case.kind in ("mlp", "resnet20")]
    cells = {(group.case.dataset, group.case.kind): on_and_off(group, TANGENT) for group in shown}
    leading = {(group.case.dataset, group.case.kind): on_and_off(group, PCA) for group in shown}
    corners = [key for key in cells if key[0] in ("mnist", "cifar10")]
    above = [group.share(TANGENT) > group.chance(TANGENT) for group in every]
    cause = sign(s, every, TANGENT)[1]
    perpendicular: Answer = "does not hold" if all(above) else "depends" if any(above) else "holds"
    off = max(group.ratio(TANGENT, "off").value for group in every)
    on = [group.ratio(TANGENT, "on").value for group in every]
    random = [group.ratio(RANDOM, "on").value for group in every]
    cheap = off <= CHEAP and min(on) >= DEAR
    leading_cause = sign(s, every, PCA)[1]
    decided: Answer = {DATA: "holds", ARCHITECTURE: "does not hold"}.get(leading_cause, "depends")  # type: ignore[assignment]
    elsewhere = [group.here_over_elsewhere.value for group in every]
    local: Answer = "holds" if max(elsewhere) < LOCAL_SHARE else "does not hold"
    local = "depends" if local == "does not hold" and min(elsewhere) < LOCAL_SHARE else local
    return [
        Verdict(
            names[0],
            perpendicular,
            [cells[key][0] for key in corners],
            "the data set and the network"
            if perpendicular == "depends" and cause in (BOTH, NEITHER)
            else cause
            if perpendicular == "depends"
            else "",
            f"chance gives {sqrt(every[0].chance(TANGENT)):.3f} for grey and {sqrt(128 / 3072):.3f} for colour images",
        ),
        Verdict(
            names[1],
            "holds" if cheap else "depends",
            [row for key in corners for row in cells[key][1:]][:4],
            "" if cheap else "the data set",
            f"on/plain is {min(on):.1f} to {max(on):.1f}, but {min(random):.1f} to {max(random):.1f} in random "
            f"subspaces of equal dimension; off/plain is at most {off:.2f}",
        ),
        Verdict(
            names[2],
            decided,
            [leading[key][0] for key in corners],
            "both" if decided == "depends" else "",
            f"share in the first principal components; chance gives √(k/n) of the norm; decided by {leading_cause}",
        ),
        Verdict(
            names[3],
            local,
            [elsewhere_row(group) for group in shown][:4],
            "the data set and the network" if local == "depends" else "",
            f"over all networks the ratio is {min(elsewhere):.2f} to {max(elsewhere):.2f}",
        ),
    ]
