"""What several experiments use: models under test, victim models, readings, intervals, pictures."""
