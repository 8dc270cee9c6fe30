"""Where networks come from, one kind a file, and what stands in front of them."""
