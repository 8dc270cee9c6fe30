"""Loaders of networks by where they come from, one per file, and the preprocessing in front of them."""
