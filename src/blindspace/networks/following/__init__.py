"""PyTorch networks followed as they run: what of them is affine in their input."""
