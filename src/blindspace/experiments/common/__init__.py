"""What several experiments use: models under test, victim models, controls, readings, intervals, pictures."""
