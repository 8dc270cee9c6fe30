"""The claims about what a network cannot see beyond its affine front: of the paper, of others, and found here.

A claim is added together with the experiment that decides it.
"""

from __future__ import annotations

from .question import BEYOND, Question

PAPER, OTHERS = "the paper", "others"
"""Whose claims these are, where they are not found here."""

LEMMA: dict[str, Question] = {
    "every-layer": Question(
        "There are harmless input perturbations through every layer, not through the first alone (lemma 1).",
        PAPER,
        "lemma1",
    ),
    "beyond-front": Question(
        "Through every layer there are harmless input perturbations that the affine front does see.",
        BEYOND,
        "lemma1",
    ),
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
    "constant-confidence": Question(
        "At a confidence that stays within 0.2, paths lead from an image most of the way to any of another class.",
        OTHERS,
        "blindspots",
    ),
    "all-logits": Question(
        "So do paths along which no logit changes at all.",
        BEYOND,
        "blindspots",
    ),
    "logits-move": Question(
        "Where the confidence alone is kept, the logits move by more than a tenth of the largest.",
        BEYOND,
        "blindspots",
    ),
}
"""The claims by name, in the order of the table."""
