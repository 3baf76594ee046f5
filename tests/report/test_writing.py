"""Which files a report consists of, for networks that decide and for others."""

import numpy as np
import pytest
import torch

from models import build_model
from report import figures
from report.evaluation import Evaluation
from report.writing import spike_times, write_report

NAMES = "0123456789"


@pytest.fixture(scope="module")
def latencies():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 60, (4, 6, 28, 28)).clip(max=15).astype(np.uint8))


@pytest.fixture(scope="module")
def images():
    return np.zeros((4, 28, 28), np.uint8)


def test_a_network_that_does_not_decide(tmp_path, latencies, images, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 20)
    model = build_model("mozafari2018")
    del model.stages[model.decision]
    model.__class__ = type("Features", (type(model),), {"decision": None})
    none = {f"{split}_{part}": None for split in ("train", "val") for part in ("accuracy", "loss", "silent")}
    rows = [{"phase": "s1", "rule": "stdp", "epoch": 1, "convergence": 0.1, **none}]
    paths = write_report(tmp_path, model, None, images, latencies, NAMES, "a network", rows)
    names = "filters_s1", "features_s1", "features_s2", "spike_times", "spike_wave", "history"
    assert paths == [tmp_path / "figures" / f"{name}.png" for name in names]
    assert all(path.is_file() for path in paths)
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_without_pictures(tmp_path, latencies, images):
    model = build_model("mozafari2018")
    evaluation = Evaluation(model, latencies, [0, 1, 2, 3])
    assert write_report(tmp_path, model, evaluation, images, latencies, NAMES, "a network", draw=False) == []
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_spike_times_count_neurons_only(latencies):
    """The padding of smaller branches is not silent neurons, and the decision stage has no times."""
    times = spike_times(build_model("inception2024"), latencies)
    assert list(times) == ["input", "s1", "c1", "s2", "c2", "s3", "c3"]
    assert times["input"].tolist() == np.bincount(latencies.numpy().ravel(), minlength=16).tolist()
    assert times["s3"].sum() == 4 * 100 * (7 * 7 + 5 * 5 + 3 * 3)
