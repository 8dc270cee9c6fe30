"""Factorisations and products of dense matrices, and iterations on small dense systems."""
