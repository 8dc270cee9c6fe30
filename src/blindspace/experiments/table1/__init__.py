"""Table 1: how far outputs move under Gaussian noise, an attack, a harmless and the least harmful perturbation."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
