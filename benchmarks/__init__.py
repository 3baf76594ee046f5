"""Benchmarks of speed and memory. ``python -m benchmarks`` writes and prints ``results/logs/speed.md``."""

import engine  # noqa: F401  before torch, so that threads that wait sleep
