"""The papers' tables and figures, and questions beyond them: one folder or file per experiment."""
