"""On and off the manifold: the model's claims that it decides."""

from __future__ import annotations

from math import sqrt

from ..experiment import Answer, Verdict
from ..parts import Parts
from .found import found
from .predictions import ARCHITECTURE, BOTH, DATA, LOCAL_SHARE, by_training, sign
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
    standard = [group for group in found(s, done) if not group.case.adversarial]
    every = [group for group in standard if group.case.kind != OTHERS]
    by_key = {(group.case.dataset, group.case.kind): group for group in standard if not group.case.training}
    corners = [(d, k) for d in ("mnist", "cifar10") for k in ("mlp", "resnet20") if (d, k) in by_key]
    colour = [("cifar10", k) for k in ("mlp", "convnet", "resnet20", OTHERS) if ("cifar10", k) in by_key]
    above = [group.share(TANGENT) > group.chance(TANGENT) for group in standard]
    perpendicular: Answer = "does not hold" if all(above) else "depends" if any(above) else "holds"
    cause, leading_cause = sign(s, every, TANGENT)[1], sign(s, every, PCA)[1]
    off = max(group.ratio(TANGENT, "off").value for group in every)
    on = [group.ratio(TANGENT, "on").value for group in every]
    random = [group.ratio(RANDOM, "on").value for group in every]
    cheap = off <= CHEAP and min(on) >= DEAR
    training = by_training(standard)
    decided: Answer = "holds" if leading_cause == DATA else "depends" if leading_cause == BOTH else "does not hold"
    elsewhere = [group.here_over_elsewhere.value for group in every]
    local: Answer = "holds" if max(elsewhere) < LOCAL_SHARE else "does not hold"
    local = "depends" if local == "does not hold" and min(elsewhere) < LOCAL_SHARE else local
    return [
        Verdict(
            names[0],
            perpendicular,
            [on_and_off(by_key[key], TANGENT)[0] for key in [*corners[:1], *colour[-3:]]],
            "" if perpendicular != "depends" else cause if cause in (DATA, ARCHITECTURE) else "the network",
            f"chance gives {sqrt(every[0].chance(TANGENT)):.3f} for grey and {sqrt(128 / 3072):.3f} for colour images; "
            f"{sum(above)} of {len(above)} kinds of networks are above it",
        ),
        Verdict(
            names[1],
            "holds" if cheap else "depends",
            [row for key in corners for row in on_and_off(by_key[key], TANGENT)[1:]][:4],
            "" if cheap else "the network",
            f"on/plain is {min(on):.1f} to {max(on):.1f}, but {min(random):.1f} to {max(random):.1f} in random "
            f"subspaces of equal dimension; off/plain is at most {off:.2f}",
        ),
        Verdict(
            names[2],
            decided,
            [on_and_off(group, PCA)[0] for group in standard if group.case.dataset == "cifar10"],
            "both" if decided == "depends" else "",
            f"in the first principal components, where chance gives √(k/n), what decides is {leading_cause}{training}",
        ),
        Verdict(
            names[3],
            local,
            [elsewhere_row(by_key[key]) for key in corners],
            "the data set and the network" if local == "depends" else "",
            f"over all networks the ratio is {min(elsewhere):.2f} to {max(elsewhere):.2f}",
        ),
    ]
