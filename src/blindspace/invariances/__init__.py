"""What a network cannot see beyond its affine front: through its layers, along level sets, for non-linear reasons."""
