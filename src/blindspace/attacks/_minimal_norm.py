"""The minimal-norm attack: DeepFool with refinements (``boundary``), confined to a subspace and the pixel range.

Where perturbed images must stay in the pixel range, every step ends at the nearest point of pixel range ∩ subspace.
The norm is an upper bound on the distance from the boundary; for a linear classifier and without the pixel range it is
the distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..maps import Operator
from ..networks.network import Network
from ..subspaces import Subspace, norms
from ..subspaces._mask_argument import MaskLike
from ..subspaces.box import share_outside
from .boundary import Search
from .gradient import Constraint, prepared
from .scores import Model

OUTSIDE = 1e-9
"""Largest share of a perturbation's norm outside the subspace."""


@dataclass(frozen=True)
class MinimalNorm:
    """Smallest perturbations found that change the label.

    Attributes:
        perturbation: The perturbations, float64 ``(B, *shape)``; where the attack failed, the last point that it tried.
        norms: Their L2 norms, float64 ``(B,)``: infinite where the attack failed, 0 where the label was wrong before.
        success: Whether the label is wrong, bool ``(B,)``.
        feasible: How far the allowed set reaches along the attack: the norm of the point of pixel range ∩ subspace that
            is nearest to a point at the distance √n, the diameter of the pixel range, in the direction of the first
            step; float64 ``(B,)``, infinite without the pixel range. Near 0, pixel range ∩ subspace is nearly {0} there
            and a failure says nothing about the boundary.
        residual: Largest share over the batch of a perturbation's norm that lies outside the subspace; 0 without one.
        steps: Number of steps to the first wrong label, or to the last one, int64 ``(B,)``.
    """

    perturbation: Tensor
    norms: Tensor
    success: Tensor
    feasible: Tensor
    residual: float
    steps: Tensor


def minimal_norm(
    model: Model | Network,
    images: Tensor,
    labels: Tensor,
    subspace: Subspace | Operator | None = None,
    boxed: bool = True,
    classes: int = 9,
    steps: int = 50,
    trust: float = 1.0,
    bisections: int = 12,
    refinements: int = 3,
    mask: MaskLike | None = None,
) -> MinimalNorm:
    """Look for the smallest perturbation in L2 that changes the label of each image.

    Every image is answered, those that are misclassified to begin with by a perturbation of 0. The model reads images
    in the dtype that they are given in; perturbations are computed in float64.

    Args:
        model: A ``Network``, or a function of images in [0, 1] to scores ``(B, K)``; normalisation happens inside.
        images: Images in [0, 1], floating point ``(B, *shape)``.
        labels: True labels, whole numbers ``(B,)``; of one number per image, 0 and 1.
        subspace: As in ``pgd``; it may be one subspace per image.
        boxed: Whether perturbed images stay in [0, 1]. If False they may leave it, which isolates what the subspace
            does: of an image with black and white pixels, pixel range ∩ subspace may be {0}.
        classes: Number of other classes whose boundaries are considered in each step, those of the largest scores.
        steps: Largest number of steps.
        trust: Largest length of a step, in units of the image range.
        bisections: Number of halvings of the segment on which the label changes. Norms exceed the distance along it by
            at most 2^-bisections; after 20 and more, rounding decides the label at the end in float32.
        refinements: Number of refinements, which lower the norms by about a tenth and cost a few steps each.
        mask: A mask outside which nothing changes, as ``Subspace.within`` takes it; None for none.

    Raises:
        BlindspaceError: As ``pgd``.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> digits = bs.data.samples("mnist")
        >>> x, y = digits.tensor()[:4], digits.targets()[:4]
        >>> found = bs.minimal_norm(network, x, y)
        >>> bool((network.labels((x + found.perturbation).float()) != y).all())
        True
    """
    given = prepared(model, images, labels, 1.0, "l2", subspace, mask)
    x, space = given.images, given.allowed.subspace
    allowed = Constraint(x.double(), inf, "l2", space)

    def confine(perturbation: Tensor, at: Tensor) -> Tensor:
        return _nearest(allowed.of(at), perturbation)

    found = Search(
        given.model,
        x,
        given.labels,
        space,
        confine if boxed else None,
        classes,
        steps,
        trust,
        bisections,
        refinements,
    ).run()
    every = torch.arange(len(x), device=x.device)
    feasible = torch.full_like(found.norms, inf)
    if boxed and len(x):
        feasible = norms(confine(x[0].numel() ** 0.5 * found.first, every), "l2").flatten()
    residual = float(share_outside(space, found.shift).max()) if space is not None and len(x) else 0.0
    return MinimalNorm(found.shift, found.norms, found.crossed, feasible, residual, found.steps)


def _nearest(allowed: Constraint, perturbation: Tensor) -> Tensor:
    """The nearest point of pixel range ∩ subspace; 0 where none was found that lies in both.

    The square of the tolerance is the share outside the subspace at which the projection ends.
    """
    found = allowed.nearest(perturbation, OUTSIDE**0.5 / 4)
    if allowed.subspace is None:
        return found
    return torch.where(share_outside(allowed.subspace, found) <= OUTSIDE, found, 0.0)
