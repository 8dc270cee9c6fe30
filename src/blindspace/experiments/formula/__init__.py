"""Beyond the paper: how often n − m is not the dimension of what a layer cannot see."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
