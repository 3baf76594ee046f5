"""What the tests read in a run's folder."""

import hashlib
import json

import numpy as np
import pytest
import torch
from support.command import MACHINE, find_newest, read_csv, results, run_evaluate
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.checkpoint import load_checkpoint
from training.trained import load_network


def only_run(output):
    return find_newest(output, "checkpoints/last.safetensors")


def read_features(run):
    """Return {split: {name: array}} of the features that are saved in a folder."""
    splits = {}
    for path in run.glob("features/*.npz"):
        with np.load(path) as arrays:
            splits[path.stem] = dict(arrays)
    return splits


def load_last(run):
    return load_checkpoint(run / "checkpoints" / "last.safetensors")


def load_best(run):
    return load_checkpoint(run / "checkpoints" / "best.safetensors")


def read_log(run):
    return (run / "log.txt").read_text()


def read_args(run):
    return json.loads((run / "args.json").read_text())


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_read_alike(run, output, images, labels, plugin=None):
    """Assert that evaluate.py and a loaded network decide the test images as the run did; return the decisions."""
    words = f"{run} {MACHINE} --no-figures {f'--plugin {plugin}' if plugin else ''}"
    best = results(run)["test"]["best"]
    assert results(run_evaluate(words, output))["test"] == best
    classes, scores = load_network(run, plugin=plugin).classify(images)
    assert (classes == labels).mean() == pytest.approx(best["accuracy"])
    return classes, scores


def events_of(run):
    """{run of TensorBoard's: its events}; "." is the folder itself."""
    folders = sorted({path.parent for path in run.glob("**/events.out.tfevents.*")})
    everything = {"scalars": 0, "images": 0, "histograms": 0}
    return {
        str(folder.relative_to(run)): EventAccumulator(str(folder), size_guidance=everything).Reload()
        for folder in folders
    }


def curves(run):
    """{(run of TensorBoard's, tag): {step: value, or None for a picture}}. No curve may go back, or stay."""
    found = {}
    for name, events in events_of(run).items():
        for kind, read in (("scalars", events.Scalars), ("images", events.Images)):
            for tag in events.Tags()[kind]:
                steps = [event.step for event in read(tag)]
                assert steps == sorted(set(steps)), f"{tag} of {name} goes back"
                found[name, tag] = {event.step: getattr(event, "value", None) for event in read(tag)}
    return found


def outcome(run):
    """Everything of a run that must not depend on interruptions, for comparison."""
    last, best = load_last(run), load_best(run)
    found = results(run)
    return {
        "last weights": last.state,
        "best weights": best.state,
        "metrics.csv": [{**row, "seconds": 0} for row in read_csv(run / "metrics.csv")],
        "history": [{**row, "seconds": 0} for row in last.progress.history],
        "test scores": found["test"],
        "validation scores": found["validation"],
        "predictions": (run / "predictions.csv").read_text(),
        "activation maps": {
            str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in run.glob("maps/**/*.png")
        },
        "curves": curves(run),
    }


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
