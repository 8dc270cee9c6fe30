"""Singular values of maps: all of them, the smallest with their directions, and their number up to a bound."""
