"""The answer of an audit in words: how much a network cannot see of what it is fed, and how sure that is."""

from __future__ import annotations

from .._html import percent
from ..maps import Shape
from ..subspaces import Subspace
from .example_inputs import is_picture

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


def headline(model: str, space: Subspace) -> str:
    """The answer in one sentence.

    Args:
        model: name of the network.
        space: the nullspace of its affine front.
    """
    sure = SURE[space.certificate.kind]
    if not space.dim:
        return f"{model} loses nothing of what you feed it before its first non-linear operation: {sure}"
    return f"{model} cannot see {share_of(space)} of what you feed it: {sure}"


def share_of(space: Subspace) -> str:
    """The share of the dimensions that lie in a subspace, or their number where the share is tiny."""
    if space.chance < 0.0005:
        return f"{space.dim:,} of {space.ambient_dim:,} dimensions"
    return percent(space.chance).replace(".0\N{NO-BREAK SPACE}%", "\N{NO-BREAK SPACE}%")


def input_words(shape: Shape, meaning: str) -> str:
    """One input in words, such as "3 × 32 × 32 image".

    Args:
        shape: its shape.
        meaning: what its values are, such as "pixels".
    """
    sides = " × ".join(map(str, shape))
    return f"{sides} image" if is_picture(shape) else f"input of {sides} {meaning}"


def explained(space: Subspace, shape: Shape, meaning: str) -> str:
    """The sentences that explain the answer. As ``headline`` and ``input_words``."""
    kind, words = space.certificate.kind, input_words(shape, meaning)
    article = "an" if words.startswith("input") else "a"
    ways = f"Of the {space.ambient_dim:,} independent ways to change {article} {words}, "
    sure = f"How sure is that? The number is {kind}: {HOW_SURE[kind]}."
    if not space.dim:
        return (
            f"{ways}every one reaches the first non-linear operation of the network. {sure} From there on information "
            "is lost too, in ways that depend on the input; that is not counted here."
        )
    return (
        f"{ways}{space.dim:,} leave every output as it was, up to rounding, whatever the input and however large the "
        f"change. {sure}"
    )
