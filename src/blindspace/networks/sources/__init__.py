"""Loaders of networks by where they come from, and the preprocessing in front of them; errors as in ``load``."""
