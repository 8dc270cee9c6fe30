"""Factorisations kept on disk, under a key that names what they were made from."""
