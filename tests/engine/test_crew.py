"""Several threads find the peaks of a chunk; who is late, or not there, changes nothing."""

import gc
import os
import sys
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from engine.compiled import compiled
from engine.event import atomic, crew, layers
from engine.event.layout import BANK, Geometry, Weights, in_banks, turn
from engine.event.peaks import CHUNK, Peaks, find_peaks
from engine.rules import RSTDP, MarginRule


@compiled
def changed(array):
    atomic.store(array, 1, 5)
    return atomic.load(array, 1), atomic.replace(array, 1, 4, 6), atomic.replace(array, 1, 5, 7), atomic.load(array, 1)


def test_atomic_numbers():
    array = np.arange(3)
    assert changed(array) == (5, False, True, 7)
    assert array.tolist() == [0, 7, 2]


CHANNELS, SIZE, KERNEL, FEATURES, IMAGES = 6, 4, 3, 100, 2 * CHUNK + 5


@pytest.fixture
def layer():
    """(geometry, weights, latencies (N, C, H, W), peaks (N, F) by one thread)."""
    rng = np.random.default_rng(0)
    weight = rng.random((FEATURES, CHANNELS, KERNEL, KERNEL)).astype(np.float32)
    latency = rng.integers(0, 25, (IMAGES, CHANNELS, SIZE, SIZE)).clip(max=15).astype(np.uint8)
    geometry = Geometry(15, CHANNELS, SIZE, SIZE, KERNEL, 1, FEATURES, -(-FEATURES // BANK) * BANK, SIZE, SIZE)
    weights = Weights(turn(weight), in_banks(turn(weight)), np.array([True]))
    expected = np.empty((IMAGES, FEATURES), np.float32)
    find_peaks(latency, geometry, weights.rows, expected)
    return geometry, weights, latency, expected


def gathered(members, generation, images):
    """The peaks of the images of a generation, and where they are listed."""
    stride = members.geometry.stride
    found = Peaks(np.empty(stride, np.float32), np.empty(stride, np.int32))
    values, places = [], []
    for image in range(images):
        places.append(crew.gather(members, generation, image, found))
        values.append(found.values[:FEATURES].copy())
    return np.array(values), np.array(places)


NONE = np.empty(0, np.int64)


def test_thread_0_does_it_alone_if_nobody_comes(layer):
    geometry, weights, latency, expected = layer
    for threads in (1, 3):
        members = crew.make_crew(geometry, weights, IMAGES, threads)
        for generation, start in enumerate(range(0, IMAGES, CHUNK)):
            count = min(CHUNK, IMAGES - start)
            crew.find(members, latency, generation, start, count, NONE)
            assert not crew._are_there(members, generation)
            values, places = gathered(members, generation, count)
            np.testing.assert_array_equal(values, expected[start : start + count])
            assert (places == np.arange(count)).all()


def opened(members, start, images):
    """A first generation as thread 0 leaves it for the others."""
    members.spans[0] = start, images
    members.listed[:], members.found[:], members.taken[0] = 0, 0, 0


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_thread_0_takes_over_what_others_have_found(layer, pieces):
    """Thread 1 does some pieces, takes one more and is gone; what it has found counts, the rest is done again."""
    geometry, weights, latency, expected = layer
    members = crew.make_crew(geometry, weights, IMAGES, 2)
    opened(members, 7, CHUNK)
    for _ in range(pieces):
        done = crew._work(members, latency, 0, 1, 1)
        if done == 0:
            break
        assert done == 1
    crew._take(members, 0, 1)
    crew._add_missing(members, latency, 0)
    owners = members.found - 1  # of generation 0 the mark of nobody is 0
    most = geometry.stride // BANK * (CHUNK // crew.FEW)
    assert (owners[: min(pieces, most)] == 1).all()
    assert (owners[min(pieces, most) :] == 0).all()
    np.testing.assert_array_equal(gathered(members, 0, CHUNK)[0], expected[7 : 7 + CHUNK])


def test_who_is_late_is_not_heard(layer):
    """Thread 1 ends a piece of a generation that is over, and begins another: nothing of the next one changes."""
    geometry, weights, latency, expected = layer
    members = crew.make_crew(geometry, weights, IMAGES, 2)
    crew.find(members, latency, 0, 0, CHUNK, NONE)
    crew.find(members, latency, 1, CHUNK, CHUNK, NONE)
    before = members.listed.copy(), members.found.copy(), members.taken.copy()
    assert not crew._say(members, members.found, 2, 0, 1)
    assert not crew._add(members, latency, 0, 0, 0, crew.FEW, 1)
    assert crew._list(members, latency, 0, 3, 1) == -2
    assert crew._take(members, 0, 4) == (16, 16)  # there is none
    for kept, now in zip(before, (members.listed, members.found, members.taken), strict=True):
        np.testing.assert_array_equal(kept, now)
    np.testing.assert_array_equal(gathered(members, 1, CHUNK)[0], expected[CHUNK : 2 * CHUNK])


def test_pieces_become_smaller_and_stay_within_a_bank(layer):
    geometry, weights, *_ = layer
    members = crew.make_crew(geometry, weights, IMAGES, 2)
    opened(members, 0, CHUNK)
    taken = []
    while True:
        first, end = crew._take(members, 0, 4)
        if first == end:
            break
        taken.append((first, end))
    assert [first for first, _ in taken] == [0, *(end for _, end in taken[:-1])]
    assert taken[-1][1] == 16
    assert [end - first for first, end in taken] == [4, 3, 1, 2, 1, 1, 1, 1, 1, 1]
    assert all(first // 4 == (end - 1) // 4 for first, end in taken)


@pytest.mark.parametrize("rule", [RSTDP(), MarginRule(rate=0.1)])
def test_many_threads_on_few_cores_learn_the_same(rule, monkeypatch):
    """Most of them are off their core most of the time, in the middle of anything."""
    rng = np.random.default_rng(1)
    latency = torch.from_numpy(rng.integers(0, 25, (1500, CHANNELS, SIZE, SIZE)).clip(max=15).astype(np.uint8))
    labels, classes = torch.from_numpy(rng.integers(0, 10, 1500)), np.arange(FEATURES) * 10 // FEATURES
    rates = np.broadcast_to(rule.first_rates(), (1500, 2, 2))
    first = torch.from_numpy(rng.normal(0.8, 0.05, (FEATURES, CHANNELS, KERNEL, KERNEL))).float()
    learned = []
    monkeypatch.setattr(crew, "LEAST", 0)
    for threads in (1, 8, 8, 3, 8):
        monkeypatch.setattr(layers, "get_num_threads", lambda threads=threads: threads)
        weight = first.clone()
        found = layers.DecisionLayer(weight, 15, 1).learn(latency, labels, classes, rule, rates)
        learned.append((weight, found.decisions, found.highest))
    for other in learned[1:]:
        assert all(torch.equal(a, b) for a, b in zip(learned[0], other, strict=True))
    assert not torch.equal(first, learned[0][0])


def test_helpers_come_go_and_give_way(layer):
    geometry, weights, latency, _ = layer
    latency = latency.copy()
    members = crew.make_crew(geometry, weights, IMAGES, 3)
    with pytest.raises(KeyboardInterrupt), crew.helpers(members, latency):
        raise KeyboardInterrupt
    assert members.over[0] == 1
    threads = {thread.name: thread for thread in threading.enumerate()}
    with crew.helpers(crew.make_crew(geometry, weights, IMAGES, 3), latency):
        again = {thread.name: thread for thread in threading.enumerate()}
    assert again["helper-1"] is threads["helper-1"]
    assert again["helper-2"] is threads["helper-2"]
    assert again["helper-1"].daemon
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        for _ in range(200):
            if os.getpriority(os.PRIO_PROCESS, again["helper-1"].native_id) != own:
                break
            time.sleep(0.01)
        assert os.getpriority(os.PRIO_PROCESS, again["helper-1"].native_id) == min(19, own + crew.NICENESS)
        assert os.getpriority(os.PRIO_PROCESS, 0) == own
    kept = weakref.ref(latency)
    del latency, members, layer
    for _ in range(200):
        gc.collect()
        if kept() is None:
            break
        time.sleep(0.01)
    assert kept() is None


def test_a_helper_that_is_gone_is_replaced(layer, monkeypatch):
    """As in a process that was forked, which has no threads but one."""

    class Gone:
        def is_alive(self):
            return False

    monkeypatch.setattr(crew, "_helpers", {1: Gone()})
    geometry, weights, latency, _ = layer
    with crew.helpers(crew.make_crew(geometry, weights, IMAGES, 2), latency):
        assert crew._helpers[1].is_alive()


def test_small_layers_and_calls_have_no_helpers(layer):
    """The additions by hand: of 3 lines and 3 columns, at a border two of them, all four inputs are reached."""
    geometry = layer[0]
    inside = sum((2, 3, 3, 2))
    assert crew.useful_threads(geometry, IMAGES, 4) == 1
    enough = -(-crew.LEAST // (inside**2 * CHANNELS))
    assert crew.useful_threads(geometry._replace(features=enough), CHUNK + 1, 4) == 4
    assert crew.useful_threads(geometry._replace(features=enough), CHUNK + 1, 99) == crew.MOST
    assert crew.useful_threads(geometry._replace(features=enough), CHUNK, 4) == 1
    assert crew.useful_threads(geometry._replace(features=enough - 1), CHUNK + 1, 4) == 1


@pytest.mark.parametrize(("least", "helped"), [(0, True), (10**9, False)])
def test_a_layer_learns_with_the_useful_threads(monkeypatch, least, helped):
    monkeypatch.setattr(crew, "_helpers", {})
    monkeypatch.setattr(crew, "LEAST", least)
    monkeypatch.setattr(layers, "get_num_threads", lambda: 2)
    count, rule = CHUNK + 1, RSTDP()
    latency = torch.zeros((count, 3, 3, 3), dtype=torch.uint8)
    rates = np.broadcast_to(rule.first_rates(), (count, 2, 2))
    layer = layers.DecisionLayer(torch.full((10, 3, 3, 3), 0.5), 15, 0)
    layer.learn(latency, torch.zeros(count, dtype=torch.int64), np.arange(10), rule, rates)
    assert (1 in crew._helpers) == helped
