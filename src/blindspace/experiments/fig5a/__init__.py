"""Figure 5a: accuracy against the magnitude of a harmless perturbation, of images and of features inside a network."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
