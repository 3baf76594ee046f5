"""Compile the kernels that most tests need: ``python warm_kernels.py float32``.

Images in which nothing spikes go through networks that learn by all rules. If the kernels are on the disk, this takes a
few seconds.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from engine.event.deciding import CHUNK  # noqa: E402
from engine.packed import PackedLatencies  # noqa: E402
from models import build_model  # noqa: E402
from s1c1 import S1C1  # noqa: E402

# STDP and R-STDP, the margin rule, R-STDP of a firing stage, several branches
NETWORKS = "mozafari2018", "mozafari2018_margin", "deepr2024_greedy", "majority2024"


def warm_kernels(dtype: torch.dtype) -> None:
    """Let each network learn from images without spikes, and classify them."""
    images = CHUNK + 1  # several threads share this number of images
    latencies = S1C1().encode(np.zeros((images, 28, 28), np.uint8))
    packed = PackedLatencies(images, latencies.shape[1:], 15)
    packed.write(0, latencies)
    for name in NETWORKS:
        model = build_model(name, in_channels=6, num_classes=10, dtype=dtype)
        for phase in model.phases:
            for stage in () if phase.needs_labels else phase.stages:
                model.train_unsupervised(packed[:], stage)
        for _ in range(2):  # an alternating network has two ways of learning
            model.train_rl(packed[:], torch.zeros(images, dtype=torch.int64))
        model.predict(packed[:])


if __name__ == "__main__":
    warm_kernels(getattr(torch, sys.argv[1]))
