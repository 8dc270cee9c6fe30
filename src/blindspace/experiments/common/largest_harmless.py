"""The largest harmless perturbations of a set of images, reproducible image by image."""

from __future__ import annotations

from torch import Tensor

from ...perturbations import Largest, largest
from ...progress import Progress
from ...subspaces import Subspace
from ..experiment import Settings


def largest_harmless(
    s: Settings, space: Subspace, images: Tensor, progress: Progress, iterations: int | None = None, name: str = ""
) -> Largest:
    """The largest harmless perturbations, each image's start drawn from the settings.

    Args:
        s: whose seed it is.
        space: of harmless perturbations.
        images: x, ``(B, *space.shape)`` in [0, 1].
        progress: called with how much is done.
        iterations: as ``largest`` has it.
        name: of what it is drawn for, such as the network's.
    """
    starts = [s.generator("largest", name, index) for index in range(len(images))]
    return largest(space, images, generators=starts, iterations=iterations, progress=progress)
