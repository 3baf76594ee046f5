"""Speed and memory. ``python -m benchmarks`` prints the tables and writes them to ``results/speed.md``."""

import engine  # noqa: F401  before torch, so that threads that wait sleep
