"""What evaluate.py writes for other programs: a NIR graph, and a page that decides."""
