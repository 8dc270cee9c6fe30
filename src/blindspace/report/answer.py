"""An audit in words: the answer in one sentence, how sure it is, and what attackers and defenders can make of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..evidence import Audit
from ..evidence.example_inputs import is_picture
from ..maps import Convolution
from ..subspaces import Window
from .page import number, percent

SURE = {
    "exact": "certified for every input",
    "numerical": "certain up to rounding",
    "undecided": "about, and not certain",
}
"""How sure the dimension is, by the kind of its certificate."""

HOW_SURE = {
    "exact": "rounding cannot have changed this number",
    "numerical": "it follows from singular values in float64, with a clear gap between those that count and those "
    "that do not",
    "undecided": "some singular values are neither clearly 0 nor clearly above 0, and the number may be off by as many",
}
"""The same as a clause."""


@dataclass(frozen=True)
class Point:
    """One thing that follows from an audit: a few words, and the sentences that explain them."""

    head: str
    text: str


def headline(audit: Audit) -> str:
    """The answer in one sentence: how much the network cannot see, and how sure that is."""
    sure = SURE[audit.space.certificate.kind]
    if not audit.space.dim:
        return f"{audit.model} sees every change of its input: {sure}"
    return f"{audit.model} cannot see {share_of(audit)} of what you feed it: {sure}"


def share_of(audit: Audit) -> str:
    """The share of the dimensions that the network cannot see, or their number where the share is tiny."""
    if audit.space.chance < 0.0005:
        return f"{audit.space.dim:,} of {audit.space.ambient_dim:,} dimensions"
    return percent(audit.space.chance).replace(".0\N{NO-BREAK SPACE}%", "\N{NO-BREAK SPACE}%")


def input_words(audit: Audit) -> str:
    """One input in words, such as "3 × 32 × 32 image"."""
    sides = " × ".join(map(str, audit.input_shape))
    return f"{sides} image" if is_picture(audit.input_shape) else f"input of {sides} {audit.input}"


def explained(audit: Audit) -> str:
    """The sentences below the headline."""
    n, dim = audit.space.ambient_dim, audit.space.dim
    kind = audit.space.certificate.kind
    ways = f"Of the {n:,} independent ways to change {_article(input_words(audit))}, "
    sure = f"How sure is that? The number is {kind}: {HOW_SURE[kind]}."
    if not dim:
        return (
            f"{ways}none is lost before the first non-linear operation of the network. {sure} Later operations lose "
            "information too, in ways that depend on the input; that is not counted here."
        )
    return (
        f"{ways}{dim:,} leave every output as it was, up to rounding, whatever the input and however large the change. "
        f"{sure} {_confirmed(audit)}"
    ).strip()


def _article(words: str) -> str:
    return f"an {words}" if words.startswith("input") else f"a {words}"


def _confirmed(audit: Audit) -> str:
    """What running the network says."""
    if audit.measured is not None and audit.measured.void:
        return f"Running the network could not confirm it, because {audit.measured.void}."
    if audit.shown is None:
        return ""
    shown = audit.shown
    return (
        f"Running the network on {shown.inputs} random inputs agrees: its outputs move by {number(shown.harmless)} "
        f"along these directions, and by {number(shown.noise)} for noise of the same size in any direction."
    )


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
            Point("Nothing needs to be done here.", "No input can carry anything that this network cannot see."),
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
