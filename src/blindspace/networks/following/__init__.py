"""PyTorch networks followed while they run, to find the part that is affine in their input."""
