"""On and off the manifold: rows."""

from __future__ import annotations

from math import isinf, sqrt

import torch
from torch import Tensor

from ..common.intervals import median
from ..experiment import Row
from ..parts import Parts
from .found import Group, found
from .reference import REASON, REFERENCE, Reference
from .settings import BOXED, RANDOM, RANDOM_100, TANGENT, OnOffSettings


def rows(s: OnOffSettings, done: Parts) -> list[Row]:
    """Network by network: plain norms, then each subspace; the attacks within the pixel range at the end."""
    every = found(s, done)
    made = [
        row
        for group in every
        for row in (*_plain(group), *(r for space in group.spaces for r in on_and_off(group, space)))
    ]
    return [*made, *map(elsewhere, every), *(row for group in every for row in _boxed(group))]


def _plain(group: Group) -> list[Row]:
    images = sum(int(kept.values["images"]) for kept in group.kept)
    total = sum(int(kept.values["of"]) for kept in group.kept)
    plain = median(group.all("plain"))
    words = f"seeds: {len(group.kept)}; right on {images} of {total} images, which are measured"
    return [Row(group.name, "plain norm, median", plain.value, interval=plain.interval, reason=words, form=".3f")]


def on_and_off(group: Group, space: str) -> list[Row]:
    """The rows of one subspace: share of the gradient, on/plain, off/plain."""
    case = group.case
    given = REFERENCE.get((case.dataset, case.kind, case.adversarial, space), Reference())
    name, control = f"{group.name}, {space}", space != TANGENT
    chance = group.chance(space)
    initial = ""
    if f"{space}/initial share" in group.kept[0].arrays:
        initial = f", at random initialisation {sqrt(group.share(space, 'initial share')):.3f}"
    own = sqrt(group.share(space, "share of the perturbation"))
    against = f"chance {sqrt(chance):.3f}{initial}; of the plain perturbation {own:.3f}"
    against += f"; {group.angle(space):.0f}° between gradient and subspace"
    if space not in (RANDOM, RANDOM_100):
        against += f"; share over random {group.over_random(space)}"
    fraction = group.fraction(space)
    made = [Row(name, "‖P g‖/‖g‖", fraction.value, given.fraction, fraction.interval, control, against, ".3f")]
    for way, sign, reference in (("on", "share", given.on), ("off", "(1 − share)", given.off)):
        ratio, law = group.ratio(space, way), group.law(space, way)
        lost = torch.cat([each.flatten() for each in group.all(f"{space}/{way}")]).isinf()
        words = f"{law.value:+.1%} from 1/√{sign}"
        if law.interval and not isinf(law.interval[1]):
            words += f" [{law.interval[0]:+.1%}, {law.interval[1]:+.1%}]"
        if bool(lost.any()):
            words += f"; {int(lost.sum())} of {len(lost)} attacks fail"
        if reference is not None:
            words += f"; {REASON}"
        made.append(Row(name, f"{way} / plain", ratio.value, reference, ratio.interval, control, words, ".3f"))
    return made


def elsewhere(group: Group) -> Row:
    """The row of the share at the image over that at another image."""
    ratio = group.here_over_elsewhere
    what = "share in the tangent space over that in another image's"
    return Row(group.name, what, ratio.value, interval=ratio.interval, form=".3f")


def _boxed(group: Group) -> list[Row]:
    arrays, made = group.kept[0].arrays, []
    for space in BOXED:
        for way in ("on", "off"):
            if f"boxed/{space}/{way}" not in arrays:
                continue
            ratio, failed, feasible = boxed(arrays, space, way)
            count = len(arrays["boxed/plain"])
            words = f"{failed} of {count} attacks fail; feasible radius {feasible:.3g}"
            if feasible < 1e-6:
                words += ": pixel range ∩ subspace is {0}, which says nothing about the boundary"
            made.append(
                Row(f"{group.name}, {space}, within the pixel range", f"{way} / plain", ratio, reason=words, form=".3f")
            )
    return made


def boxed(arrays: dict[str, Tensor], space: str, way: str) -> tuple[float, int, float]:
    """Of the attacks within the pixel range: ratio of median norms, number of failures, median feasible radius."""
    confined = arrays[f"boxed/{space}/{way}"]
    # The median of an even number is the mean of the middle two, of which one may be infinite.
    ratio = float(confined.quantile(0.5, interpolation="higher")) / float(
        arrays["boxed/plain"].quantile(0.5, interpolation="higher")
    )
    return ratio, int(confined.isinf().sum()), float(arrays[f"boxed/{space}/{way} feasible"].median())
