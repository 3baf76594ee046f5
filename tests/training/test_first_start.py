"""The kernels before the first image of each phase: at a first start another process compiles them."""

import signal

import pytest
import torch

from engine.compiled import is_kept
from engine.event.layout import aligned
from engine.packed import PackedLatencies
from engine.rules import RSTDP
from engine.stages import Pool, SpikingConv
from models import build_model
from network_trainer import NetworkTrainer
from s1c1 import S1C1
from training import first_start
from training.log import RunLog


@pytest.fixture
def cold(monkeypatch):
    """As if no kernel were on the disk; a list that gets the processes that help."""
    helpers, start = [], first_start._start_helper
    monkeypatch.setattr(first_start.joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(first_start, "is_kept", lambda *args: False)

    def noted(*args):
        helpers.append(start(*args))
        return helpers[-1]

    monkeypatch.setattr(first_start, "_start_helper", noted)
    return helpers


def kernels(model, first=0):
    return first_start.kernels(model, S1C1(), (28, 28), first, RunLog(quiet=True))


@pytest.mark.parametrize(("name", "first"), [("deepr2024", 0), ("multiscale2026", 3)])
def test_another_process_does_the_phases_first(cold, monkeypatch, name, first):
    """From that on in which the training begins, each before this one; and Ctrl-C does again what it did."""
    before, model, waited = signal.getsignal(signal.SIGINT), build_model(name), []
    wait = first_start._wait_for

    def noted(helper, number):
        wait(helper, number)
        waited.append((number, helper.poll()))

    monkeypatch.setattr(first_start, "_wait_for", noted)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with kernels(model, first) as ready:
        for number in range(first, len(model.phases)):
            ready(number)
            ready(number)
        (helper,) = cold
        assert helper.wait() == 0
        assert helper.stdout.read() == b""
    assert [number for number, _ in waited] == list(range(first, len(model.phases)))
    assert waited[0][1] is None
    assert signal.getsignal(signal.SIGINT) is before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_it_ends_with_the_training(cold):
    with pytest.raises(KeyboardInterrupt), kernels(build_model("deepr2024")):
        raise KeyboardInterrupt
    assert cold[0].returncode == -signal.SIGKILL
    assert cold[0].stdout.closed


def test_who_dies_is_not_waited_for(cold):
    with kernels(build_model("mozafari2018")) as ready:
        cold[0].kill()
        ready(2)


def test_a_single_core_needs_no_other_process(cold, monkeypatch):
    monkeypatch.setattr(first_start.joblib, "cpu_count", lambda: 1)
    with kernels(build_model("mozafari2018")) as ready:
        ready(2)
    assert cold == []


def test_a_network_that_cannot_be_sent_is_compiled_here(cold):
    """A class that was declared in a function has no module from which another process could import it."""

    class Local(NetworkTrainer):
        epochs = (1,)

        def build(self, in_channels, num_classes):
            return {"p": Pool(4), "d": SpikingConv(in_channels, num_classes, 7, rule=RSTDP())}

    with kernels(Local()) as ready:
        ready(0)
    assert cold == [None]


def test_what_is_kept_is_known():
    assert not is_kept(aligned, 1, "no array")
    assert not is_kept(PackedLatencies, 1)
    aligned(1, torch.zeros(1).numpy())
    assert is_kept(aligned, 1, torch.zeros(1).numpy())
