"""The record of how the checkpoints here were made: each network was trained once, and saved on its way.

    python tests/golden/make_checkpoints.py

They are what an older version left, and are not made again: a new version must read them and come to the same bits.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from support import golden_checkpoints as golden  # noqa: E402

from models import build_model  # noqa: E402
from network_trainer import Progress  # noqa: E402
from s1c1 import S1C1  # noqa: E402
from training.checkpoint import load_checkpoint, rebuild_network, save_checkpoint  # noqa: E402
from utils import write_json  # noqa: E402

STOPS = {(1, 1, 2): "last-stdp", (2, 4, 3): "last-rstdp"}  # (phase, epoch, batch), the next to do


def make(name):
    """Write the network's checkpoints; returns what the test expects of them."""
    model, progress = build_model(name, seed=golden.SEED, dtype=torch.float64), Progress()
    encoder = S1C1()
    for step in golden.train(model, progress):
        stop = STOPS.get((progress.phase, progress.epoch, progress.batch))
        if step.kind == "batch" and stop:
            save_checkpoint(golden.GOLDEN / f"{name}-{stop}.safetensors", model, encoder, progress=progress)
    best = golden.GOLDEN / f"{name}-best.safetensors"
    save_checkpoint(best, model, encoder, state=progress.best["state"])
    tested = rebuild_network(load_checkpoint(best))
    return {"evaluation": golden.evaluate(tested), "outcome": golden.describe_run(model, progress)}


if __name__ == "__main__":
    with golden.declared():
        write_json(golden.EXPECTED, {name: make(name) for name in golden.NETWORKS})
