"""How libraries resize images: the matrix along each axis, one file per library, and their registry."""

from .registry import RESIZERS, Resizer, resizer

__all__ = ["RESIZERS", "Resizer", "resizer"]
