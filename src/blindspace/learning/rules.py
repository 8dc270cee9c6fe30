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
from ..errors import BlindspaceError, UnknownNameError, ValueRangeError, did_you_mean, integer, real, shown


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
"""From images, the images as they are perturbed so far, the gradient of the loss there, the budget and the number of
the step from 0 to the next perturbed images, all ``(B, *shape)`` and the images in [0, 1]. A step may overwrite the
perturbed images and the gradient, and makes as few passes over them as it can: with small networks they take most of
the time."""


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


def _over(size: float, v: Tensor, order: float) -> Tensor:
    """A number over the norms of vectors ``(B, *shape)``, shaped to multiply them."""
    lengths: Tensor = torch.linalg.vector_norm(v.flatten(1), order, 1).clamp_(min=torch.finfo(v.dtype).tiny)
    return (size / lengths).view(-1, *[1] * (v.ndim - 1))


def _within(x: Tensor, moved: Tensor, eps: float, order: float) -> Tensor:
    """Images with a perturbation that is scaled into a ball, clipped to [0, 1]."""
    return torch.addcmul(x, moved, _over(eps, moved, order).clamp_(max=1), out=moved).clamp_(0, 1)


def _steepest(x: Tensor, z: Tensor, g: Tensor, eps: float, size: float) -> Tensor:
    """A step of a given length against the gradient, in the L2 ball."""
    return _within(x, z.sub_(x).addcmul_(g, _over(-size, g, 2)), eps, 2)


def _l2(x: Tensor, z: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    return _steepest(x, z, g, budget.eps, 2.5 * budget.eps / budget.steps)


def _linf(x: Tensor, z: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    moved = z.sub_(x).sub_(g.sign_(), alpha=2.5 * budget.eps / budget.steps).clamp_(-budget.eps, budget.eps)
    return moved.add_(x).clamp_(0, 1)


def _l0(x: Tensor, z: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    return sparse_step(x, z, -g, admitted_after(step, budget.steps, int(budget.eps)))


def _authors_l2(x: Tensor, z: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    return _steepest(x, z, g, budget.eps, budget.eps / 5)


def _authors_linf(x: Tensor, z: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    """The gradient over its largest value, instead of its sign; the whole vector is scaled into the ball."""
    return _within(x, z.sub_(x).addcmul_(g, _over(-budget.eps / 5, g, torch.inf)), budget.eps, torch.inf)


def _authors_l0(x: Tensor, z: Tensor, g: Tensor, budget: Budget, step: int) -> Tensor:
    """At most one new value per step, by the gradient alone: one that the pixel range returns is chosen again."""
    admitted, slope = (z != x).flatten(1), g.flatten(1)
    chosen = slope.abs().masked_fill(admitted, 0).argmax(1, keepdim=True)
    is_left = admitted.sum(1, keepdim=True) < budget.eps
    slope = (slope * (admitted.scatter(1, chosen, is_left) | admitted)).view(g.shape)
    return z.addcmul_(slope, _over(-STEP, slope, torch.inf)).clamp_(0, 1)


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
        raise UnknownNameError(
            f"no attack of perturbed data sets is called {name!r}{did_you_mean(name, ATTACKS)}; there are "
            f"{', '.join(ATTACKS)}"
        )
    return ATTACKS[name]
