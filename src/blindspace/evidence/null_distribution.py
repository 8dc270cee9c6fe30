"""How alike the values of a layer are for two images, and for pairs of images that have nothing to do with one another.

The correlations, the ratio and the rule that a match must lie outside the distribution of unrelated pairs are those of
studies of model metamers (Feather and others, Model metamers reveal divergent invariances between biological and
artificial neural networks, Nature Neuroscience 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from .._html import Shown
from ..errors import ValueRangeError

TINY = torch.finfo(torch.float64).tiny

TIE = 1e-12
"""Difference up to which two correlations count as equal."""


@dataclass(frozen=True)
class Match(Shown):
    """How alike the values of the two images of each pair are; every figure is float64 ``(P,)``.

    Attributes:
        distance: ‖z − z′‖.
        pearson: Pearson's correlation of z and z′; 0 where the values of an image are all equal.
        spearman: Spearman's rank correlation; ties have their mean rank.
        snr: signal-to-noise ratio 10 log₁₀(‖z‖² / ‖z − z′‖²) in dB, infinite for equal values.
    """

    distance: Tensor
    pearson: Tensor
    spearman: Tensor
    snr: Tensor

    def to_dict(self) -> dict[str, list[float | None]]:
        """Plain values for JSON, which knows no infinity: None for the ratio of equal values."""
        return {name: [v if np.isfinite(v) else None for v in values.tolist()] for name, values in vars(self).items()}


def match(z: Tensor, changed: Tensor) -> Match:
    """Compare values ``(B, d)`` with those of changed images, row by row, in float64."""
    z, changed = z.double(), changed.double()
    distance = (z - changed).norm(dim=1)
    pearson, spearman = ((each(z) * each(changed)).sum(1).clamp(-1, 1) for each in (_standardised, _ranked))
    return Match(distance, pearson, spearman, _snr(z.norm(dim=1), distance))


@dataclass(frozen=True)
class NullDistribution(Shown):
    """The figures of pairs of unrelated images.

    Attributes:
        images: number of images that the pairs are made of.
        of: the figures of each pair.
    """

    images: int
    of: Match

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.of.distance)

    def quantile(self, distance: Tensor) -> Tensor:
        """Share of the pairs that are at most as far apart, ``(B,)`` for distances ``(B,)``."""
        below = torch.searchsorted(self.of.distance.sort().values, distance.double(), right=True)
        return below.double() / self.pairs

    def beaten_by(self, found: Match) -> Tensor:
        """Whether a match is closer than every pair and no pair has a better figure of another kind, bool ``(B,)``.

        Of few values, unrelated pairs may have the same ranks, so that no correlation can be above all others.
        """
        closer = found.distance < self.of.distance.min()
        for name in ("pearson", "spearman", "snr"):
            closer &= getattr(found, name).to(closer.device) >= float(getattr(self.of, name).max()) - TIE
        return closer

    def to_dict(self) -> dict[str, Any]:
        """The best figure of any pair, and the median distance, as plain values for JSON."""
        return {
            "images": self.images,
            "pairs": self.pairs,
            "min_distance": float(self.of.distance.min()),
            "median_distance": float(self.of.distance.median()),
            "max_pearson": float(self.of.pearson.max()),
            "max_spearman": float(self.of.spearman.max()),
            "max_snr": float(self.of.snr.max()),
        }


def images_for(pairs: int) -> int:
    """The least number of images that has so many pairs."""
    return (isqrt(max(8 * pairs - 7, 1)) + 1) // 2 + 1


def null_distribution(values: Tensor, pairs: int, generator: torch.Generator) -> NullDistribution:
    """The figures of random pairs of different images.

    Args:
        values: the values of each image, ``(N, d)``; equal rows count once.
        pairs: number of pairs; all of them if there are fewer.
        generator: source of randomness.

    Raises:
        ValueRangeError: fewer than two rows differ.
    """
    z = torch.unique(values.double(), dim=0)
    n = len(z)
    if n < 2:
        raise ValueRangeError(
            "the null distribution needs reference images whose values differ at this layer, at least two of them, got "
            f"{n}; give more --reference images"
        )
    first, second = torch.triu_indices(n, n, 1)
    kept = torch.randperm(len(first), generator=generator)[:pairs]
    i, j = first[kept], second[kept]
    # All pairs by products of matrices; centred, because distances by way of inner products cancel otherwise.
    centred = z - z.mean(0)
    gram = centred @ centred.T
    distance = (gram[i, i] + gram[j, j] - 2 * gram[i, j]).clamp(min=0).sqrt()
    pearson, spearman = ((each @ each.T).clamp(-1, 1)[i, j] for each in (_standardised(z), _ranked(z)))
    return NullDistribution(n, Match(distance, pearson, spearman, _snr(z.norm(dim=1)[i], distance)))


def _standardised(z: Tensor) -> Tensor:
    centred = z - z.mean(1, keepdim=True)
    length: Tensor = centred.norm(dim=1, keepdim=True)
    return centred / length.clamp(min=TINY)


def _ranked(z: Tensor) -> Tensor:
    ranks = torch.from_numpy(np.asarray(rankdata(z.cpu().numpy(), axis=1), dtype=np.float64))
    return _standardised(ranks.to(z.device))


def _snr(size: Tensor, distance: Tensor) -> Tensor:
    return 20 * (size.clamp(min=TINY).log10() - distance.log10())
