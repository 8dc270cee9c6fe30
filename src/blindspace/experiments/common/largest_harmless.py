"""The largest harmless perturbations of a set of images, reproducible image by image."""

from __future__ import annotations

from torch import Tensor

from ...perturbations import Largest, largest
from ...progress import Progress
from ...subspaces import Subspace
from ..parts import Settings


def largest_harmless(
    s: Settings, space: Subspace, images: Tensor, progress: Progress, iterations: int | None = None, name: str = ""
) -> Largest:
    """The largest harmless perturbations; the starting point of each image depends on the settings and its index alone.

    Args:
        s: Settings, for their seed.
        space: Subspace of harmless perturbations.
        images: x, ``(B, *space.shape)`` in [0, 1].
        progress: Called with the share of the work that is done.
        iterations: Number of iterations, as in ``largest``.
        name: Purpose of the draw, such as the name of the network.
    """
    starts = [s.generator("largest", name, index) for index in range(len(images))]
    return largest(space, images, generators=starts, iterations=iterations, progress=progress)
