"""Perturbations with one effect: arbitrary decompositions, families, and the relation of two perturbations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..maps.floating import within
from ..networks.arguments import Space, as_images, as_space
from ..subspaces import Subspace, nearest
from ..subspaces._mask_argument import MaskLike
from ..subspaces.box import Norm
from .sample import harmless_noise


@dataclass(frozen=True)
class Decomposition:
    """δ = harmless + harmful, by any choice of the harmless part (theorem 2).

    Attributes:
        harmless: δ_a, in the subspace, ``(B, *shape)``.
        harmful: δ_b = δ − δ_a, which has δ's whole effect, ``(B, *shape)``.
    """

    harmless: Tensor
    harmful: Tensor


def decompose(space: Subspace, delta: Tensor, harmless: Tensor) -> Decomposition:
    """Take any harmless perturbation out of δ; the rest has the same effect (theorem 2).

    Args:
        space: Harmless perturbations.
        delta: ``(B, *shape)``.
        harmless: δ_a, in the space, as delta.

    Raises:
        ShapeError: The two differ in shape.
        ValueRangeError: ``harmless`` does not lie in the space.
    """
    delta, harmless = (as_images(each, space.shape, "perturbation") for each in (delta, harmless))
    if delta.shape != harmless.shape:
        raise ShapeError(f"perturbation {tuple(delta.shape)} and harmless part {tuple(harmless.shape)} differ in shape")
    if not bool(space.contains(harmless).all()):
        raise ValueRangeError("the part to take out is not harmless: it does not lie in the space; project it first")
    return Decomposition(harmless, delta - harmless)


def family(
    space: Space,
    delta: Tensor,
    n: int,
    size: float,
    norm: Norm = "linf",
    generator: torch.Generator | None = None,
    mask: MaskLike | None = None,
) -> Tensor:
    """Perturbations with the effect of one, but as large as wanted (theorem 4): δ⊥ plus harmless noise.

    Args:
        space: Harmless perturbations.
        delta: One perturbation, ``(1, *shape)`` or ``shape``.
        n: Number of members.
        size: Norm of the harmless noise added to each.
        norm: ``linf`` or ``l2``.
        generator: Random generator; torch's own if None.
        mask: A mask outside which every member is equal to δ, as ``Subspace.within`` takes it; None for none.

    Returns:
        ``(n, *shape)``, of δ's dtype.

    Raises:
        ShapeError: There is not exactly one perturbation.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> delta = torch.randn_like(x[0])
        >>> members = bs.family(network, delta, 3, size=2.0)
        >>> effects = bs.front(network) @ members
        >>> torch.allclose(effects, effects[:1].expand_as(effects), atol=1e-4)
        True
    """
    space = as_space(space, images=delta, mask=mask)
    delta = as_images(delta, space.shape, "perturbation")
    if len(delta) != 1:
        raise ShapeError(f"a family has the effect of one perturbation (1, *shape), got {tuple(delta.shape)}")
    return space.reject(delta) + harmless_noise(space, n, size, norm, generator, delta.dtype).to(delta.device)


def smallest(space: Subspace, delta: Tensor, images: Tensor | None = None, tolerance: float = 1e-8) -> Tensor:
    """The perturbation with δ's effect that is smallest in L2: δ⊥, and no other (appendix D).

    Args:
        space: Harmless perturbations.
        delta: ``(B, *shape)``.
        images: x in [0, 1], ``(B, *shape)``, where the images x + δ' must stay in [0, 1] as x + δ do; δ⊥ need not.
        tolerance: Tolerance of ``subspaces.nearest``, which then finds the harmless part to add to δ.

    Raises:
        ValueRangeError: x + δ leaves [0, 1].
    """
    delta = as_images(delta, space.shape, "perturbation")
    if images is None:
        return space.reject(delta)
    images = as_images(images, space.shape)
    attacked = images + delta
    if not within(attacked, 0.0, 1.0):
        raise ValueRangeError("x + δ leaves [0, 1], so there is no range to keep it in; give no images")
    return delta + nearest(-delta, space, -attacked, 1 - attacked, tolerance=tolerance).value


@dataclass(frozen=True)
class Relation:
    """The relation of the effects of two perturbations.

    Attributes:
        same: Whether their orthogonal components are equal, so their effects are (theorem 4).
        proportional: Whether their orthogonal components have one direction, so the effects are proportional (lemma 5);
            otherwise they differ (lemma 6).
        factor: α with δ⊥ = α·δ̂⊥ and so effect(δ) = α·effect(δ̂); None if they are not proportional.
    """

    same: bool
    proportional: bool
    factor: float | None


def relation(space: Subspace, delta: Tensor, other: Tensor, tol: float = 1e-9) -> Relation:
    """Compare the effects of two perturbations by their orthogonal components alone (theorem 4, lemmas 5 and 6).

    Args:
        space: Harmless perturbations.
        delta: One perturbation, ``(1, *shape)``.
        other: Another one.
        tol: Tolerance relative to the larger orthogonal component.
    """
    delta, other = (as_images(each, space.shape, "perturbation") for each in (delta, other))
    a, b = (space.reject(v.double()).flatten() for v in (delta, other))
    scale = tol * max(float(a.norm()), float(b.norm()))
    if float((a - b).norm()) <= scale:
        return Relation(True, True, 1.0)
    if float(b.norm()) <= tol * float(other.double().norm()):
        return Relation(False, False, None)  # the other has no effect; this one has
    factor = float(a @ b) / float(b @ b)
    proportional = float((a - factor * b).norm()) <= scale
    return Relation(False, proportional, factor if proportional else None)
