"""Generalised minimal residuals for many right-hand sides at once, each with a Krylov space of its own.

Known as GMRES; Saad & Schultz 1986.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Apply = Callable[[Tensor], Tensor]


def gmres(apply: Apply, precondition: Apply, b: Tensor, tolerance: Tensor, limit: int) -> tuple[Tensor, int]:
    """Solve A x = b column by column (Saad, Iterative Methods, algorithm 9.5: right-preconditioned).

    Args:
        apply: The product with A, columns ``(n, B)`` to columns.
        precondition: The product with an approximate inverse of A, columns to columns.
        b: Right-hand sides ``(n, B)``.
        tolerance: Residuals ‖b − A x‖ to stop at, ``(B,)``.
        limit: Number of iterations after which the best x so far is returned.

    Returns:
        The solutions x, ``(n, B)``, and the number of iterations.
    """
    size = b.norm(dim=0)
    safe = size.clamp_min(torch.finfo(b.dtype).tiny)
    basis, images = [b / safe], []
    hessenberg = b.new_zeros(b.shape[1], limit + 1, limit)
    first = b.new_zeros(b.shape[1], limit + 1, 1)
    first[:, 0, 0] = size
    steps = 0
    weights = b.new_zeros(b.shape[1], 0, 1)
    while steps < limit and not bool((_left(hessenberg, first, weights, steps) <= tolerance).all()):
        images.append(precondition(basis[-1]))
        w = apply(images[-1])
        for _ in range(2):  # a second time for what rounding left
            for j, v in enumerate(basis):
                part = (v * w).sum(0)
                hessenberg[:, j, steps] += part
                w = w - part * v
        norm = w.norm(dim=0)
        hessenberg[:, steps + 1, steps] = norm
        basis.append(w / norm.clamp_min(torch.finfo(b.dtype).tiny))
        steps += 1
        weights = torch.linalg.lstsq(hessenberg[:, : steps + 1, :steps], first[:, : steps + 1], driver="gelsd").solution
    x = torch.zeros_like(b)
    for j, image in enumerate(images):
        x += weights[:, j, 0] * image
    return x, steps


def _left(hessenberg: Tensor, first: Tensor, weights: Tensor, steps: int) -> Tensor:
    """‖b − A x‖ of each column."""
    rest = first[:, : steps + 1] - hessenberg[:, : steps + 1, :steps] @ weights
    norms: Tensor = torch.linalg.vector_norm(rest[..., 0], dim=1)
    return norms
