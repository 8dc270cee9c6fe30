"""The attacks that make perturbed data sets, by name: how one step changes a perturbation.

Three are attacks on a ball of the pixel range: ``l2``, ``linf`` and ``l0``. Their last iterate is the result, and they
start at the images themselves. Three are those of the authors' code (Kumano et al. 2024), to compare with their
figures; each keeps the iterate of least loss, which may be the image itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..attacks._sparse import STEP, admitted_after, sparse_step
from ..errors import BlindspaceError, UnknownNameError, ValueRangeError, integer, real, shown
from ..subspaces import norms


@dataclass(frozen=True)
class Budget:
    """How far an attack may go.

    Attributes:
        eps: Radius of the ball, in units of the image range; of L0, the number of values.
        steps: Number of steps.
    """

    eps: float
    steps: int


Step = Callable[[Tensor, Tensor, Tensor, Budget, int], Tensor]
"""From images in [0, 1], their perturbation, the gradient of the loss, the budget and the number of the step from 0 to
the next perturbation, all ``(B, *shape)``; images and perturbation together stay in [0, 1] up to rounding."""


@dataclass(frozen=True)
class Rule:
    """An attack of perturbed data sets.

    Attributes:
        name: Its name.
        summary: One line for tables and help.
        step: One step.
        grey: Radius for images of one channel, if none is given; that of Kumano et al. 2024 for MNIST.
        colour: Radius for other inputs, if none is given; that of Kumano et al. 2024 for CIFAR-10.
        counts: Whether the radius is a number of values, and if no number of steps is given, that of steps too.
        keeps_best: Whether the iterate of least loss is kept, the image itself included, instead of the last one.
    """

    name: str
    summary: str
    step: Step
    grey: float
    colour: float
    counts: bool = False
    keeps_best: bool = False

    def budget(self, shape: tuple[int, ...], eps: float | None, steps: int | None) -> Budget:
        """The budget for inputs of a shape.

        Raises:
            ValueRangeError: The radius is negative, not finite or, of L0, not a whole number; there is no step.
        """
        eps = (self.grey if shape[0] == 1 else self.colour) if eps is None else real(eps, "eps")
        if self.counts and (eps < 1 or eps != round(eps)):
            raise ValueRangeError(f"eps of {self.name} is a number of values, at least 1, got {eps:g}")
        usual = int(eps) if self.counts else STEPS
        return Budget(eps, usual if steps is None else integer(steps, "the number of steps", 1))


STEPS = 10
"""Number of steps, if none is given; Kumano et al. 2024 take 100."""


def _unit(v: Tensor) -> Tensor:
    return v / norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)


def _over_largest(v: Tensor) -> Tensor:
    return v / norms(v, "linf").clamp(min=torch.finfo(v.dtype).tiny)


def _in_ball(d: Tensor, eps: float) -> Tensor:
    return d * (eps / norms(d, "l2").clamp(min=torch.finfo(d.dtype).tiny)).clamp(max=1)


def _l2(x: Tensor, d: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    moved = _in_ball(d - 2.5 * budget.eps / budget.steps * _unit(g), budget.eps)
    return moved.clamp(-x, 1 - x)


def _linf(x: Tensor, d: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    moved = (d - 2.5 * budget.eps / budget.steps * g.sign()).clamp(-budget.eps, budget.eps)
    return moved.clamp(-x, 1 - x)


def _l0(x: Tensor, d: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    return sparse_step(x, d, -g, admitted_after(step, budget.steps, int(budget.eps)))


def _authors_l2(x: Tensor, d: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    return _in_ball(d - budget.eps / 5 * _unit(g), budget.eps).clamp(-x, 1 - x)


def _authors_linf(x: Tensor, d: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    """The gradient over its largest value, instead of its sign; the whole vector is scaled into the ball."""
    moved = d - budget.eps / 5 * _over_largest(g)
    scale = (budget.eps / norms(moved, "linf").clamp(min=torch.finfo(d.dtype).tiny)).clamp(max=1)
    return (moved * scale).clamp(-x, 1 - x)


def _authors_l0(x: Tensor, d: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    """At most one new value per step, by the gradient alone: one that the pixel range returns is chosen again."""
    admitted, slope = d.flatten(1) != 0, g.flatten(1)
    chosen = slope.abs().masked_fill(admitted, 0).argmax(1, keepdim=True)
    is_left = admitted.sum(1, keepdim=True) < budget.eps
    slope = (slope * (admitted.scatter(1, chosen, is_left) | admitted)).view(g.shape)
    return (d - STEP * _over_largest(slope)).clamp(-x, 1 - x)


ATTACKS: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("l2", "projected gradient descent in an L2 ball, last iterate", _l2, 2.0, 0.5),
        Rule("linf", "projected gradient descent in an L∞ ball by signs, last iterate", _linf, 0.3, 0.1),
        Rule("l0", "few values, admitted as the pixel range allows, last iterate", _l0, 10, 150, counts=True),
        Rule(
            "authors-l2",
            "L2 as in the code of Kumano et al.: steps of a fifth of the radius, iterate of least loss",
            *(_authors_l2, 2.0, 0.5),
            keeps_best=True,
        ),
        Rule(
            "authors-linf",
            "their L∞: the gradient over its largest value in the place of its sign, the whole vector rescaled",
            *(_authors_linf, 0.3, 0.1),
            keeps_best=True,
        ),
        Rule(
            "authors-l0",
            "their L0: values that the pixel range returns are chosen again, so that few change",
            *(_authors_l0, 10, 150),
            counts=True,
            keeps_best=True,
        ),
    )
}
"""The attacks by name; ``docs/extending.md`` has a recipe for another one."""


def rule_named(name: object) -> Rule:
    """The attack of a name.

    Raises:
        UnknownNameError: There is none of that name.
        BlindspaceError: The name is not a string.
    """
    if not isinstance(name, str):
        raise BlindspaceError(f"an attack is given by its name, got {shown(name)}")
    if name not in ATTACKS:
        raise UnknownNameError(f"no attack of perturbed data sets is called {name!r}; there are {', '.join(ATTACKS)}")
    return ATTACKS[name]
