"""The kernels before the first image: at a first start two processes compile them."""

import signal

import pytest

from engine.compiled import counts
from engine.rules import RSTDP
from engine.stages import Pool, SpikingConv
from models import build_model
from network_trainer import NetworkTrainer
from s1c1 import S1C1
from training import first_start
from training.run_log import RunLog


@pytest.fixture
def cold(monkeypatch):
    """As if the first kernels had not been on the disk; a list that gets the processes that help."""
    helpers, start = [], first_start._start_helper
    monkeypatch.setattr(first_start.joblib, "cpu_count", lambda: 2)

    class Cold(first_start.PackedLatencies):
        def write(self, start, latencies):
            counts["compiled"] += 1
            super().write(start, latencies)

    def noted(*args):
        helpers.append(start(*args))
        return helpers[-1]

    monkeypatch.setattr(first_start, "PackedLatencies", Cold)
    monkeypatch.setattr(first_start, "_start_helper", noted)
    before = counts["compiled"]
    yield helpers
    counts["compiled"] = before


@pytest.mark.parametrize("name", ["deepr2024", "multiscale2026"])
def test_another_process_compiles_what_decides(cold, name):
    """It ends by itself, without an error, and Ctrl-C does again what it did."""
    before = signal.getsignal(signal.SIGINT)
    first_start.warm_up(build_model(name), S1C1(), (28, 28), RunLog(quiet=True))
    (helper,) = cold
    assert helper.returncode == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_a_single_core_needs_no_other_process(cold, monkeypatch):
    monkeypatch.setattr(first_start.joblib, "cpu_count", lambda: 1)
    first_start.warm_up(build_model("mozafari2018"), S1C1(), (28, 28), RunLog(quiet=True))
    assert cold == []


def test_a_network_that_cannot_be_sent_is_compiled_here(cold):
    """A class that was declared in a function has no module from which another process could import it."""

    class Local(NetworkTrainer):
        epochs = (1,)

        def build(self, in_channels, num_classes):
            return {"p": Pool(4), "d": SpikingConv(in_channels, num_classes, 7, rule=RSTDP())}

    first_start.warm_up(Local(), S1C1(), (28, 28), RunLog(quiet=True))
    assert cold == [None]
