"""Pictures of a collection that have the input size of a network, inspected for what it cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..data.channels import in_channels
from ..errors import ShapeError
from ..evidence import Reference, canonical, inspect
from ..evidence._inspect import embedded_images
from ..networks import harmless
from ..progress import Progress
from .decoding import Pixels
from .inspect_settings import InspectSettings
from .new_files import new_files
from .treatment import Outcome


def learn(settings: InspectSettings, clean: Sequence[Tensor] | None, progress: Progress | None) -> Reference:
    """The reference of clean images; of the embedded ones if None are given. Raises as ``Reference.fit``."""
    network = settings.named.load()
    images = embedded_images(network.input_shape) if clean is None else _stacked(clean, network.input_shape)
    return Reference.fit(harmless(network), images.to(network.device), settings.seed, progress)


class OfInputSize:
    """Inspects pictures of one shape, and cleans them if that is asked for.

    Args:
        settings: The settings.
        reference: What clean pictures are like.

    Raises:
        BlindspaceError: The network cannot be loaded.
    """

    def __init__(self, settings: InspectSettings, reference: Reference) -> None:
        self.settings = settings
        self.network = settings.named.load()
        self.reference = replace(reference, scores=reference.scores.to(self.network.device))
        self.space = harmless(self.network)

    def __call__(self, pixels: Pixels) -> Outcome:
        """The outcome of one picture."""
        shape = self.network.input_shape
        alike = in_channels(pixels, shape)
        if alike.shape != shape:
            return Outcome(reason=f"{self.network.name} reads pictures of shape {shape}, this one has {alike.shape}")
        # Alone, since the iterations of a batch go on until all of its images are done.
        image = torch.from_numpy(alike)[None].to(self.network.device)
        found = inspect(self.space, image, self.reference, self.settings.false_positives)
        known = {
            "source_shape": list(pixels.shape),
            "score": float(found.scores),
            "deviation": float(found.deviations),
            "p_value": float(found.p_values),
            "suspicious": bool(found.suspicious),
            "fingerprint": found.fingerprints[0],
        }
        if not self.settings.clean:
            return Outcome(known)
        clean = canonical(self.space, image, self.reference.prior).images
        (file,) = new_files(self.network, self.space, image, clean, "png")
        return replace(file, known=known)


def _stacked(images: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    other = next((tuple(image.shape) for image in images if image.shape != shape), None)
    if other is not None:
        raise ShapeError(f"pictures of the reference must have the shape {shape} that the network reads, got {other}")
    return torch.stack(list(images))
