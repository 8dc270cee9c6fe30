"""Figure 5b: accuracy against the magnitude of the least harmful perturbation, Gaussian noise beside it."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
