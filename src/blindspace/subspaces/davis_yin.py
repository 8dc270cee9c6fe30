"""Splitting between a subspace and a convex set (Davis & Yin 2017), with Anderson's acceleration.

Once it is settled which pixels stand at their bounds, plain splitting is a linear iteration whose rate is the angle
between the subspace and what is left free, poor where many pixels are black or white. Anderson's acceleration is then
GMRES in disguise and needs a fraction of the iterations (Walker & Ni 2011; for this splitting Fu, Zhang & Boyd 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .subspace import Subspace

MEMORY = 8
"""Steps that are remembered."""

GROWTH = 2.0
"""An accelerated step is taken back where it moves the two sets this many times further apart than ever before."""

RIDGE = 1e-10
"""Share of the Gram matrix's trace added to its diagonal: the last steps are nearly parallel."""


@dataclass(frozen=True)
class Agreement:
    """Where the iteration ended.

    Attributes:
        state: of the iteration, ``(B, *shape)``.
        inside: the nearest point of the convex set to it, ``(B, *shape)``.
        apart: distance from there to the point of the subspace, ``(B, 1, …, 1)``.
        iterations: the most that any of the batch took.
    """

    state: Tensor
    inside: Tensor
    apart: Tensor
    iterations: int


def splitting(
    start: Tensor,
    subspace: Subspace,
    confine: Callable[[Tensor, Tensor], Tensor],
    pull: Callable[[Tensor, Tensor], Tensor] | None,
    enough: Tensor,
    iterations: int,
) -> Agreement:
    """Minimise a smooth convex f over the subspace and a convex set, each of the batch by itself.

    Args:
        start: state to begin with, ``(B, *shape)``, float64.
        subspace: to stay in.
        confine: points ``(b, *shape)`` and the numbers of their images ``(b,)`` to the nearest points of the set.
        pull: points and the numbers of their images to −γ ∇f there, γ times the Lipschitz constant of ∇f below 2;
            None for f = 0: any point of both sets, by Douglas-Rachford splitting (Lions & Mercier 1979).
        enough: distance of the two points at which an image is done, ``(B, 1, …, 1)``.
        iterations: at most.
    """

    def step(state: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """The point of the set, and from there to the point of the subspace, by which the plain iteration moves."""
        inside = confine(state, images)
        reflected = 2 * inside - state
        return inside, subspace.project(reflected + pull(inside, images) if pull else reflected) - inside

    images = torch.arange(len(start), device=start.device)
    end, found, apart = torch.empty_like(start), torch.empty_like(start), torch.empty_like(enough)
    state = start
    inside, move = step(state, images)
    lowest = size(move)
    memory = Memory(len(start), start[0].numel(), start.dtype, start.device)
    count = 1
    while True:
        done = ((size(move) <= enough[images]) | (count >= iterations)).flatten()
        left = images[done]
        end[left], found[left], apart[left] = state[done], inside[done], size(move)[done]
        if bool(done.all()):
            return Agreement(end, found, apart, count)
        if bool(done.any()):
            images, state, move, lowest = (t[~done] for t in (images, state, move, lowest))
            memory.keep(~done)
        plain = state + move
        better = plain - memory.overlooked(move)
        inside, new = step(better, images)
        worse = size(new) > GROWTH * lowest
        if bool(worse.any()):
            better = torch.where(worse, plain, better)
            inside, new = step(better, images)
        memory.add(better - state, new - move)
        state, move, lowest = better, new, torch.minimum(lowest, size(new))
        count += 1


class Memory:
    """The last steps of each image, and what each changed of the move that the plain iteration would make next.

    Args:
        batch: images.
        n: values of each.
        dtype: of the steps.
        device: of the steps.
    """

    def __init__(self, batch: int, n: int, dtype: torch.dtype, device: torch.device) -> None:
        self.changed = torch.zeros(batch, MEMORY, n, dtype=dtype, device=device)
        self.both = torch.zeros_like(self.changed)  # step and change added up
        self.gram = torch.zeros(batch, MEMORY, MEMORY, dtype=dtype, device=device)
        self.count = 0

    def keep(self, chosen: Tensor) -> None:
        """Forget all images but the chosen, bool ``(b,)``."""
        self.changed, self.both, self.gram = self.changed[chosen], self.both[chosen], self.gram[chosen]

    def add(self, taken: Tensor, change: Tensor) -> None:
        """Remember a step ``(b, *shape)`` and the change of the move, in place of the oldest."""
        i = self.count % MEMORY
        self.changed[:, i] = change.flatten(1)
        self.both[:, i] = (taken + change).flatten(1)
        self.gram[:, i] = self.gram[:, :, i] = (self.changed @ self.changed[:, i, :, None])[:, :, 0]
        self.count += 1

    def overlooked(self, move: Tensor) -> Tensor:
        """What the plain iteration overlooks: of the steps' combination that would undo the move, step and change."""
        k = min(self.count, MEMORY)
        if not k:
            return torch.zeros_like(move)
        gram = self.gram[:, :k, :k]
        trace = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        ridge = (RIDGE * trace + torch.finfo(move.dtype).tiny) * torch.eye(k, dtype=move.dtype, device=move.device)
        share = torch.linalg.solve(gram + ridge, self.changed[:, :k] @ move.flatten(1)[:, :, None])
        overlooked: Tensor = (share.mT @ self.both[:, :k]).reshape(move.shape)
        return overlooked


def size(v: Tensor) -> Tensor:
    """L2 size of each, ``(B, 1, …, 1)``."""
    norms: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return norms.reshape(-1, *[1] * (v.ndim - 1))
