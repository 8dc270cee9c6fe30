"""Whether protected images belong to their originals: each is compared with its own, the other ones, and a blank one.

A harmless perturbation leaves what the network reads as it was, whatever it does to the pixels; other noise leaves the
picture nearer to its own original than to others. So an image that is neither is not that of its original, or has been
protected for another network by so much that nothing is left to compare.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..subspaces import Subspace

SLACK = 1e-9
"""Relative difference of distances that counts as none, as between equal originals."""


def strangers(space: Subspace, originals: Tensor, protected: Tensor) -> dict[int, int | None]:
    """The protected images that are not those of their originals.

    Args:
        space: Harmless perturbations of the network that reads them.
        originals: x, float64 ``(B, *shape)``.
        protected: x̂, as x.

    Returns:
        By the number of the image that of the original it is nearest to in what the network reads; None where a blank
        image, of its original's mean colours, is nearer.
    """
    blank = originals.flatten(2).mean(2).reshape(*originals.shape[:2], *[1] * (originals.ndim - 2)).expand_as(originals)
    read = _nearest(*(space.reject(x) for x in (originals, protected, blank)))
    seen = _nearest(originals, protected, blank)
    return {i: read[i] for i in read if i in seen}


def _nearest(originals: Tensor, protected: Tensor, blank: Tensor) -> dict[int, int | None]:
    """The images that are nearer to others than to their own originals, with the nearest one."""
    y = protected.flatten(1)
    distances = torch.cdist(y, originals.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    own, off = distances.diagonal(), (y - blank.flatten(1)).norm(dim=1)
    least, index = distances.min(1)
    away = own > torch.minimum(least, off) * (1 + SLACK)
    others = torch.where(least < off, index, -1).tolist()
    return {i: None if others[i] in (i, -1) else others[i] for i in away.nonzero().flatten().tolist()}
