"""Figure 4: contour map of what combinations of a perturbation's two components do to a layer and to the network."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
