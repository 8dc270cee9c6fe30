"""Tables, pictures and pages that show results; nothing is computed here."""
