"""What follows from an audit, in words: what attackers and defenders can make of it, in the figures of the network."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from .._html import percent
from ..evidence import Audit
from ..evidence.example_inputs import is_picture
from ..maps import Convolution
from ..subspaces import Window


@dataclass(frozen=True)
class Point:
    """One thing that follows from an audit: a few words, and the sentences that explain them."""

    head: str
    text: str


def attacker(audit: Audit, window: Window | None) -> list[Point]:
    """What somebody who wants to deceive could do with the nullspace, in the figures of this network."""
    space, picture = audit.space, is_picture(audit.input_shape)
    what = "picture" if picture else "input"
    if not space.dim:
        return [
            Point("Hide nothing exactly.", "Every change of the input reaches the first non-linear operation."),
            Point("Hide nearly.", nearly(audit)),
            Point(
                "Hide before the network.",
                "If photographs are resized or cropped before this network reads them, that step has a nullspace of "
                "its own, however good the network is. Audit it together with the network: --preprocess.",
            ),
        ]
    found = [
        Point(
            f"Hide {space.dim:,} numbers in every {what}.",
            "Noise, text, another picture or a message: whatever is added along the nullspace, the network gives the "
            "answer that it gave before. A person, or another network, sees something else.",
        ),
        Point(
            f"Make {what}s unrecognisable for people and valid for the network.",
            "A check that only asks whether the network still gives the right label passes them.",
        ),
        Point(
            "Not change the answer.",
            f"What this network cannot see cannot deceive it. Attacks on its answer live in the other "
            f"{space.certificate.rank:,} dimensions, which this report says nothing about.",
        ),
    ]
    if window is not None and window.unread:
        found.insert(1, Point(f"Write into {unread_words(window, audit)}.", "The network does not read them at all."))
    return found


def unread_words(window: Window, audit: Audit) -> str:
    """How many values are not read at all, in words."""
    if not is_picture(audit.input_shape) or len(audit.input_shape) != 3 or audit.input_shape[0] not in (1, 3):
        return f"{window.unread:,} values"
    channels = audit.input_shape[0]
    whole = window.unread % channels == 0
    return f"{window.unread // channels:,} pixels" if whole else f"{window.unread:,} values of pixels"


def nearly(audit: Audit) -> str:
    """How many directions hardly move the front, in words."""
    if audit.soft is None:
        return "How many directions the network hardly sees was not computed: --soft 1e-3,1e-2 does."
    parts = [
        f"{count:,} of {audit.space.ambient_dim:,} directions move the front by less than {percent(share, 1)} as "
        "much as the direction that it is most sensitive to"
        for share, count in zip(audit.soft.thresholds, audit.soft.counts, strict=True)
        if audit.soft.relative
    ]
    return "; ".join(parts) + "." if parts else ""


def defender(audit: Audit, options: str) -> list[Point]:
    """What the operator of the network can do, in the figures of this network.

    Args:
        audit: The audit.
        options: The network as options of the command line, such as ``--model cifar-resnet``.
    """
    if not audit.space.dim:
        return [
            Point(
                "Nothing needs to be done here.",
                "No change is invisible whatever the input, as those of a nullspace are.",
            ),
            Point(
                "Keep it so.",
                "Feed it inputs at the size that it reads. A resize to half the side makes at least three quarters of "
                "the dimensions of a picture invisible.",
            ),
        ]
    found = [
        Point(
            "Clean what comes in.",
            f"Replace every input by its visible part, (I − P) x, which has {audit.space.certificate.rank:,} "
            "dimensions. The outputs stay the same up to rounding, and whatever was hidden is gone.",
        )
    ]
    if is_picture(audit.input_shape):
        found.append(
            Point(
                "Look at it first.",
                f"blindspace inspect IMAGES {options} says which pictures carry more in the nullspace than clean ones.",
            )
        )
    found += _stem(audit)
    found.append(
        Point(
            "Or nothing.",
            "If nobody but this network looks at the inputs, what it cannot see does no harm: its answers do not "
            "depend on it.",
        )
    )
    return found


def _stem(audit: Audit) -> list[Point]:
    """What would have to be different for the nullspace to be trivial."""
    factors = [factor for factor in audit.operator.factors if factor.in_dim > 1]
    shrinks = next((f for f in factors if f.out_dim < f.in_dim), None)
    if shrinks is None:
        return []
    if isinstance(shrinks, Convolution):
        kernels, channels = len(shrinks.weight), shrinks.in_shape[0]
        step = prod(min(k, s) for k, s in zip(shrinks.kernel, shrinks.stride, strict=True))
        if shrinks.groups == 1 and kernels < channels * step:
            return [
                Point(
                    "Take a wider stem.",
                    f"The first convolution has {kernels} kernels for the {channels * step} new values that each "
                    f"step of its stride reads; at least {channels * step} kernels are needed to see them all. Such "
                    "a network has to be trained anew.",
                )
            ]
        return []
    if len(shrinks.in_shape) == 3 and len(shrinks.out_shape) == 3:
        sides = "×".join(map(str, shrinks.in_shape[1:])), "×".join(map(str, shrinks.out_shape[1:]))
        return [
            Point(
                "Feed it at its own size.",
                f"Before the network reads them, {sides[0]} pixels become {sides[1]}, which alone loses "
                f"{shrinks.in_dim - shrinks.out_dim:,} dimensions or more. Storing and checking the pictures at the "
                "smaller size leaves nothing there to hide in.",
            )
        ]
    return [
        Point(
            "Take a wider first layer.",
            f"The front has {shrinks.out_dim:,} outputs for {shrinks.in_dim:,} inputs; fewer than {shrinks.in_dim:,} "
            "can never see all of them. Such a network has to be trained anew.",
        )
    ]
