"""Beyond the paper: which of several networks one is, by perturbations that only that one cannot see."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
