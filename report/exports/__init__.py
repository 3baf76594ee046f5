"""What evaluate.py writes for other programs: arrays, weights of few bits, a NIR graph, and a page that decides."""
