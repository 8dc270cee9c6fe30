"""Singular values: all of them, the smallest ones, and how many lie below a bound."""
