"""What ``verify`` finds of two images, in sentences."""

from __future__ import annotations

from ..evidence import Evidence

TOLERANCE = 1e-3
"""Largest change of an output that passes, as the command line has it."""


def told(found: Evidence) -> tuple[list[str], bool]:
    """Sentences about a pair of images, and whether the network reads them alike."""
    same = found.harmless(TOLERANCE)
    first = "Read alike" if same else "Read differently"
    return [
        f"{first}: the largest change of an output is {found.output_change()} (tolerance {TOLERANCE:.0e}).",
        f"The largest change of a pixel is {found.max_perturbation:.3g} of the image range; the relative residual "
        f"‖A δ‖ / (‖A‖ ‖δ‖) is {found.relative_residual:.1e}.",
    ], same
