"""Norm-saving: how much of an attack's norm is harmless, what puts it there, and the same attack without it."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
