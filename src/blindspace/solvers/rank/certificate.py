"""Certificates of a rank: what is known of it, and how well.

The numerical rank and its gap are those of Golub & Van Loan, Matrix Computations, section 5.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from ..._html import table
from .modular_elimination import ModularRank

Kind = Literal["exact", "numerical", "undecided"]

GAP = 1e3  # Factor by which σ must fall across the tolerance for a rank below full to be ``numerical``
MARGIN = 10.0  # Factor by which the smallest σ counted must exceed the tolerance


@dataclass(frozen=True)
class Certificate:
    """The rank of a map and the evidence for it.

    Attributes:
        rank: Number of singular values above the tolerance.
        kind: ``exact`` if the rank is proved (as many independent rows or columns as there are nonzero ones, every σ
            clear of rounding; or a clear gap in σ, and elimination modulo primes agrees), ``numerical`` if σ has a
            clear gap at the tolerance and no more is known, or if the rank over the rationals is higher,
            ``undecided`` if σ has no gap.
        method: How the rank was found, in words.
        tolerance: max(m, n)·ε·σ_max, below which a singular value is not distinguishable from 0 in float64; if the
            rank was found by inertia, the smallest σ that A Aᵀ resolves.
        sigma_max: The largest singular value.
        sigma_above: The smallest singular value above the tolerance, or a lower bound on it; None for a zero map.
        sigma_below: The largest singular value below the tolerance, or an upper bound on it; None if there is none.
        exact_rank: The rank over the rational numbers of the weights as they are stored, if elimination modulo primes
            found it; None if it was not determined. If it is above ``rank``, the map is deficient to rounding only.
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
        """The rank over the rationals; None if it is not known."""
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
        """The certificate as plain values for JSON."""
        return asdict(self)

    def _repr_html_(self) -> str:
        return table("Certificate", vars(self))

    def __str__(self) -> str:
        """The certificate in one line."""
        gap = f"σ {self.sigma_above:.3g}" if self.sigma_above is not None else "no σ"
        below = f", then {self.sigma_below:.3g}" if self.sigma_below is not None else ""
        line = f"rank {self.rank}, {self.kind} by {self.method} ({gap}{below}; tolerance {self.tolerance:.1g})"
        if self.exact_rank is None or self.exact_rank == self.rank:
            return line
        meaning = "deficient to rounding only" if self.exact_rank > self.rank else "σ and elimination contradict"
        return f"{line}; {meaning}: rank {self.exact_rank} over the rationals"


def judge(sigma: np.ndarray, shape: tuple[int, int], method: str) -> Certificate:
    """The certificate that singular values give.

    Args:
        sigma: All singular values of a matrix without zero rows and columns, descending, ``(min(m, n),)``.
        shape: Shape of that matrix.
        method: How they were computed, in words.
    """
    largest = float(sigma[0]) if len(sigma) else 0.0
    tolerance = max(shape) * float(np.finfo(np.float64).eps) * largest
    rank = int((sigma > tolerance).sum())
    above = float(sigma[rank - 1]) if rank else None
    below = float(sigma[rank]) if rank < len(sigma) else None
    kind: Kind = "numerical"
    if above is None:
        kind = "exact"  # there are only zero rows or columns
    elif above < MARGIN * tolerance or (below is not None and above < GAP * below):
        kind = "undecided"
    elif below is None:
        kind = "exact"
    return Certificate(rank, kind, method, tolerance, largest, above, below)


def confirmed(certificate: Certificate, exact: ModularRank) -> Certificate:
    """The certificate that singular values and elimination modulo primes give together.

    The rank stays the numerical one, with which a projector in float64 is made. If both agree and σ has a gap, it is
    exact. A higher rank over the rationals shows that the layer is deficient to rounding only. A lower one contradicts
    the singular values: a σ above the tolerance is noise, or every prime divided a minor.

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
    """The certificate of a block-diagonal map, from those of its distinct blocks and the numbers of their copies."""
    parts = [(certificate, count) for certificate, count in certificates if count]
    worst: list[Kind] = ["exact", "numerical", "undecided"]
    proved = [part.proved_rank * count for part, count in parts if part.proved_rank is not None]
    return Certificate(
        rank=sum(part.rank * count for part, count in parts),
        kind=max((part.kind for part, _ in parts), key=worst.index, default="exact"),
        method=max((part for part, _ in parts), key=lambda part: part.rank).method if parts else "no block",
        tolerance=max((part.tolerance for part, _ in parts), default=0.0),
        sigma_max=max((part.sigma_max for part, _ in parts), default=0.0),
        sigma_above=min((part.sigma_above for part, _ in parts if part.sigma_above is not None), default=None),
        sigma_below=max((part.sigma_below for part, _ in parts if part.sigma_below is not None), default=None),
        exact_rank=sum(proved) if len(proved) == len(parts) else None,
    )
