"""Figure 2: dimension of the harmless subspace of the first layer against the size of its output."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
