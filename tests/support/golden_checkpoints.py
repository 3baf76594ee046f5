"""The networks and the training of the golden checkpoints, for the test that reads them and the script that made them.

Everything is float64, and the kernels add in the order of the spikes, so that neither winners nor weights depend on the
machine.
"""

import hashlib
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from engine.rules import RSTDP, STDP
from engine.stages import Branches, Pool, SpikingConv, Vote
from models import MODELS
from network_trainer import Activity, NetworkTrainer

GOLDEN = Path(__file__).parent.parent / "golden"
NETWORKS = ("branched", "rewarded")
EXPECTED = GOLDEN / "checkpoints.json"
TRAINED, HELD_OUT, TESTED = slice(0, 240), slice(240, 300), slice(300, 340)  # of the golden digits
EPOCHS, BATCH_SIZE, SEED = (2, 3, 8), 50, 1
FAST = 0.1, -0.075  # so that 240 images are enough
LOWEST = STDP(winners=3, radius=3, rates=FAST)
DECIDING = RSTDP(reward=(0.02, -0.015), punishment=(-0.02, 0.0025))


@contextmanager
def declared():
    """For as long as it is open, the registry knows the networks of the checkpoints."""

    def scale(kernel):
        rule = STDP(winners=3, radius=1, rates=FAST, double_every=150)
        return SpikingConv(8, 6, kernel, padding=1, threshold=14, rule=rule)

    def voter(kernel, num_classes):
        return SpikingConv(12, 2 * num_classes, kernel, padding=2, rule=DECIDING)

    with mock.patch.dict(MODELS):

        class Branched(NetworkTrainer, name="branched"):
            """An inception-like block, and a decision by majority."""

            def build(self, in_channels, num_classes):
                return {
                    "s1": SpikingConv(in_channels, 8, 5, padding=2, threshold=15, rule=LOWEST),
                    "c1": Pool(2),
                    "s2": Branches(scale(3), scale(5)),
                    "c2": Pool(3),
                    "s3": Vote(voter(1, num_classes), voter(3, num_classes), voter(5, num_classes)),
                }

        class Rewarded(NetworkTrainer, name="rewarded"):
            """A firing stage that warms up by STDP, and is then rewarded with the decision stage above it."""

            def build(self, in_channels, num_classes):
                warm_up = STDP(winners=4, radius=0, rates=(0.02, -0.015), stabilize=False, double_every=0)
                feature_rule = RSTDP(
                    4, 0, reward=(0.01, -0.0075), punishment=(-0.01, 0.00125), bounds=(0.0, 1.0), warm_up=warm_up
                )
                return {
                    "s1": SpikingConv(in_channels, 8, 5, padding=2, threshold=15, rule=LOWEST),
                    "c1": Pool(2),
                    "s2": SpikingConv(8, 16, 3, padding=1, threshold=14, rule=feature_rule),
                    "c2": Pool(3),
                    "s3": SpikingConv(16, 2 * num_classes, 3, padding=1, rule=DECIDING),
                }

        yield


def digits(part):
    """Latencies and labels of a part of the golden digits."""
    with np.load(GOLDEN / "reference_traces.npz") as golden:
        return torch.from_numpy(golden["encoding"][part]), torch.from_numpy(golden["label"][part])


def train(model, progress, observer=None):
    """Train the network to its end, from where the progress stands, and keep that up to date."""
    train, validation = Activity(*digits(TRAINED)), Activity(*digits(HELD_OUT))
    model.fit(train, validation, EPOCHS, observer, BATCH_SIZE, SEED, progress=progress)


def evaluation(model):
    """Of the test digits: the decisions, the scores of the classes and, by stage, the digest of the latency maps."""
    latencies, _ = digits(TESTED)
    decisions, scores = model.decide(latencies)
    maps = {stage: digest(latency) for stage, latency in model.walk(latencies)}
    return {"decisions": decisions.tolist(), "scores": scores.tolist(), "maps": maps}


def outcome(model, progress):
    """What a run has come to: the digest of each entry of the last and the best state, and a few words per epoch."""
    history = [
        [row["phase"], row["epoch"], row["train_accuracy"], row["val_accuracy"], row["winners_per_image"]]
        for row in progress.history
    ]
    return {
        "state": {key: digest(value) for key, value in model.state_dict().items()},
        "best": {key: digest(value) for key, value in progress.best["state"].items()},
        "history": history,
    }


def digest(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
