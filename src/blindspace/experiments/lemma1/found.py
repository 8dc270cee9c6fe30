"""Lemma 1: what finished parts say of each layer."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from ..parts import Kept, Parts
from .settings import ANY, BEYOND, Case, Lemma1

NEAR = 1e-6
"""Relative shortfall of a size that is due to rounding."""

KINKS = "corrections brought back"
"""What is named by the reason that paths end at kinks, with the free directions and the longest step."""

MEASURED = ("full column rank", "the pixel range", KINKS)
"""What is named by the reasons that are measured at the image; others say how a search ended."""

NUMBER = re.compile(r"\d\.\d*e[-+]\d+")
"""The measured number of a reason, such as a singular value."""


@dataclass(frozen=True)
class FoundLayer:
    """A measured layer.

    Attributes:
        s: The settings.
        case: The network.
        kept: What its part has left.
    """

    s: Lemma1
    case: Case
    kept: Kept

    @property
    def name(self) -> str:
        """Network and layer in words."""
        return f"{self.case.name}, {self.kept.values['layer']}"

    def of(self, way: str, what: str) -> Tensor:
        """A figure of each image, ``(B,)``; without a nullspace of the front everything lies beyond it."""
        return self.kept.arrays[f"{way if f'{way}/{what}' in self.kept.arrays else ANY}/{what}"]

    def sizes(self, way: str) -> Tensor:
        """Norms as shares of the images' where no output changes by more than the tolerance, 0 elsewhere, ``(B,)``.

        Of perturbations beyond the front only the part outside its nullspace counts.
        """
        size = self.of(way, "beyond" if way == BEYOND else "size")
        allowed = (self.of(way, "output_change") <= self.s.tolerance) & self.of(way, "in box")
        return torch.where(allowed, size, 0.0)

    def done(self, way: str) -> Tensor:
        """Whether the perturbation of each image is as large and as harmless as asked for, bool ``(B,)``."""
        return self.sizes(way) >= self.s.size * (1 - NEAR)

    def reasons(self, way: str) -> list[str]:
        """Why the images that are not done are not; empty strings where no reason was measured."""
        given = self.kept.values["reasons"]
        return [why for why, ok in zip(given.get(way, given[ANY]), self.done(way).tolist(), strict=True) if not ok]

    def why(self, way: str) -> str:
        """The reasons in words, the most frequent first; of those that differ by a number alone, the least number."""
        by_words: dict[str, list[str]] = {}
        for why in self.reasons(way):
            by_words.setdefault(NUMBER.sub("…", why), []).append(why)
        least = [min(same, key=_number) for same in by_words.values()]
        counts = [len(same) for same in by_words.values()]
        return "; ".join(f"{count} × {why}" for count, why in sorted(zip(counts, least, strict=True), reverse=True))

    def explained(self, way: str) -> bool:
        """Whether every image is done or has a measured reason: none of a search that ended without one."""
        return all(any(words in why for words in MEASURED) for why in self.reasons(way))

    def kinks(self, way: str) -> bool:
        """Whether one of the reasons is that paths end at kinks, which proves nothing of other paths."""
        return any(KINKS in why for why in self.reasons(way))

    def facts(self) -> str:
        """The layer's nullspace, and what must stay besides."""
        kept = self.kept.values
        beside = len(kept["demands"]) - 1
        words = "all outputs stay" if kept["read"] is None else f"nullity {kept['dim']} of {kept['read']}"
        return words + (f", {beside} values beside it stay" if beside > 0 else "")


def _number(why: str) -> float:
    stated = NUMBER.search(why)
    return float(stated[0]) if stated else 0.0


def found(s: Lemma1, done: Parts) -> list[FoundLayer]:
    """All measured layers, in the order of the networks."""
    cases = {case.name: case for case in s.cases}
    return [FoundLayer(s, cases[name.rpartition(".")[0]], kept) for name, kept in done.items()]
