"""How what was found is told: rows, intervals, tables and pictures. Nothing here changes what is computed."""
