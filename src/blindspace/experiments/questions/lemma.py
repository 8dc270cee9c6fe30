"""The claims about what a network cannot see beyond its affine front: of the paper, of others, and found here.

A claim is added together with the experiment that decides it.
"""

from __future__ import annotations

from .question import BEYOND, Question

PAPER, OTHERS = "the paper", "others"
"""Whose claims these are, where they are not found here."""

LEMMA: dict[str, Question] = {
    "relu-adds": Question(
        "At an image, the units of the first layer that are off hide dimensions beyond its nullspace.",
        BEYOND,
        "nonlinear",
    ),
    "relu-learnt": Question(
        "What non-linear layers hide is learnt: training turns units off.",
        BEYOND,
        "nonlinear",
    ),
}
"""The claims by name, in the order of the table."""
