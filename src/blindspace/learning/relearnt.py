"""The boundary after learning from perturbed samples: the effect of the samples, and that of the perturbations.

Kumano et al. 2024, section 4: trained on x_n + η_n with labels t_n, the network's sign is that of

    Σ λ'_n t_n ⟨x_n, z⟩ + Σ λ'_n t_n ⟨η_n, z⟩.

Geometry-inspired L2 perturbations η_n = ε t_n q/‖q‖ make the second term ε Σ λ'_n ⟨q, z⟩/‖q‖, a multiple of the
boundary of the first network: both networks agree at z wherever that term is larger than the first or has its sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ShapeError
from .condition import Condition


@dataclass(frozen=True)
class Relearnt:
    """The two terms at test points, and what they predict.

    Attributes:
        first: ⟨q, z⟩, the side of the first network's boundary, ``(B,)``.
        samples: Effect of the samples with their wrong labels, ``(B,)``.
        perturbations: Effect of the perturbations, ``(B,)``.
    """

    first: Tensor
    samples: Tensor
    perturbations: Tensor

    @property
    def second(self) -> Tensor:
        """The side of the second network's boundary, ``(B,)``."""
        return self.samples + self.perturbations

    @property
    def agree(self) -> Tensor:
        """Whether both boundaries have a point on the same side, bool ``(B,)``."""
        return self.second.sign() == self.first.sign()

    @property
    def dominated(self) -> Tensor:
        """Whether the perturbations outweigh the samples towards the first network's side, bool ``(B,)``.

        Points outside agree only if the effect of the samples happens to have the right sign.
        """
        return self.perturbations * self.first.sign() > self.samples.abs()


def relearnt(
    multipliers: Tensor, targets: Tensor, x: Tensor, perturbation: Tensor, direction: Tensor, z: Tensor
) -> Relearnt:
    """The two terms of the second boundary.

    Args:
        multipliers: λ' of the second network, ``(N,)``.
        targets: Labels −1 and 1 that it was trained on, ``(N,)``.
        x: Samples before they were perturbed, ``(N, *shape)``.
        perturbation: What was added to them, ``(N, *shape)``.
        direction: q of the first network, ``(d,)``.
        z: Test points ``(B, *shape)``.

    Raises:
        ShapeError: The arguments do not fit together.
    """
    x, perturbation, z = (each.flatten(1).double() for each in (x, perturbation, z))
    if x.shape != perturbation.shape or z.shape[1:] != x.shape[1:] or direction.shape != x.shape[1:]:
        shapes = [tuple(each.shape) for each in (x, perturbation, direction, z)]
        raise ShapeError(f"samples, perturbations, direction and test points do not fit together: {shapes}")
    weights = multipliers.double() * targets.double()
    return Relearnt(z @ direction.double(), z @ (weights @ x), z @ (weights @ perturbation))


def guaranteed(found: Condition, targets: Tensor, perturbed: Tensor, direction: Tensor, z: Tensor) -> Tensor:
    """Where the bounds on the multipliers alone prove that both boundaries agree, whatever the multipliers are.

    Args:
        found: The condition of the perturbed samples, of which the bounds are taken; it must hold for this to be a
            proof.
        targets: Labels −1 and 1 of the perturbed samples, ``(N,)``.
        perturbed: The samples with their perturbations, ``(N, *shape)``.
        direction: q of the first network, ``(d,)``.
        z: Test points ``(B, *shape)``.

    Returns:
        bool ``(B,)``.
    """
    low, high = found.bounds
    z = z.flatten(1).double()
    towards = (z @ direction.double()).sign()[:, None]
    effects = towards * (z @ perturbed.flatten(1).double().T) * targets.double()
    return torch.minimum(low * effects, high * effects).sum(1) > 0
