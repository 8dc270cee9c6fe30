claims = draw = rows = verdicts = None
