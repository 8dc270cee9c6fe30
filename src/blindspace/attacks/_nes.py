"""Known as NES, the natural evolution strategies attack; Ilyas et al. 2018.

Each step follows a gradient that is estimated from the scores at antithetic pairs of random points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import integer, real
from ..maps import Operator
from ..networks.network import Network
from ..subspaces import Norm, Subspace
from ..subspaces._mask_argument import MaskLike
from ._pgd import LOOSE
from .directions import Uniform, streams
from .gradient import prepared, unit
from .score import Oracle, Queried, queried
from .scores import Model


def nes(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    eps: float = 2.0,
    queries: int = 1000,
    step_size: float | None = None,
    pairs: int = 25,
    sigma: float = 0.1,
    norm: Norm = "l2",
    targeted: bool = False,
    subspace: Subspace | Operator | None = None,
    generator: torch.Generator | None = None,
    mask: MaskLike | None = None,
) -> Queried:
    """Attack images by projected gradient descent on the margin, whose gradient is estimated anew for every step.

    A step costs two queries per pair and one more, which determines whether the attack has succeeded. The probe points
    are clipped to the pixel range and may lie outside ball and subspace; only the end of a step counts as success.

    Args:
        model: A ``Network``, or a function of images in [0, 1] to scores ``(B, K)``; normalisation happens inside.
        images: Images in [0, 1], floating point ``(B, *shape)``.
        labels: True labels, or the target labels if ``targeted``, whole numbers ``(B,)``; of one number per image, 0
            and 1.
        eps: Radius of the ball around each image, in units of the image range.
        queries: Largest number of queries per image; the first one is the unperturbed image.
        step_size: Size of one step in ``norm``; ``eps / 8`` if None.
        pairs: Number of random directions per step, each probed forwards and backwards; fewer if the queries do not
            suffice for a step.
        sigma: Search radius of the estimate: L2 distance of the probe points from the current point.
        norm: Norm of the ball, ``linf`` or ``l2``.
        targeted: Whether the labels are targets to be reached.
        subspace: As in ``pgd``.
        generator: Source of all randomness; each image has a stream of its own, independent of the other images.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Raises:
        BlindspaceError: As ``pgd``.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> digits = bs.data.samples("mnist")
        >>> x, y = digits.tensor()[:4], digits.targets()[:4]
        >>> found = bs.nes(network, x, y, eps=2.0, queries=40, pairs=5)
        >>> bool((found.images - x).flatten(1).norm(dim=1).max() <= 2.001)
        True
    """
    given = prepared(model, images, labels, eps, norm, subspace, mask)
    model, images, labels, allowed = given.model, given.images, given.labels, given.allowed
    pairs, sigma = integer(pairs, "the number of pairs", 1), real(sigma, "sigma", above=True)
    pairs = max(min(pairs, (integer(queries, "the number of queries", 1) - 2) // 2), 1)  # for one step at least
    step_size = eps / 8 if step_size is None else real(step_size, "step_size")
    oracle = Oracle(model, labels, targeted, queries)
    source = Uniform(streams(len(images), generator), images.shape[1:], allowed.subspace)
    delta = torch.zeros_like(images)
    active = torch.arange(len(images), device=images.device)
    _, success = oracle.margin(images, active)
    active = active[~success]
    while oracle.left(active) > 2 * pairs:
        at = images[active] + delta[active]
        slope = torch.zeros_like(at)
        for _ in range(pairs):
            u = source.draw(active).to(images)
            ahead, _ = oracle.margin((at + sigma * u).clamp(0, 1), active)
            behind, _ = oracle.margin((at - sigma * u).clamp(0, 1), active)
            slope += (ahead - behind).view(-1, *[1] * (images.ndim - 1)) * u
        moved = delta[active] - step_size * unit(slope, norm)
        delta[active] = allowed.of(active).nearest(moved, LOOSE)
        _, hit = oracle.margin((images[active] + delta[active]).clamp(0, 1), active)
        success[active] = hit
        active = active[~hit]
    return queried(allowed, delta, success, oracle.queries)
