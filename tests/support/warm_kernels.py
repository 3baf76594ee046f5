"""Compile the kernels that most tests need: ``python warm_kernels.py float32``.

Networks with all rules are trained on images in which nothing spikes. If the kernels are on the disk, this takes a few
seconds.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from models import build_model  # noqa: E402
from network_trainer import LatencyDataset  # noqa: E402
from s1c1 import S1C1  # noqa: E402

# STDP and R-STDP, the margin rule, R-STDP of firing stages. The commands train with float32, most other tests with
# float64, which needs all rules; the encoder has one type.
NETWORKS = {
    "float32": ("mozafari2018", "mozafari2018_margin"),
    "float64": ("mozafari2018", "mozafari2018_margin", "deepr2024_greedy"),
}
IMAGES = 4


def warm_kernels(dtype: str) -> None:
    """Train each network for two batches in each phase: an alternating network learns in two ways."""
    latencies = torch.full((IMAGES, 6, 28, 28), 15, dtype=torch.uint8)
    if dtype == "float32":
        latencies = S1C1().encode(np.zeros((IMAGES, 28, 28), np.uint8))
    labels = torch.zeros(IMAGES, dtype=torch.int64)
    for name in NETWORKS[dtype]:
        model = build_model(name, in_channels=6, num_classes=10, dtype=getattr(torch, dtype))
        train, validation = LatencyDataset(latencies, labels), LatencyDataset(latencies, labels)
        model.fit(train, validation, [1] * len(model.phases), batch_size=IMAGES // 2)


if __name__ == "__main__":
    warm_kernels(sys.argv[1])
