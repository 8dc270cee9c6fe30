"""Figure 1: images, the harmless perturbations that hide them, and their sums, which the network reads as before."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
