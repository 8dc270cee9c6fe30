"""Linear features that are robust by construction: one robust logistic regression per class.

Over an L2 ball of radius ε the logistic loss of a linear score is largest at −ε y w/‖w‖, where it is
log(1 + exp(−y (⟨w, x⟩ + b) + ε ‖w‖)): training against the exact worst case is a convex problem (Xu, Caramanis and
Mannor 2009 for hinge losses).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.learning import CLASSES


@dataclass(frozen=True)
class RobustFeatures:
    """Ten linear features, each of which tells one class from the others.

    Attributes:
        weight: Unit directions, ``(n, 10)``.
        bias: ``(10,)``.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Signed distances ``(N, 10)`` of images ``(N, *shape)`` from the boundary of each feature."""
        return x.flatten(1) @ self.weight + self.bias

    def margins(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean distance on the right side, ``(10,)``, where the class and the others count alike.

        A feature whose margin exceeds a radius stays useful whatever perturbation of that L2 norm each image gets: it
        is γ-robustly useful with γ = margin − radius (Ilyas et al. 2019).
        """
        signs, weights = _sides(y)
        return (weights * signs * self(x)).sum(0)


def fit(x: Tensor, y: Tensor, eps: float, steps: int = 60) -> RobustFeatures:
    """Minimise the worst case of the logistic losses of each class against the others, by L-BFGS.

    Args:
        x: Images, float32 ``(N, *shape)``.
        y: Their classes, int64 ``(N,)``; every class occurs.
        eps: L2 radius of the ball around each image.
        steps: Largest number of iterations.
    """
    signs, weights = _sides(y)
    mean = x.flatten(1).mean(0)
    flat = x.flatten(1) - mean
    w = (0.01 * flat.T @ (signs * weights)).requires_grad_()
    b = torch.zeros(CLASSES, device=x.device, requires_grad=True)
    descent = torch.optim.LBFGS([w, b], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        descent.zero_grad()
        value = (weights * F.softplus(eps * w.norm(dim=0) - signs * (flat @ w + b))).sum()
        value.backward()
        return value.detach()

    descent.step(loss)
    length = w.detach().norm(dim=0).clamp(min=torch.finfo(w.dtype).tiny)
    unit = w.detach() / length
    return RobustFeatures(unit, b.detach() / length - mean @ unit)


def _sides(y: Tensor) -> tuple[Tensor, Tensor]:
    """For each class: +1 for its images and −1 for others, and weights in which both sides have 1/2, ``(N, 10)``."""
    of = F.one_hot(y, CLASSES).float()
    return 2 * of - 1, 0.5 * (of / of.sum(0) + (1 - of) / (1 - of).sum(0))
