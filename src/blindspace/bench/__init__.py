"""The benchmark: time, memory and accuracy of projections, ours and other libraries'."""
