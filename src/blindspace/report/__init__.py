"""Floor 9: tables and pages."""
