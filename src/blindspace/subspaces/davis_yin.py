"""Known as three-operator splitting (Davis & Yin 2017), here between a subspace and a convex set, with acceleration.

Once the active bounds have settled, plain splitting is a linear iteration whose rate is governed by the angle between
the subspace and the free coordinates, which is poor if many pixels are black or white. Anderson acceleration (Anderson
1965; Walker & Ni 2011; for Douglas-Rachford splitting Fu, Zhang & Boyd 2020) is then equivalent to GMRES and needs a
fraction of the iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .subspace import Subspace

MEMORY = 8
"""Number of past steps that the acceleration uses."""

GROWTH = 2.0
"""An accelerated step is rejected if the gap between the two sets exceeds its smallest value so far by this factor."""

RIDGE = 1e-10
"""Regularisation, as a share of the Gram matrix's trace: the last steps are nearly parallel."""


@dataclass(frozen=True)
class Agreement:
    """Result of the iteration.

    Attributes:
        state: Final state of the iteration, ``(B, *shape)``.
        inside: Projection of the state on the convex set, ``(B, *shape)``.
        gap: Distance between the point of the convex set and that of the subspace, ``(B, 1, …, 1)``.
        iterations: Largest number of iterations over the batch.
    """

    state: Tensor
    inside: Tensor
    gap: Tensor
    iterations: int


def splitting(
    start: Tensor,
    subspace: Subspace,
    confine: Callable[[Tensor, Tensor], Tensor],
    pull: Callable[[Tensor, Tensor], Tensor] | None,
    tolerance: Tensor,
    iterations: int,
    memory: int = MEMORY,
) -> Agreement:
    """Minimise a smooth convex f over the intersection of the subspace and a convex set, per element of a batch.

    Args:
        start: Initial state, float64 ``(B, *shape)``.
        subspace: The subspace.
        confine: Projection on the convex set: points ``(b, *shape)`` and the indices of their images ``(b,)`` to the
            nearest points of the set.
        pull: The step −γ ∇f of points ``(b, *shape)`` with the indices of their images, where γ times the Lipschitz
            constant of ∇f is below 2. None stands for f = 0: the iteration is then Douglas-Rachford splitting (Lions
            & Mercier 1979) and finds some point of both sets.
        tolerance: Gap between the two points at which an image is finished, ``(B, 1, …, 1)``.
        iterations: Largest number of iterations.
        memory: Number of past steps that Anderson acceleration uses; 0 for the plain iteration.
    """
    space = subspace

    def step(state: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the point of the set, and the vector from it to the subspace by which the plain iteration moves."""
        inside = confine(state, images)
        reflected = 2 * inside - state
        return inside, space.project(reflected + pull(inside, images) if pull else reflected) - inside

    images = torch.arange(len(start), device=start.device)
    end, found, gap = torch.empty_like(start), torch.empty_like(start), torch.empty_like(tolerance)
    state = start
    inside, move = step(state, images)
    smallest = l2_norms(move)
    history = Memory(start, memory)
    count = 1
    while True:
        done = ((l2_norms(move) <= tolerance[images]) | (count >= iterations)).flatten()
        left = images[done]
        end[left], found[left], gap[left] = state[done], inside[done], l2_norms(move)[done]
        if bool(done.all()):
            return Agreement(end, found, gap, count)
        if bool(done.any()):
            images, state, move, smallest = (t[~done] for t in (images, state, move, smallest))
            history.keep(~done)
            space = space.at(~done)
        plain = state + move
        better = plain - history.correction(move)
        inside, new = step(better, images)
        worse = l2_norms(new) > GROWTH * smallest
        if bool(worse.any()):
            better = torch.where(worse, plain, better)
            inside, new = step(better, images)
        history.add(better - state, new - move)
        state, move, smallest = better, new, torch.minimum(smallest, l2_norms(new))
        count += 1


class Memory:
    """History of Anderson acceleration: the last steps of each image, and how each changed the residual.

    The residual is the move that the plain iteration would make next.

    Args:
        start: Initial state, ``(B, *shape)``.
        size: Number of steps that are kept.
    """

    def __init__(self, start: Tensor, size: int = MEMORY) -> None:
        self.changed = start.new_zeros(len(start), size, start[0].numel())
        self.both = torch.zeros_like(self.changed)  # sum of step and change
        self.gram = start.new_zeros(len(start), size, size)
        self.size, self.count = size, 0

    def keep(self, chosen: Tensor) -> None:
        """Drop all images but the chosen ones, bool ``(b,)``."""
        self.changed, self.both, self.gram = self.changed[chosen], self.both[chosen], self.gram[chosen]

    def add(self, taken: Tensor, change: Tensor) -> None:
        """Store a step ``(b, *shape)`` and the change of the residual in place of the oldest ones."""
        if not self.size:
            return
        i = self.count % self.size
        self.changed[:, i] = change.flatten(1)
        self.both[:, i] = (taken + change).flatten(1)
        self.gram[:, i] = self.gram[:, :, i] = _products(self.changed, self.changed[:, i])
        self.count += 1

    def correction(self, move: Tensor) -> Tensor:
        """Compute what acceleration subtracts from the plain iterate: the least-squares combination of past steps."""
        k = min(self.count, self.size)
        if not k:
            return torch.zeros_like(move)
        gram = self.gram[:, :k, :k]
        trace = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        ridge = (RIDGE * trace + torch.finfo(move.dtype).tiny) * torch.eye(k, dtype=move.dtype, device=move.device)
        share = torch.linalg.solve(gram + ridge, _products(self.changed[:, :k], move.flatten(1))[:, :, None])
        correction: Tensor = (share.mT @ self.both[:, :k]).reshape(move.shape)
        return correction


def l2_norms(v: Tensor) -> Tensor:
    """Compute the L2 norm of each element of a batch, ``(B, 1, …, 1)``."""
    norms: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return norms.reshape(-1, *[1] * (v.ndim - 1))


def _products(rows: Tensor, v: Tensor) -> Tensor:
    """``(B, k, n)`` times ``(B, n)``; a batch of one rounds as a larger one does, which MKL would compute otherwise."""
    alone = len(rows) == 1
    found: Tensor = (rows.expand(2, -1, -1) if alone else rows) @ (v.expand(2, -1) if alone else v)[:, :, None]
    return found[: len(rows), :, 0]
