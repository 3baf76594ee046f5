"""Threads: how they wait, and that their number changes no result."""

import copy
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
import torch
from support.draws import draw_maps
from support.layers import learn_decisions, make_layer
from support.refusals import refuses
from support.tiers import slow_except

from engine.compiled import compiled
from engine.event import backend, deciding
from engine.rules import RSTDP, MarginRule
from engine.threads import run_parts
from errors import InputError
from models import build_model
from utils import ROOT

MODULES = "SpykeTorch", "engine", "models", "network_trainer", "s1c1", "train", "evaluate", "sweep", "training.trained"
PROGRAM = """
import os, sys
from importlib.abc import MetaPathFinder

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            sys.exit(os.environ.get("OMP_WAIT_POLICY"))  # which prints it on stderr

sys.meta_path.insert(0, Watch())
sys.path.insert(0, {root!r})
import {module}, torch
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "given", "expected"),
    [("engine", "active", "active"), *((module, None, "passive") for module in MODULES)],
)
def test_threads_sleep_while_they_wait(module, given, expected):
    """The variable is set when torch, and with it OpenMP, is loaded; a user's own value is kept."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    command = [sys.executable, "-c", PROGRAM.format(root=str(ROOT), module=module)]
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stderr.strip() == expected


def test_the_number_of_threads_changes_no_bit():
    """On 1, 2, 3 and 8 threads, whatever the number of cores: first spikes, decisions, potentials and weights."""
    rng, ends = np.random.default_rng(0), []
    latency = draw_maps(300, 16, 6, 5, below=40)
    weight = torch.from_numpy(rng.normal(0.8, 0.05, (200, 16, 5, 5))).float()
    labels, classes = torch.from_numpy(rng.integers(0, 5, 300)), np.arange(200) // 40
    for threads in (1, 2, 8, 8, 3):
        torch.set_num_threads(threads)
        end = [make_layer("event", weight, 15, 2, 20).fire(latency, 2)]
        for rule in (RSTDP(), MarginRule()):
            layer = make_layer("event", weight.clone(), 15, 2, rule=rule)
            rates = np.tile(rule.first_rates(), (300, 1, 1))
            result = learn_decisions(layer, latency, labels, classes, rates)
            learn_decisions(layer, latency[:1], labels[:1], classes, rates[:1])  # a single image
            end += [layer.weight, result.decisions, result.highest, layer.peaks(latency)]
        ends.append(end)
    assert not torch.equal(ends[0][1], weight)
    assert all(torch.equal(a, b) for end in ends[1:] for a, b in zip(ends[0], end, strict=True))


