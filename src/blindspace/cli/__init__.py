"""The command line, one command per file: each parses its arguments, calls the Python face and prints."""
