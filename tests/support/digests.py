"""Digests of what the networks compute in float64, where it does not depend on the processor.

python tests/support/digests.py    # after a change that is meant: write tests/golden/digests.json
"""

import hashlib
import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import torch  # noqa: E402
from support.golden_traces import GOLDEN  # noqa: E402

from models import build_model  # noqa: E402
from network_trainer import MODELS  # noqa: E402
from utils import write_json  # noqa: E402

PATH = TESTS / "golden" / "digests.json"
IMAGES, BATCH = 20, 10
NAMES = sorted({cls.name for cls in MODELS.values() if cls.__module__.startswith("models.")})


def compute_digests(name):
    """Train each phase of a network on two batches of real digits.

    Returns {phase: digest of the features that won and of the decisions, "map of STAGE": digest of the first spikes
    afterwards, "decisions": digest of the decisions afterwards}.
    """
    model = build_model(name, in_channels=6, num_classes=10, dtype=torch.float64)
    latencies = torch.from_numpy(GOLDEN["encoding"][:IMAGES])
    labels = torch.from_numpy(GOLDEN["label"][:IMAGES])
    digests = {}
    for phase in model.phases:
        inputs = model.map_of(latencies, model.input_name(phase.stages[0]))
        found = []
        for start in range(0, IMAGES, BATCH):
            part = slice(start, start + BATCH)
            learned = phase.learn(model, inputs[part], labels[part])
            found += [*learned.winners.values(), learned.decisions]
        digests[phase.name] = digest(found)
    for stage, latency in model.walk(latencies):
        digests[f"map of {stage}"] = digest([latency])
    if model.decision:
        digests["decisions"] = digest([model.predict(latencies)])
    return digests


def digest(tensors):
    """Return 12 hexadecimal digits of the SHA-256 of tensors of whole numbers; None is left out."""
    numbers = [tensor.tolist() for tensor in tensors if tensor is not None]
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:12]


if __name__ == "__main__":
    write_json(PATH, {name: compute_digests(name) for name in NAMES})
