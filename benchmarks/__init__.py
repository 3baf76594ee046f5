"""Speed and memory: ``python -m benchmarks`` prints the tables and writes them to ``results/speed.md``."""
