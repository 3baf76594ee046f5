"""What a run leaves behind: scores, tables, figures, activation maps."""
