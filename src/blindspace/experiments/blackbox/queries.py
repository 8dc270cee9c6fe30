"""Queries to success: their number, its uncertainty, and the ratio that theory predicts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..parts import Kept, Parts
from .settings import Blackbox, part_name


def needed(kept: Kept, most: int) -> Tensor:
    """Queries to success, the whole budget where there was none, float64 ``(seeds, N)``."""
    return torch.where(kept.arrays["success"], kept.arrays["queries"], most).double()


def bootstrap(
    statistic: Callable[[Tensor], Tensor], images: int, draws: int, generator: torch.Generator
) -> tuple[float, float] | None:
    """Bootstrap confidence interval of 95 % of a statistic of images (percentile method; Efron 1979).

    Args:
        statistic: Maps indices of images ``(draws, N)`` to values ``(draws,)``.
        images: Number of images.
        draws: Number of bootstrap samples.
        generator: Source of randomness.
    """
    if images < 2:
        return None
    values = statistic(torch.randint(images, (draws, images), generator=generator))
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high


def ratio(s: Blackbox, done: Parts, name: str, attack: str, kind: str) -> tuple[float, tuple[float, float] | None]:
    """Mean queries of a kind over those unconfined, on the same images, with its interval."""
    own, free = (needed(done[part_name(name, attack, each)], s.queries).mean(0) for each in (kind, "unconfined"))
    interval = bootstrap(
        lambda chosen: own[chosen].mean(1) / free[chosen].mean(1), len(own), s.draws, s.generator("bootstrap", name)
    )
    return float(own.mean() / free.mean()), interval


def predicted(kept: Kept) -> float | None:
    """√(d / (n e)), e the gradient's share of energy in the subspace: the predicted ratio for steps of a given length.

    The component along the gradient g of a random unit vector is ‖P g‖/√d in a subspace, and ‖g‖/√n in the whole space.
    """
    share, d, n = kept.arrays["share"], kept.values["d"], kept.values["n"]
    return float((d / n / share.clamp(min=1e-12)).sqrt().log().mean().exp()) if d is not None and len(share) else None


def described(name: str, kind: str, kept: Kept) -> str:
    """A kind in words, with its dimension."""
    d = kept.values["d"]
    if kind == "guessed":
        kind = "knowing the resize alone" if "@" in name else "another network's effective space"
    words = {"cosines": f"cosine waves, the lowest {kept.values['effective']}", "pixels": "single pixels"}
    return f"{words.get(kind, kind)} ({d} of {kept.values['n']})" if d is not None else words.get(kind, kind)
