"""Known as SimBA, the simple black-box attack; Guo et al. 2019.

One random direction after the other is tried forwards and backwards; a step is kept if it lowers the margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import BlindspaceError, real, shown
from ..maps import Operator
from ..networks.network import Network
from ..subspaces import Norm, Subspace
from ..subspaces._mask_argument import MaskLike
from ._pgd import LOOSE
from .directions import Directions, Uniform, streams
from .gradient import prepared, unit
from .score import Oracle, Queried, queried
from .scores import Model


def simba(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    eps: float = 2.0,
    queries: int = 1000,
    step_size: float = 0.2,
    norm: Norm = "l2",
    targeted: bool = False,
    subspace: Subspace | Operator | None = None,
    joint: bool = True,
    directions: Callable[[Sequence[torch.Generator]], Directions] | None = None,
    generator: torch.Generator | None = None,
    mask: MaskLike | None = None,
) -> Queried:
    """Attack images by single queries, each a step along a new direction, or against it if the first sign failed.

    A step is kept if it lowers the margin: the true label's score minus the largest other score.

    Args:
        model: A ``Network``, or a function of images in [0, 1] to scores ``(B, K)``; normalisation happens inside.
        images: Images in [0, 1], floating point ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, whole numbers ``(B,)``; of one number per image, 0
            and 1.
        eps: Radius of the ball around each image, in units of the image range.
        queries: Largest number of queries per image; the first one is the unperturbed image.
        step_size: Length of a step in L2.
        norm: Norm of the ball, ``linf`` or ``l2``.
        targeted: Whether the labels are targets to be reached.
        subspace: As in ``pgd``.
        joint: Whether every query is the nearest point of pixel range ∩ ball ∩ subspace. If False, only pixel range
            and ball hold exactly, and ``residual`` states what clipping puts outside the subspace; a joint projection
            costs more than a query of a small model.
        directions: Factory that makes the directions from one generator per image, such as
            ``partial(Pixels, shape=…)``; uniform directions of the subspace if None.
        generator: Source of all randomness; each image has a stream of its own, independent of the other images.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Raises:
        BlindspaceError: As ``pgd``.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> digits = bs.data.samples("mnist")
        >>> x, y = digits.tensor()[:4], digits.targets()[:4]
        >>> found = bs.simba(network, x, y, eps=2.0, queries=40)
        >>> bool((found.images - x).flatten(1).norm(dim=1).max() <= 2.001)
        True
    """
    given = prepared(model, images, labels, eps, norm, subspace, mask)
    model, images, labels, allowed = given.model, given.images, given.labels, given.allowed
    step_size, oracle = real(step_size, "step_size", above=True), Oracle(model, labels, targeted, queries)
    if not (directions is None or callable(directions)):
        raise BlindspaceError(f"directions must be a function of generators, got {shown(directions)}")
    random = streams(len(images), generator)
    source = directions(random) if directions is not None else Uniform(random, images.shape[1:], allowed.subspace)
    delta, tried = torch.zeros_like(images), torch.zeros_like(images)
    sign = torch.zeros(len(images), dtype=torch.int64, device=images.device)  # 0 if a new direction is due
    active = torch.arange(len(images), device=images.device)
    best, success = oracle.margin(images, active)
    active = active[~success]
    while oracle.left(active):
        due = active[sign[active] == 0]
        if len(due):
            drawn = source.draw(due).to(images)
            tried[due] = drawn if directions is None else unit(allowed.of(due).direction(drawn), "l2")
            sign[due] = 1
        moved = delta[active] + step_size * sign[active].view(-1, *[1] * (images.ndim - 1)) * tried[active]
        moved = allowed.of(active, joint).nearest(moved, LOOSE)
        margin, hit = oracle.margin((images[active] + moved).clamp(0, 1), active)
        better = (margin < best[active]) | hit
        taken = active[better]
        delta[taken], best[taken] = moved[better], margin[better]
        sign[active] = torch.where(better | (sign[active] == -1), 0, -1)
        success[active] = hit
        active = active[~hit]
    return queried(allowed, delta, success, oracle.queries)
