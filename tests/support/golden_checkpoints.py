"""The networks and the training of the golden checkpoints, for the script that made them and the tests that read them.

Everything is float64, and the kernels add in the order of the spikes, so that neither winners nor weights depend on the
machine.
"""

import hashlib
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from support.golden_traces import GOLDEN as TRACES

from engine.rules import RSTDP, STDP
from engine.stages import Branches, Pool, SpikingConv, Vote
from models import MODELS
from network_trainer import LatencyDataset, NetworkTrainer

GOLDEN = Path(__file__).parent.parent / "golden"
NETWORKS = "branched", "rewarded"
EXPECTED = GOLDEN / "checkpoints.json"
TRAINED, HELD_OUT, TESTED = slice(0, 240), slice(240, 300), slice(300, 340)  # of the golden digits
EPOCHS, BATCH_SIZE, SEED = (2, 3, 8), 50, 1
FAST = 0.1, -0.075  # so that 240 images are enough
LOWEST = STDP(winners=3, radius=3, rates=FAST)
SCALE = STDP(winners=3, radius=1, rates=FAST, double_every=150)
VOTERS = (1, 0), (3, 2), (5, 2)  # kernel and padding
DECIDING = RSTDP(reward=(0.02, -0.015), punishment=(-0.02, 0.0025))
REWARDED = RSTDP(
    winners=4, reward=(0.01, -0.0075), punishment=(-0.01, 0.00125), bounds=(0.0, 1.0),
    warm_up=STDP(winners=4, radius=0, rates=(0.02, -0.015), stabilize=False, double_every=0),
)  # fmt: skip


@contextmanager
def declared():
    """Declare the networks of the checkpoints within the block."""
    with mock.patch.dict(MODELS):

        class Branched(NetworkTrainer, name="branched"):
            """An inception-like block, and a decision by majority."""

            def build(self, num_classes):
                return {
                    "s1": SpikingConv(8, 5, padding=2, threshold=15, rule=LOWEST),
                    "c1": Pool(2),
                    "s2": Branches(*(SpikingConv(6, kernel, padding=1, threshold=14, rule=SCALE) for kernel in (3, 5))),
                    "c2": Pool(3),
                    "s3": Vote(*(SpikingConv(2 * num_classes, k, padding=p, rule=DECIDING) for k, p in VOTERS)),
                }

        class Rewarded(NetworkTrainer, name="rewarded"):
            """A firing stage that warms up by STDP, and is then rewarded with the decision stage above it."""

            def build(self, num_classes):
                return {
                    "s1": SpikingConv(8, 5, padding=2, threshold=15, rule=LOWEST),
                    "c1": Pool(2),
                    "s2": SpikingConv(16, 3, padding=1, threshold=14, rule=REWARDED),
                    "c2": Pool(3),
                    "s3": SpikingConv(2 * num_classes, 3, padding=1, rule=DECIDING),
                }

        yield


def read_digits(part):
    """Return latencies and labels of a part of the golden digits."""
    return torch.from_numpy(TRACES["encoding"][part]), torch.from_numpy(TRACES["label"][part])


def train(model, progress):
    """Train the network to its end, from the progress on; yield each step."""
    train, validation = LatencyDataset(*read_digits(TRAINED)), LatencyDataset(*read_digits(HELD_OUT))
    yield from model.steps(train, validation, EPOCHS, batch_size=BATCH_SIZE, seed=SEED, progress=progress)


def evaluate(model):
    """Return decisions and scores of the test digits, and the digest of each stage's latency maps."""
    latencies, _ = read_digits(TESTED)
    decisions, scores = model.decide(latencies)
    maps = {stage: compute_digest(latency) for stage, latency in model.walk(latencies)}
    return {"decisions": decisions.tolist(), "scores": scores.tolist(), "maps": maps}


def describe_run(model, progress):
    """Return the digest of each tensor of the last and the best state, and a few values for each epoch."""
    columns = "phase", "epoch", "train_accuracy", "val_accuracy", "winners_per_image"
    return {
        "state": {key: compute_digest(value) for key, value in model.state_dict().items()},
        "best": {key: compute_digest(value) for key, value in progress.best["state"].items()},
        "history": [[row[column] for column in columns] for row in progress.history],
    }


def compute_digest(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
