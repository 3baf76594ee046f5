"""tutorial/one_file.py: it learns what the program learns, to the last bit, and ties are decided by its docstrings."""

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.refusals import assert_each_refused, read_table
from support.tiers import slow_except

import imagesets
from models import build_model
from network_trainer import LatencyDataset
from SpykeTorch import functional as sf
from tutorial.one_file import T, compete, decide, main, train
from utils import ROOT

IMAGES = 8
EPOCHS = 1, 1, 3
DOUBLE_EVERY = 3
BATCH = 5  # and a batch of three
load = functools.cache(imagesets.load)


def load_images(seed):
    """Return a few images, the first of which is blank, and labels by which some decisions are correct."""
    data = load("mnist")
    labels = np.array(data.train_labels[:IMAGES])
    labels[::2] = {0: 3, 1: 1}[seed]  # which networks with these seeds decide often
    images = data.train_images[:IMAGES].copy()
    images[0] = 0
    return images, labels


@functools.cache
def learn(seed):
    """Return the weights and decisions that the file learns."""
    return train(*load_images(seed), EPOCHS, seed, DOUBLE_EVERY, BATCH)


@pytest.mark.parametrize(("backend", "seed"), slow_except([("event", 0)], [("event", 0), ("event", 1), ("torch", 1)]))
def test_the_program_learns_the_same_to_the_last_bit(seed, backend):
    weights, decisions = learn(seed)
    images, labels = load_images(seed)
    doubling = {f"{stage}.rule.double_every": DOUBLE_EVERY for stage in ("s1", "s2")}
    network = build_model("mozafari2018", seed=seed, dtype=torch.float64, backend=backend, overrides=doubling)
    latencies = network.encoder.encode(images)
    progress = network.fit(LatencyDataset(latencies, labels), None, EPOCHS, seed=seed, batch_size=BATCH)
    for name, weight in weights.items():
        assert torch.equal(network.stages[name].weight, weight), name
    np.testing.assert_array_equal(network.predict(latencies), decisions)
    assert decisions[0] == -1
    accuracies = [row["train_accuracy"] for row in progress.history if row["phase"] == "s3"]
    assert 0 < max(accuracies) < 1  # rewards and punishments


ROUNDED = 0.1 + 0.2  # above 0.3 by rounding alone
TIES = {  # {(feature, row, column): (time, potential)}, the winners
    "of two features, the first": ({(0, 1, 1): (3, 0.3), (1, 1, 1): (3, ROUNDED)}, [(0, 1, 1, 3)]),
    "of two rows, the first": ({(0, 3, 0): (3, ROUNDED), (1, 0, 3): (3, ROUNDED), (2, 0, 1): (3, 0.3)}, [(0, 3, 0, 3)]),
    "of two positions, the first": ({(0, 3, 0): (3, ROUNDED), (0, 0, 3): (3, 0.3)}, [(0, 0, 3, 3)]),
    "the strongest": ({(0, 0, 0): (3, 0.3), (1, 0, 3): (3, 0.4)}, [(1, 0, 3, 3)]),
    "the earliest": ({(0, 0, 0): (3, 0.4), (1, 0, 3): (2, 0.3)}, [(1, 0, 3, 2)]),
    "none": ({}, []),
}


@pytest.mark.parametrize("case", TIES)
def test_ties_between_neurons_that_fire(case):
    neurons, expected = TIES[case]
    times = torch.full((3, 4, 4), T)
    potentials = torch.zeros(times.shape, dtype=torch.float64)
    for place, (time, potential) in neurons.items():
        times[place] = time
        potentials[place] = potential
    assert compete(times, potentials, winners=1, radius=0) == expected


def test_a_winner_inhibits_its_feature_and_its_surroundings():
    times = torch.full((3, 4, 4), T)
    times[0, 0, 0] = 1  # wins
    times[0, 3, 3] = 2  # the same feature
    times[1, 1, 1] = 2  # within the radius
    times[1, 2, 1] = 3  # wins
    times[2, 2, 1] = 4  # at this position, feature 1 was first
    potentials = torch.ones(times.shape, dtype=torch.float64)
    assert compete(times, potentials, winners=3, radius=1) == [(0, 0, 0, 1), (1, 2, 1, 3)]
    assert compete(times, potentials, winners=1, radius=1) == [(0, 0, 0, 1)]


def test_the_operations_of_spyketorch_choose_the_same_winners():
    rng = np.random.default_rng(0)
    for _ in range(100):
        times = torch.from_numpy(rng.integers(10, T + 1, (4, 5, 6)))
        potentials = torch.from_numpy(rng.integers(1, 4, times.shape)) * (times < T).double()
        wave = (times <= torch.arange(T)[:, None, None, None]) * potentials
        candidates = sf.pointwise_inhibition(wave)
        found = sf.get_k_winners(candidates, 3, 1, candidates.sign())
        assert [winner[:3] for winner in compete(times, potentials, 3, 1)] == found


def test_ties_between_decisions():
    weight = torch.tensor([[0.1, 0.1], [0.3, 0.0], [0.1, 0.2]], dtype=torch.float64)[:, :, None, None]
    spiked = torch.tensor([[[14, 0, 15]], [[15, 3, 15]]])
    assert decide(weight, spiked) == [(1, 0, 0, 14)]
    assert decide(weight, spiked[:, :, 1:]) == [(1, 0, 0, 14)]
    assert decide(weight[[0, 2, 1]], spiked[:, :, 1:]) == [(1, 0, 0, 14)]
    assert decide(weight, torch.full_like(spiked, T)) == []


@pytest.mark.parametrize("folder", slow_except(["tutorial"], [".", "tutorial"]))
def test_the_file_as_a_program(folder):
    """From any folder; no bar is written into a pipe."""
    place = ROOT / folder
    path = (ROOT / "tutorial" / "one_file.py").relative_to(place)
    words = [sys.executable, str(path), "--images", "2", "--epochs", "1", "1", "1"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "of the 2 images" in done.stdout


WORDS = """
60000    | --images 0
60001    | --images 60001
--epochs | --epochs 1 1
'x'      | --epochs 1 x 1
-1       | --epochs 1 1 -1
"""


@pytest.mark.parametrize(("named", "words"), [*read_table(WORDS)])
def test_wrong_words(words, named, monkeypatch, capsys):
    monkeypatch.setattr("tutorial.one_file.load", load)
    with pytest.raises(SystemExit) as raised:
        main(words.split())
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


ARGUMENTS = """
float64      | learn(images=np.zeros((2, 28, 28)))
(2, 27, 28)  | learn(images=np.zeros((2, 27, 28), np.uint8))
(0, 28, 28)  | learn(images=np.zeros((0, 28, 28), np.uint8), labels=[])
2 classes    | learn(labels=[1])
0 to 9       | learn(labels=[1, 10])
integers     | learn(labels=["1", "2"]) | learn(labels=np.array([b"1", b"2"]))
integers     | learn(labels=np.array(["1", "2"], object))
(1, 1)       | learn(epochs=(1, 1))
-1           | learn(epochs=(1, 1, -1)) | learn(seed=-1)
1.5          | learn(epochs=(1.5, 0, 0))
None         | learn(seed=None)
double_every | learn(double_every=0)
batch_size   | learn(batch_size=-1)
2.0          | learn(batch_size=2.0)
"""


def test_wrong_arguments():
    def learn(**changed):
        usual = {"images": np.zeros((2, 28, 28), np.uint8), "labels": [1, 2], "epochs": (1, 1, 1)}
        return train(**usual | changed)

    assert_each_refused(ARGUMENTS, {"learn": learn, "np": np})
