"""Photographs of a collection, inspected before a resize."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..data.encoding import encode
from ..errors import ShapeError, TooLargeError
from ..evidence import ResizeReference, clean_resize, inspect_resize
from ..progress import Progress
from .decoding import Pixels
from .inspect_settings import InspectSettings
from .treatment import Outcome


def learn(settings: InspectSettings, clean: Sequence[Tensor] | None, progress: Progress | None) -> ResizeReference:
    """The reference of clean pictures; the embedded one if None are given. Raises as ``ResizeReference.fit``."""
    if clean is None:
        return ResizeReference.embedded()
    return ResizeReference.fit(clean, settings.resizers, settings.seed, progress)


class BeforeResize:
    """Inspects photographs, and cleans them if that is asked for.

    Args:
        settings: The settings.
        reference: What clean pictures are like.
    """

    def __init__(self, settings: InspectSettings, reference: ResizeReference) -> None:
        self.settings = settings
        self.reference = reference

    def __call__(self, pixels: Pixels) -> Outcome:
        """The outcome of one photograph."""
        image = torch.from_numpy(pixels)
        s = self.settings
        try:
            found = inspect_resize([image], s.resizers, self.reference, s.false_positives)
        except (ShapeError, TooLargeError) as error:
            return Outcome(reason=str(error))
        known = {
            "source_shape": list(image.shape),
            "score": float(found.scores),
            "p_value": float(found.p_values),
            "suspicious": bool(found.suspicious),
            "made_for": found.to_dict()["made_for"][0],
        }
        if not s.clean:
            return Outcome(known)
        (row,) = found.made_for
        made: dict[str, Any] = {}
        if row is not None:  # else there is no resize in question that could hide something
            cleaned = clean_resize(image, row.resizers[0], row.size, s.keep)
            image, made = cleaned.image, cleaned.to_dict()
        content = encode(image.numpy(), "png")
        return Outcome(known, "", content, {"sha256": hashlib.sha256(content).hexdigest(), **made})
