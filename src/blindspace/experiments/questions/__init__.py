"""The claims that experiments decide: one file per model, each a table at the top of the results."""
