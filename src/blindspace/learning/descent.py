"""Gradient descent on the logarithm of the exponential loss: the gradient divided by the loss, which never vanishes.

Gradient flow on the exponential loss converges in direction to a network of largest margin (Lyu and Li 2020), so
slowly that the loss underflows. The gradient of its logarithm has the same direction and a size that stays; margins
approach their limit like 1/t instead of 1/log t (Nacson et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError, integer
from ..progress import Progress
from .two_layer import TwoLayer, labelled, slopes

GROWTH = 1.1
"""Growth of the step from the scale of the first weights, where activation patterns settle, to its bound."""

FIRST = 0.1
"""Length of the first step, relative to the first weights."""


@dataclass(frozen=True)
class Descended:
    """A network after gradient descent.

    Attributes:
        network: The network, not scaled.
        multipliers: λ, float64 ``(N,)``: what the steps added up to, for the network scaled to a least margin of 1;
            infinite if a training sample is misclassified.
        margins: y f(x) of the training samples over the largest of them, ``(N,)``; all are 1 in the limit where every
            multiplier is positive.
    """

    network: TwoLayer
    multipliers: Tensor
    margins: Tensor


def descent(start: TwoLayer, x: Tensor, y: Tensor, steps: int = 3000, progress: Progress | None = None) -> Descended:
    """Train W by gradient descent on log mean exp(−y f(x)), on all samples at once and on their device.

    The step is the inverse of a bound on the curvature, so that the loss falls; it starts at the scale of the weights.

    Args:
        start: The network before the first step; a small one stays near the flow of the theory.
        x: Samples ``(N, *shape)``.
        y: Labels −1 and 1, ``(N,)``.
        steps: Number of steps.
        progress: Called now and then.

    Raises:
        ShapeError: There is not one label per sample, or the network reads samples of another size.
        ValueRangeError: A label is neither −1 nor 1, a sample is not finite, all are 0, or ``steps`` is below 1.
    """
    steps, (x, y) = integer(steps, "the number of steps", 1), labelled(x, y)
    start = start.to(x.device)
    if x.shape[1] != start.weights.shape[1]:
        raise ShapeError(f"the network reads {start.weights.shape[1]} values per sample, got {x.shape[1]}")
    # W changes within the span of the samples only: r coordinates instead of d.
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    kept = s > s[0] * 1e-12
    if not bool(kept.any()):
        raise ValueRangeError("all samples are 0: there is nothing to learn")
    inputs, basis = u[:, kept] * s[kept], v[kept]
    weights = start.weights @ basis.T
    outside = start.weights - weights @ basis
    total = torch.zeros_like(y)
    along = s[kept]
    step, most = 0.0, 1.0
    for index in range(steps):
        hidden = inputs @ weights.T
        active = slopes(hidden > 0, start.slope)
        outputs = (hidden * active) @ start.readout
        shares = torch.softmax(-y * outputs, 0)
        gradient = ((active * start.readout) * (shares * y)[:, None]).T @ inputs
        # Of Σ p_n x_n x_nᵀ, whose largest eigenvalue bounds the curvature; one iteration of the power method per step.
        for _ in range(1 if index else 10):
            along = along / along.norm()
            along = inputs.T @ (shares * (inputs @ along))
        most = 1 / float(along.norm())
        if not index:
            step = FIRST * float(weights.norm()) / max(float(gradient.norm()), 1e-300)
        step = min(GROWTH * step, most) if step else most
        weights = weights + step * gradient
        total += step * shares
        if progress and index % 100 == 0:
            progress(index, steps, "gradient descent")
    network = replace(start, weights=weights @ basis + outside)
    margins = y * network(x)
    least = float(margins.min())
    return Descended(
        network, total / least if least > 0 else torch.full_like(total, torch.inf), margins / margins.abs().max()
    )
