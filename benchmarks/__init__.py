"""Speed and memory: ``python -m benchmarks`` prints the tables and writes them to ``results/speed.md``."""

import engine  # noqa: F401  before torch: threads that wait are to sleep
