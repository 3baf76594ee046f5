"""The report of a run: scores, tables, figures, activation maps and the page."""
