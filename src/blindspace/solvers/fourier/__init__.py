"""Convolutions in Fourier space: the circulant embedding and the capacitance system that corrects its boundary."""
