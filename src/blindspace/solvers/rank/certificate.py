"""What is known of a rank, and how well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from .modular_elimination import ModularRank

Kind = Literal["exact", "numerical", "undecided"]

GAP = 1e3
"""A rank below full is ``numerical`` only where σ falls by this factor at least across the tolerance."""

MARGIN = 10.0
"""The smallest σ counted must stand this far above the tolerance."""


@dataclass(frozen=True)
class Certificate:
    """The rank of a map and the evidence for it.

    Attributes:
        rank: number of singular values above the tolerance.
        kind: ``exact`` where the rank is proved (as many independent rows or columns as there are non-zero ones,
            every σ clear of rounding; or a clear gap in σ, and elimination modulo primes agrees), ``numerical`` where
            σ has a clear gap at the tolerance and no more is known, or the rank over the rationals is a higher one,
            ``undecided`` where σ has no gap.
        method: how the rank was found.
        tolerance: max(m, n)·ε·σ_max, below which a singular value cannot be told from zero in float64; where
            inertia found the rank, what A Aᵀ resolves.
        sigma_max: the largest singular value.
        sigma_above: the smallest singular value above the tolerance, or a lower bound on it; None where the map is
            zero.
        sigma_below: the largest singular value below it, or an upper bound on it; None where there is none.
        exact_rank: the rank over the rational numbers of the weights as they are stored, where elimination modulo
            primes found it; None where nobody looked. Above ``rank`` the map is deficient to rounding only.
    """

    rank: int
    kind: Kind
    method: str
    tolerance: float
    sigma_max: float
    sigma_above: float | None
    sigma_below: float | None
    exact_rank: int | None = None

    @property
    def condition(self) -> float:
        """σ_max over the smallest σ above the tolerance; 1 for a zero map."""
        return self.sigma_max / self.sigma_above if self.sigma_above else 1.0

    @property
    def proved_rank(self) -> int | None:
        """The rank over the rationals, where anything tells it."""
        return self.rank if self.kind == "exact" else self.exact_rank

    def scaled(self, factor: float) -> Certificate:
        """The certificate of the map times a positive factor."""
        above, below = (None if sigma is None else sigma * factor for sigma in (self.sigma_above, self.sigma_below))
        return replace(
            self,
            tolerance=self.tolerance * factor,
            sigma_max=self.sigma_max * factor,
            sigma_above=above,
            sigma_below=below,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        gap = f"σ {self.sigma_above:.3g}" if self.sigma_above is not None else "no σ"
        below = f", then {self.sigma_below:.3g}" if self.sigma_below is not None else ""
        line = f"rank {self.rank}, {self.kind} by {self.method} ({gap}{below}; tolerance {self.tolerance:.1g})"
        if self.exact_rank is None or self.exact_rank == self.rank:
            return line
        meaning = "deficient to rounding only" if self.exact_rank > self.rank else "σ and elimination contradict"
        return f"{line}; {meaning}: rank {self.exact_rank} over the rationals"


def judge(sigma: np.ndarray, shape: tuple[int, int], method: str) -> Certificate:
    """The rank that singular values speak for.

    Args:
        sigma: all singular values of a matrix without zero rows and columns, descending, ``(min(m, n),)``.
        shape: of that matrix.
        method: how they were found.
    """
    largest = float(sigma[0]) if len(sigma) else 0.0
    tolerance = max(shape) * float(np.finfo(np.float64).eps) * largest
    rank = int((sigma > tolerance).sum())
    above = float(sigma[rank - 1]) if rank else None
    below = float(sigma[rank]) if rank < len(sigma) else None
    kind: Kind = "numerical"
    if above is None:
        kind = "exact"  # nothing but zero rows or columns
    elif above < MARGIN * tolerance or (below is not None and above < GAP * below):
        kind = "undecided"
    elif below is None:
        kind = "exact"
    return Certificate(rank, kind, method, tolerance, largest, above, below)


def confirmed(certificate: Certificate, exact: ModularRank) -> Certificate:
    """What singular values and elimination modulo primes say together.

    The rank stays the numerical one, which is what a projector in float64 is made with. Where both agree and σ has a
    gap it is exact. A higher rank over the rationals shows that the layer is deficient to rounding only. A lower one
    cannot be true of both: a σ above the tolerance is noise, or every prime divided a minor.

    Args:
        certificate: from singular values.
        exact: from elimination, of the same matrix.
    """
    kind = certificate.kind
    if exact.rank < certificate.rank:
        kind = "undecided"
    elif exact.rank == certificate.rank and kind == "numerical":
        kind = "exact"
    primes = f"{len(exact.primes)} primes" if len(exact.primes) > 1 else "a prime"
    method = f"{certificate.method}, and elimination modulo {primes}"
    return replace(certificate, kind=kind, method=method, exact_rank=exact.rank)


def merge(certificates: Iterable[tuple[Certificate, int]]) -> Certificate:
    """The certificate of a block-diagonal map.

    Args:
        certificates: of the blocks, each with the number of times it stands there.
    """
    parts = [(certificate, count) for certificate, count in certificates if count]
    worst: list[Kind] = ["exact", "numerical", "undecided"]
    return Certificate(
        rank=sum(part.rank * count for part, count in parts),
        kind=max((part.kind for part, _ in parts), key=worst.index, default="exact"),
        method=max((part for part, _ in parts), key=lambda part: part.rank).method if parts else "no block",
        tolerance=max((part.tolerance for part, _ in parts), default=0.0),
        sigma_max=max((part.sigma_max for part, _ in parts), default=0.0),
        sigma_above=min((part.sigma_above for part, _ in parts if part.sigma_above is not None), default=None),
        sigma_below=max((part.sigma_below for part, _ in parts if part.sigma_below is not None), default=None),
        exact_rank=_sum_if_known((part.proved_rank, count) for part, count in parts),
    )


def _sum_if_known(ranks: Iterable[tuple[int | None, int]]) -> int | None:
    """The rank of all blocks, where that of each is known."""
    total = 0
    for rank, count in ranks:
        if rank is None:
            return None
        total += rank * count
    return total
