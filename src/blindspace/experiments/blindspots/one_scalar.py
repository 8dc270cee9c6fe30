"""The rule of level set traversal: toward a target while the confidence in one class stays near what it was.

Each step goes a share of the way to the target less its component along the gradient of the cross-entropy, plus a push
along which the confidence rises, and is cut to the pixel range. Where the confidence would be further below that of the
image than allowed, the image stays as it is and the push alone grows (Balasubramanian et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...networks import Network
from .settings import Blindspots


@dataclass(frozen=True)
class Traversal:
    """What the rule of one number leads to.

    Attributes:
        points: The image, and the points after each step, float64 ``(steps + 1, *shape)``.
        outputs: Their logits, ``(steps + 1, m)``.
        confidence: The confidence in the image's class, ``(steps + 1,)``.
        kept: Number of steps that were taken.
    """

    points: Tensor
    outputs: Tensor
    confidence: Tensor
    kept: int

    @property
    def changes(self) -> Tensor:
        """Largest change of a logit at each point, as a share of the largest logit of the image, ``(steps + 1,)``."""
        first = self.outputs[0]
        return (self.outputs - first).abs().amax(1) / first.abs().max()

    @property
    def reason(self) -> str:
        """Why it ends where it does, in a sentence."""
        steps = len(self.points) - 1
        return (
            f"{self.kept} of {steps} steps were taken; the others would have made the confidence fall below what is "
            "allowed"
            if self.kept < steps
            else f"all {steps} steps were taken"
        )


def traverse(s: Blindspots, network: Network, x: Tensor, target: Tensor, generator: torch.Generator) -> Traversal:
    """Follow the rule in float64 from an image ``shape`` toward a target; the class is the one that the network says.

    Args:
        s: The settings.
        network: The network.
        x: The image.
        target: The target.
        generator: Draws the noise at the start.
    """
    outputs = network.outputs(x[None], torch.float64).flatten(1)
    label = outputs.argmax(1)
    points, found, kept = [x], [outputs[0]], 0
    least = float(outputs.softmax(1)[0, label]) - s.allowed
    here = (x + s.noise * (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype).to(x) - 1)).clamp(0, 1)
    push = torch.zeros_like(x)
    for _ in range(s.scalar_steps):
        gradient = _gradient(network, here, label)
        square = gradient.square().sum().clamp(min=torch.finfo(x.dtype).tiny)
        way = target - here
        way = way - (way * gradient).sum() / square * gradient
        push = (push - s.push * gradient).clamp(-s.push, s.push)
        moved = (here + s.scalar_step * way + push).clamp(0, 1)
        after = network.outputs(moved[None], torch.float64).flatten(1)
        if float(after.softmax(1)[0, label]) >= least:
            here, kept = moved, kept + 1
        else:
            after = network.outputs(here[None], torch.float64).flatten(1)
        points.append(here)
        found.append(after[0])
    logits = torch.stack(found)
    return Traversal(torch.stack(points), logits, logits.softmax(1)[:, label[0]], kept)


def _gradient(network: Network, x: Tensor, label: Tensor) -> Tensor:
    """Gradient of the cross-entropy, ``shape``."""
    with torch.enable_grad():
        z = x[None].detach().requires_grad_(True)
        loss = F.cross_entropy(network.run(z, torch.float64).flatten(1), label)
        return torch.autograd.grad(loss, z)[0][0]
