"""Figures 6, 7 and 8: one experiment on three kinds of images."""
