"""What parts of experiments compute, where several share it or it would not fit their file; results depend on it."""
