"""What an inspection of a collection depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from ..errors import BlindspaceError, UnknownNameError, ValueRangeError, integer, seed_of, shown
from ..evidence.conformal import check_rate
from ..evidence.resizes.cleaning import Keep
from ..evidence.resizes.detection import parse
from ..networks import Named

VERSION = 1
"""Version of what is measured and how; work of another one is not continued."""


@dataclass(frozen=True)
class InspectSettings:
    """Everything that an inspection depends on, apart from the pictures and the reference.

    Either photographs of any size are inspected before a resize, or pictures of the input size of a network.

    Attributes:
        resizers: Resizers that photographs may have been made for, as for ``evidence.inspect_resize``; none for those
            of a network.
        network: Network in whose harmless subspace something may be hidden; None before a resize.
        false_positives: Rate at which clean pictures may be called suspicious, in (0, 1).
        seed: Seed of the noise that is added to pictures of the reference.
        clean: Whether new pictures are written, without what may be hidden in them, as PNG of eight bits.
        keep: What photographs keep when they are cleaned: what the ``network`` reads, or what ``people`` see.
        pictures: Columns and endings of members that hold pictures, as for ``kinds``.
        per_shard: Largest number of files of a folder per shard.

    Raises:
        ValueRangeError: Resizers and a network are given, or neither, or a number is out of range.
        UnknownNameError: No resizer has that name, or ``keep`` is another word.
    """

    resizers: str | tuple[str, ...] = ()
    network: Named | None = None
    false_positives: float = 0.01
    seed: int = 0
    clean: bool = False
    keep: Keep = "people"
    pictures: tuple[str, ...] = ()
    per_shard: int = 16

    def __post_init__(self) -> None:
        if bool(self.resizers) == (self.network is not None):
            raise ValueRangeError("an inspection needs resizers or a network, and not both")
        if self.network is None:
            parse(self.resizers)
        elif not isinstance(self.network, Named):
            raise BlindspaceError(
                f"the network of an inspection is a blindspace.networks.Named, got {shown(self.network)}"
            )
        if self.keep not in get_args(Keep):
            raise UnknownNameError(f"keep 'network' or 'people', not {self.keep!r}")
        check_rate(self.false_positives)
        integer(self.per_shard, "the number of files per shard", 1)
        seed_of(self.seed)

    @property
    def suffix(self) -> str | None:
        """Suffix of the new files; None if none are written."""
        return ".png" if self.clean else None

    @property
    def named(self) -> Named:
        """The network, where there is one."""
        assert self.network is not None
        return self.network

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON, with the hashes of the files that they name."""
        files = {} if self.network is None else self.network.hashes()
        resizers = [self.resizers] if isinstance(self.resizers, str) else list(self.resizers)
        return {"version": VERSION, **asdict(self), "resizers": resizers, "files": files}
