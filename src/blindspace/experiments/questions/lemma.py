"""The claims about what a network cannot see beyond its affine front: of the paper, of others, and found here.

A claim is added together with the experiment that decides it.
"""

from __future__ import annotations

from .question import Question

PAPER, OTHERS = "the paper", "others"
"""Whose claims these are, where they are not found here."""

LEMMA: dict[str, Question] = {}
"""The claims by name, in the order of the table."""
