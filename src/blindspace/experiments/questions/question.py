"""What a claim is, and who makes it."""

from __future__ import annotations

from dataclasses import dataclass

MODEL, CRITICS, BEYOND = "the model", "its critics", "found here"
"""Who makes a claim."""


@dataclass(frozen=True)
class Question:
    """A claim that an experiment decides.

    Attributes:
        claim: The claim, as a sentence.
        whose: Who makes it: ``MODEL``, ``CRITICS`` or ``BEYOND``.
        experiment: Name of the experiment that decides it.
    """

    claim: str
    whose: str
    experiment: str
