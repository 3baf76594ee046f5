"""Benchmarks of speed and memory. ``python -m benchmarks`` writes and prints the tables of ``results/speed.md``."""

import engine  # noqa: F401  before torch, so that threads that wait sleep
