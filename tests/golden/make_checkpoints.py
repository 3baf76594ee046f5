"""How the checkpoints here were made: each network trained once, saved on its way as a run saves itself.

    python tests/golden/make_checkpoints.py

They stand for what older versions left behind, and are not to be made anew: this is the record of what wrote them.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent.parent), str(FOLDER.parent / "training")]

import torch  # noqa: E402
from test_golden_checkpoints import (  # noqa: E402
    BATCH_SIZE,
    EPOCHS,
    EXPECTED,
    NETWORKS,
    SEED,
    declared,
    evaluation,
    outcome,
    train,
)

from models import build_model  # noqa: E402
from network_trainer import Observer, Progress  # noqa: E402
from s1c1 import S1C1  # noqa: E402
from training import checkpoint  # noqa: E402
from utils import write_json  # noqa: E402

RUN = {
    "flags": {"epochs": list(EPOCHS), "batch_size": BATCH_SIZE, "seed": SEED},
    "dataset": "mnist",
    "class_names": list("0123456789"),
    "image_size": [28, 28],
}
STOPS = {(1, 1, 2): "last-stdp.pt", (2, 4, 3): "last-rstdp.pt"}  # (phase, epoch, batch), the next to do


def make(name):
    """Write the network's checkpoints; returns what the test expects of them."""
    model, progress = build_model(name, in_channels=6, num_classes=10, seed=SEED, dtype=torch.float64), Progress()

    def save(file, progress=None, state=None):
        checkpoint.save(FOLDER / f"{name}-{file}", model, S1C1().config(), RUN, progress, state)

    class Stops(Observer):
        def batch(self, progress):
            stop = STOPS.get((progress.phase, progress.epoch, progress.batch))
            if stop:
                save(stop, progress)

    train(model, progress, Stops())
    save("best.pt", state=progress.best["state"])
    best = checkpoint.rebuild(checkpoint.load(FOLDER / f"{name}-best.pt"))
    return {"evaluation": evaluation(best), "outcome": outcome(model, progress)}


if __name__ == "__main__":
    with declared():
        write_json(EXPECTED, {name: make(name) for name in NETWORKS})
