"""Certificates of a rank: what is known of it, and how well.

The numerical rank and its gap are those of Golub & Van Loan, Matrix Computations, section 5.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np

from ..._html import table
from .modular_elimination import ModularRank

Kind = Literal["exact", "numerical", "undecided"]
Relation = Literal["=", "≥", "≤"]

KINDS: list[Kind] = ["exact", "numerical", "undecided"]
"""The kinds from the best to the worst."""

GAP = 1e3  # Factor by which σ must fall across the tolerance for a rank below full to be ``numerical``
MARGIN = 10.0  # Factor by which the smallest σ counted must exceed the tolerance


@dataclass(frozen=True)
class Certificate:
    """The rank of a map and the evidence for it.

    Attributes:
        rank: Number of singular values above the tolerance.
        kind: ``exact`` if the rank is proved (as many independent rows or columns as there are nonzero ones, by
            elimination modulo a prime or as every σ is clear of rounding; or a clear gap in σ, and elimination modulo
            primes agrees), ``numerical`` if σ has a clear gap at the tolerance and no more is known, or if the rank
            over the rationals is higher, ``undecided`` if σ has no gap.
        method: How the rank was found, in words.
        tolerance: max(m, n)·ε·σ_max, below which a singular value is not distinguishable from 0 in float64; if the
            rank was found by inertia, the smallest σ that A Aᵀ resolves.
        sigma_max: The largest singular value.
        sigma_above: The smallest of the singular values that the rank counts, or a bound on it; None for a zero map, or
            if no bound is known.
        sigma_below: The largest singular value below the tolerance, or an upper bound on it; None if there is none.
        exact_rank: The rank over the rational numbers of the weights as they are stored, if elimination modulo primes
            found it; None if it was not determined. If it is above ``rank``, the map is deficient to rounding only.
        sigma_above_is: ``=`` if ``sigma_above`` is that singular value, ``≥`` if the singular value is at least that
            large, ``≤`` if it is at most that large.

    Examples:
        >>> import torch, blindspace as bs
        >>> certificate = bs.nullspace(torch.nn.Linear(6, 4), (6,)).certificate
        >>> certificate.rank, certificate.kind
        (4, 'exact')
        >>> certificate.sigma_above > certificate.tolerance
        True
    """

    rank: int
    kind: Kind
    method: str
    tolerance: float
    sigma_max: float
    sigma_above: float | None
    sigma_below: float | None
    exact_rank: int | None = None
    sigma_above_is: Relation = "="

    @property
    def condition(self) -> float:
        """σ_max over the smallest σ counted, or over the bound on it; 1 if there is none."""
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
        relation = "" if self.sigma_above_is == "=" else f"{self.sigma_above_is} "
        unknown = "σ not bounded" if self.rank else "no σ"
        gap = unknown if self.sigma_above is None else f"σ {relation}{self.sigma_above:.3g}"
        below = f", then {self.sigma_below:.3g}" if self.sigma_below is not None else ""
        line = f"rank {self.rank}, {self.kind} by {self.method} ({gap}{below}; tolerance {self.tolerance:.1g})"
        if self.kind == "exact" and self.sigma_above is not None and self.sigma_above <= self.tolerance:
            return f"{line}; in float64 indistinguishable from a lower rank"
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


def of_composition(parts: Sequence[Certificate], factor: float, norm: float, shape: tuple[int, int]) -> Certificate:
    """The certificate of c Bₖ … B₁ A, from those of A and of injective maps Bᵢ: their product has the rank of A.

    Its singular values lie between those of A times the smallest of every Bᵢ and times the largest. All of this holds
    for c A B₁ … Bₖ, too, if A and every Bᵢ have full row rank.

    Args:
        parts: Certificates of A, B₁, …, Bₖ.
        factor: The number c > 0.
        norm: The largest singular value of the whole.
        shape: Shape of the whole as a matrix.
    """
    first, *others = parts
    isometric = all(part.sigma_above_is == "=" and part.sigma_above == part.sigma_max for part in others)
    bounds = [part.sigma_above for part in parts if part.sigma_above is not None and part.sigma_above_is != "≤"]
    bounded = isometric or len(bounds) == len(parts)
    above = None if first.sigma_above is None or not bounded else factor * prod(p.sigma_above or 0.0 for p in parts)
    below = None if first.sigma_below is None else factor * first.sigma_below * prod(p.sigma_max for p in others)
    return replace(
        first,
        kind=max((part.kind for part in parts), key=KINDS.index),
        tolerance=max(shape) * float(np.finfo(np.float64).eps) * norm,
        sigma_max=norm,
        sigma_above=above,
        sigma_below=below,
        sigma_above_is=first.sigma_above_is if isometric or above is None else "≥",
    )


def merge(certificates: Iterable[tuple[Certificate, int]]) -> Certificate:
    """The certificate of a block-diagonal map, from those of its distinct blocks and the numbers of their copies."""
    parts = [(certificate, count) for certificate, count in certificates if count]
    bounds = [part for part, _ in parts if part.sigma_above is not None]
    relations = {part.sigma_above_is for part in bounds}
    relation: Relation = next((each for each in ("≤", "≥") if each in relations), "=")
    if relation == "≤":  # lower bounds on other blocks bound nothing then
        bounds = [part for part in bounds if part.sigma_above_is != "≥"]
    proved = [part.proved_rank * count for part, count in parts if part.proved_rank is not None]
    return Certificate(
        rank=sum(part.rank * count for part, count in parts),
        kind=max((part.kind for part, _ in parts), key=KINDS.index, default="exact"),
        method=max((part for part, _ in parts), key=lambda part: part.rank).method if parts else "no block",
        tolerance=max((part.tolerance for part, _ in parts), default=0.0),
        sigma_max=max((part.sigma_max for part, _ in parts), default=0.0),
        sigma_above=min((part.sigma_above for part in bounds if part.sigma_above is not None), default=None),
        sigma_below=max((part.sigma_below for part, _ in parts if part.sigma_below is not None), default=None),
        exact_rank=sum(proved) if len(proved) == len(parts) else None,
        sigma_above_is=relation,
    )
