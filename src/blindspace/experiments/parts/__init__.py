"""What parts of experiments do and find, where more than one experiment does, or one would not fit a file."""
