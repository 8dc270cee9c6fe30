"""What hidden images give away: how recognisable they are made, by people's measures and by another network."""

from .report import EXPERIMENT

__all__ = ["EXPERIMENT"]
