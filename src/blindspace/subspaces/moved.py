"""What it took to move an image to the nearest one with given values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Moved:
    """How an image x was moved to another one, y.

    Attributes:
        gap: Bound on how much smaller ½ ‖y − x‖² of an image with the same deviations could be.
        change: ‖y − x‖².
        deviation: Largest absolute value of A y − t.
        iterations: Newton steps.
        products: Products with the map and with its transpose, counted together.
    """

    gap: float
    change: float
    deviation: float
    iterations: int
    products: int
