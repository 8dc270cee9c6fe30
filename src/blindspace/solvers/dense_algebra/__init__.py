"""Factorisations of dense matrices and iterations on small dense systems."""