ANYWHERE = """
import os, sys, threading; sys.path[:0] = [{root!r}]
import numpy as np, torch
from s1c1 import S1C1
torch.set_num_threads(2)
encoder = S1C1()
images = np.random.default_rng(0).integers(0, 255, (4, 28, 28), dtype=np.uint8)
expected = encoder.encode(images).numpy()

def encode():  # without an operation for which torch uses its threads: they do not work in a forked process
    assert (encoder.encode(images).numpy() == expected).all()
    results.append(True)

results = []
callers = [threading.Thread(target=encode) for _ in range(4)]
for caller in callers: caller.start()
for caller in callers: caller.join()
process = os.fork()
if process == 0:
    encode()
    os._exit(0)
print(len(results), os.waitpid(process, 0)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork processes")
def test_kernels_run_in_several_threads_at_once_and_in_a_forked_process():
    done = subprocess.run(
        [sys.executable, "-c", ANYWHERE.format(root=str(ROOT))], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["4", "0"], done.stderr


@compiled
def mark(part, parts, marks):
    """Write to each mark how often it was visited."""
    for n in range(part, len(marks), parts):
        marks[n] += 1


def test_each_piece_of_work_is_done_once():
    for count, threads in product((0, 1, 2, 5, 100), (1, 2, 7)):
        marks = np.zeros(count, np.int64)
        run_parts(mark, count, marks, threads=threads)
        assert (marks == 1).all()


def test_what_fails_in_a_thread_is_raised():
    def fail(part, parts):
        if part == 1:
            raise MemoryError("part 1")

    with pytest.raises(MemoryError, match="part 1"):
        run_parts(fail, 2, threads=2)


def make_deciding(kernel=3, padding=0):
    weight = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 0.8, (40, 8, kernel, kernel)))
    return make_layer("event", weight, 15, padding, rule=MarginRule())


@pytest.mark.parametrize("layer", [make_deciding(), make_deciding(5, 1)])
def test_a_layer_decides_other_images_in_another_thread_in_between(layer, monkeypatch):
    """The other thread decides all its images between the sums and the decisions of the first chunk."""
    maps = [draw_maps(70, 8, 6, 5, seed=seed, below=40) for seed in (1, 2)]
    alone = [layer.peaks(latency, only_highest=True) for latency in maps]
    kernel, others = deciding.learn_decisions, []

    def decide_between(*arguments):
        monkeypatch.setattr(deciding, "learn_decisions", kernel)
        with ThreadPoolExecutor(1) as pool:
            others.append(pool.submit(layer.peaks, maps[1], only_highest=True).result())
        return kernel(*arguments)

    monkeypatch.setattr(deciding, "learn_decisions", decide_between)
    assert torch.equal(layer.peaks(maps[0], only_highest=True), alone[0])
    assert torch.equal(others[0], alone[1])


def test_a_decision_writes_no_weights(monkeypatch):
    """Another thread may have changed them meanwhile: its batch would be lost."""
    layer, kernel = make_deciding(), deciding.learn_decisions
    monkeypatch.setattr(deciding, "learn_decisions", lambda *given: layer.weight.fill_(0.25) is None or kernel(*given))
    layer.peaks(draw_maps(70, 8, 6, 5, below=40), only_highest=True)
    assert (layer.weight == 0.25).all()


def test_what_a_thread_keeps_is_freed_when_it_ends(monkeypatch):
    kept, make = [], backend.make_inputs

    def make_kept(*arguments):
        inputs = make(*arguments)
        kept.append(weakref.ref(inputs.sources))
        return inputs

    monkeypatch.setattr(backend, "make_inputs", make_kept)
    thread = threading.Thread(target=make_deciding().peaks, args=(draw_maps(70, 8, 6, 5, below=40), True))
    thread.start()
    thread.join()
    assert [reference() for reference in kept] == [None]


# Networks. Each thread of a pool decides, classifies (with scores) or learns.

DIGIT_MAPS = [draw_maps(70, 6, 28, 28, seed=seed, below=100) for seed in range(4)]
LABELS = np.arange(70) % 10
CASES = product(("control2026", "mozafari2018", "majority2024"), (2, 4))
in_threads = pytest.mark.parametrize(("name", "threads"), slow_except([("control2026", 2)], CASES))


def decide(network, maps, needs_scores):
    decisions, scores = network.decide(maps, needs_scores)
    return decisions.tolist(), scores.tolist() if needs_scores else None


@in_threads
def test_two_networks_decide_and_classify_at_once(name, threads):
    networks = [build_model(name, seed=seed) for seed in range(2)]
    work = list(product(networks, DIGIT_MAPS, (False, True)))
    alone = [decide(*each) for each in work]
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(decide, *each) for _ in range(3) for each in work]
        assert [each.result() for each in waiting] == 3 * alone


@in_threads
def test_a_training_is_equal_beside_decisions_which_are_those_between_two_batches(name, threads):
    alone = build_model(name)
    expected = [decide(alone, DIGIT_MAPS[0], False)]
    for maps in DIGIT_MAPS:
        alone.train_rl(maps, LABELS)
        expected.append(decide(alone, DIGIT_MAPS[0], False))
    network, ended = build_model(name), threading.Event()

    def decide_until_the_end(_):
        found = []
        while not ended.is_set():
            with suppress(InputError):
                found.append(decide(network, DIGIT_MAPS[0], False) in expected)
        return found

    with ThreadPoolExecutor(threads) as pool:
        waiting = pool.map(decide_until_the_end, range(threads - 1))
        for maps in DIGIT_MAPS:
            network.train_rl(maps, LABELS)
        ended.set()
        assert all(all(found) for found in waiting)
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in alone.state_dict().items())


def test_what_is_read_beside_a_batch_of_another_thread_is_refused(monkeypatch):
    """Also if the batch begins later than the decision. A copy that was made before decides."""
    network = build_model("control2026")
    duplicate, expected = copy.deepcopy(network), decide(network, DIGIT_MAPS[0], False)
    phase = network.phases[-1]
    learn_decisions, decide_part = phase.learn_decisions, network._decide_part
    pool = ThreadPoolExecutor(1)

    def learn_beside(*arguments):
        with network.turns.learn():  # ends with the batch
            pass
        for read in (network.predict, lambda maps: network.map_of(maps, "s1"), learn_phase):
            with refuses("thread"):
                pool.submit(read, DIGIT_MAPS[0]).result()
        assert pool.submit(decide, duplicate, DIGIT_MAPS[0], False).result() == expected
        assert len(network.predict(DIGIT_MAPS[0])) == 70  # this thread itself
        return learn_decisions(*arguments)

    def phase_learn(maps):
        return network.train_rl(maps, LABELS)

    def learn_phase(maps):
        return phase.learn(network, maps, torch.from_numpy(LABELS))

    def decide_beside(*arguments):
        pool.submit(phase_learn, DIGIT_MAPS[1]).result()
        return decide_part(*arguments)

    with pool:
        monkeypatch.setattr(phase, "learn_decisions", learn_beside)
        network.train_rl(DIGIT_MAPS[0], LABELS)
        assert phase.batches == 1  # those that were refused do not count: a rule draws by this number
        monkeypatch.setattr(phase, "learn_decisions", learn_decisions)
        monkeypatch.setattr(network, "_decide_part", decide_beside)
        with refuses("thread"):
            network.predict(DIGIT_MAPS[0])
