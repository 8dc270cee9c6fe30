"""How the projector onto a nullspace is applied, one algorithm per file."""
