"""Speed and memory: ``python -m benchmarks`` prints the tables and writes them to ``results/speed.md``."""

import utils  # noqa: F401  before torch: its threads, too, are to sleep while they wait
