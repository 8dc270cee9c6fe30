"""Gradients of classifiers, computed in float64: of a network that is sure they vanish in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from ...attacks.gradient import ascent
from ...attacks.scores import scored
from ...networks import Network


def slopes(network: Network, x: Tensor, y: Tensor) -> Tensor:
    """Gradients of the cross-entropy of labels ``(B,)`` at images ``(B, *shape)``, float64 of the same shape."""
    return ascent(scored(network, torch.float64), x.double(), y, targeted=False)
