"""What several tests of the command line share: a finished run, and runs that do not draw."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from support.command import DIGITS, dont_draw, run_train
from threadpoolctl import threadpool_info

from engine.phases import Phase
from report import diagnosis
from training import references
from training.recorders.checkpoints import Checkpoints


@pytest.fixture
def undrawn(monkeypatch):
    """Runs leave no figures but an empty history, and measure few images for the diagnosis."""
    dont_draw(monkeypatch)
    monkeypatch.setattr(diagnosis, "DIAGNOSED_IMAGES", 2)
    monkeypatch.setattr(references, "CONTROL_EPOCHS", 0)  # whose batches some tests would count


@pytest.fixture
def stop_after(monkeypatch):
    """A function that stops all later starts, as Ctrl-C does, after a number of batches (None: never)."""
    plain, limit = Checkpoints.record, None

    def record(self, step):
        self.batches = getattr(self, "batches", 0) + (step.kind == "batch")
        self.run.stop.asked = self.batches == limit
        plain(self, step)

    def set_limit(batches):
        nonlocal limit
        limit = batches

    monkeypatch.setattr(Checkpoints, "record", record)
    return set_limit


@pytest.fixture
def learned(monkeypatch):
    """The numbers of images of all batches, but for those of the control: {phase: [number, …]}."""
    batches, learn = {}, Phase.learn

    def count(phase, network, inputs, *args, **options):
        if network.name != references.CONTROL:
            batches.setdefault(phase.name, []).append(len(inputs))
        return learn(phase, network, inputs, *args, **options)

    monkeypatch.setattr(Phase, "learn", count)
    return batches


@pytest.fixture
def fit_threads(monkeypatch):
    """The numbers of threads by which linear classifiers are fitted."""
    threads = []
    for classifier in LinearSVC, LogisticRegression:

        def count(*args, fit=classifier.fit):
            threads.extend(pool["num_threads"] for pool in threadpool_info())
            return fit(*args)

        monkeypatch.setattr(classifier, "fit", count)
    return threads


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a finished run that has learned something."""
    output = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        dont_draw(monkeypatch)
        return run_train(f"--model mozafari2018 {DIGITS} --batch-size 100 --epochs 2 4 5", output)
