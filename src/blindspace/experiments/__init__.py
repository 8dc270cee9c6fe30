"""Floor 8: measurements and the papers' experiments, one file each."""
