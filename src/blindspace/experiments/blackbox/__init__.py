"""Black-box attacks confined to what a network sees: queries to success against the same attack unconfined."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
