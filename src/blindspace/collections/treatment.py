"""What is done with the pictures of a collection: the contract of protecting and of inspecting them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .source import Picture


@dataclass(frozen=True)
class Outcome:
    """The outcome of one picture, whose parts are all plain values for JSON but the content.

    Attributes:
        known: What was found out about the picture itself.
        reason: Reason why nothing was found out, or why there is no new file where there should be one; else empty.
        content: Content of the new file; None if there is none.
        made: What is known of the new file.
    """

    known: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    content: bytes | None = None
    made: dict[str, Any] = field(default_factory=dict)


Handle = Callable[[Sequence[Picture]], list[Outcome]]
"""From pictures of any shapes to one outcome each, in their order."""


class Common(Protocol):
    """What the settings of every treatment say of the collection."""

    @property
    def suffix(self) -> str | None:
        """Suffix of the pictures' new files; None if none are written."""

    @property
    def pictures(self) -> tuple[str, ...]:
        """Columns and endings of members that hold pictures, as for ``kinds``."""

    @property
    def per_shard(self) -> int:
        """Largest number of files of a folder per shard."""


class Treatment(Protocol):
    """What every worker receives; it is sent to processes and nodes, so it is small and can be pickled."""

    @property
    def settings(self) -> Common:
        """The settings."""

    def handle(self) -> Handle:
        """What treats pictures, made in the process where it works.

        Raises:
            BlindspaceError: What the work needs cannot be loaded.
        """


def digest(settings: Mapping[str, Any]) -> str:
    """Hash of settings, plain values for JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
