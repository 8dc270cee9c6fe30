"""Table 2: how unlike the originals harmless images in the pixel range look, beside Gaussian noise."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
