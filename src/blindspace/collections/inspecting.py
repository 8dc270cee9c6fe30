"""The treatment that inspects: the reference that is learnt once, and the work that every worker does with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..errors import BlindspaceError
from ..evidence import Reference, ResizeReference
from ..evidence.resizes.photographs import as_photographs
from ..jobs import one_thread
from ..maps.content_key import content_key
from ..progress import Progress
from . import before_resize, of_input_size
from .before_resize import BeforeResize
from .decoding import windows
from .inspect_settings import InspectSettings
from .of_input_size import OfInputSize
from .source import Picture
from .treatment import Handle, Outcome, digest

Fitted = ResizeReference | Reference

Given = Fitted | Sequence[Tensor] | Tensor | None
"""Clean pictures like those to be inspected, or what was learnt from them; None stands for those of the package."""


def checked(settings: InspectSettings, given: Given) -> Fitted | list[Tensor] | None:
    """The reference as it was given, pictures as float64 on the processor.

    Raises:
        BlindspaceError: It was learnt for the other kind of inspection.
        ShapeError: A picture is not (1 or 3, H, W).
        ValueRangeError: There is no picture, or a pixel is outside [0, 1].
    """
    wanted, other = (ResizeReference, Reference) if settings.network is None else (Reference, ResizeReference)
    if isinstance(given, other):
        raise BlindspaceError(f"this inspection takes a {wanted.__name__} or clean pictures, not a {other.__name__}")
    return given if given is None or isinstance(given, Fitted) else as_photographs(given)


def key_of(reference: Fitted | list[Tensor] | None) -> str:
    """What distinguishes a reference from all others."""
    if reference is None:
        return "embedded"
    return digest(reference.kept() if isinstance(reference, Fitted) else {"pictures": content_key(reference)})


def learn(
    settings: InspectSettings, reference: Fitted | list[Tensor] | None, progress: Progress | None
) -> dict[str, Any]:
    """What clean pictures are like, as ``Reference.kept`` has it, computed as workers compute.

    Raises:
        BlindspaceError: As ``ResizeReference.fit`` and ``Reference.fit``; the network cannot be loaded.
    """
    if isinstance(reference, Fitted):
        return reference.kept()
    with one_thread():
        if settings.network is None:
            return before_resize.learn(settings, reference, progress).kept()
        return of_input_size.learn(settings, reference, progress).kept()


def restored(settings: InspectSettings, kept: Mapping[str, Any]) -> Fitted:
    """The reference that ``learn`` made these values of."""
    return (ResizeReference if settings.network is None else Reference).of_kept(kept)


@dataclass(frozen=True)
class Inspecting:
    """The treatment.

    Attributes:
        settings: The settings.
        reference: What clean pictures are like, of ``learn``.
    """

    settings: InspectSettings
    reference: Mapping[str, Any]

    def handle(self) -> Handle:
        """An inspector of this process. Raises as ``OfInputSize``."""
        s, reference = self.settings, restored(self.settings, self.reference)
        examine = OfInputSize(s, reference) if isinstance(reference, Reference) else BeforeResize(s, reference)

        def inspect(pictures: Sequence[Picture]) -> list[Outcome]:
            outcomes: dict[int, Outcome] = {}
            for read, unreadable in windows(pictures, batch_bytes=1):  # one at a time
                outcomes |= {number: Outcome(reason=reason) for number, reason in unreadable.items()}
                for number, found in read.items():
                    with one_thread():
                        outcome = examine(found.pixels)
                    beside = {"dropped": list(found.dropped)} if outcome.known else {}
                    outcomes[number] = replace(outcome, known={**outcome.known, **beside})
            return [outcomes[number] for number in range(len(pictures))]

        return inspect
