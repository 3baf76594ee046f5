"""The peaks of a chunk of images by several threads, none of which ever waits for another.

On a shared machine any thread may be off its core for milliseconds, in the middle of anything. So each works in memory
of its own, and what it has found counts from when it says so; whoever needs what nobody has said yet computes it
himself. Both find the same. What a thread says too late is not heard: it belongs to a *generation*, one round of the
crew over one chunk, that is over.

Thread 0 begins a generation, and ends it by doing what is missing; the others help. It changes the weights only in
between. The work comes in *pieces*: FEW images and one bank of features.
"""

import os
import queue
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np
from numba import int64

from engine.compiled import compiled
from engine.event import atomic
from engine.event.layout import BANK, Geometry, Weights, aligned, to_banks
from engine.event.peaks import CHUNK, Inputs, Peaks, add_bank, find_bank_peaks, make_inputs, sort_by_pixel

MOST = 8  # threads: what thread 0 does alone leaves no work for more
LEAST = 2_000_000  # additions for an image of which every input spikes: with fewer it takes longer to share them out
FEW = 8  # images of a piece
PIECES = 1 << 20  # more than a generation has: with that many taken there is none
POLLS = 20_000  # for new work before a helper sleeps
PAUSE = 5e-5  # seconds
NICENESS = 15  # of helpers: where others compute, thread 0 should have a core before they do

_helpers = {}  # by their thread in a crew


class Crew(NamedTuple):
    """What the threads share, and the memory of each: that of thread t begins at t · CHUNK images.

    A *mark* is generation · (threads + 1), and thread + 1 more as soon as that thread has said that it is done.
    """

    geometry: Geometry
    weights: Weights
    threads: int
    inputs: Inputs
    peaks: Peaks
    values: np.ndarray  # (threads, …): potentials
    chosen: np.ndarray  # (threads, CHUNK): images, by their place in ``inputs``
    spans: np.ndarray  # (generations, 2): of each, the first image and how many there are
    taken: np.ndarray  # (1,): generation · PIECES + pieces that a thread has begun; -1 before the first
    listed: np.ndarray  # (CHUNK,): marks, of each image whose spikes are listed
    found: np.ndarray  # (pieces,): marks, of each whose peaks are found
    over: np.ndarray  # (1,): whether no generation will follow


def useful_threads(geometry, images, threads):
    """Of so many threads, those that a layer and a number of images are large enough for."""
    offsets = range(geometry.kernel)
    inside = [
        sum(0 <= position + offset - geometry.padding < size for position in range(positions) for offset in offsets)
        for positions, size in ((geometry.out_height, geometry.height), (geometry.out_width, geometry.width))
    ]
    additions = inside[0] * inside[1] * geometry.channels * geometry.features
    return min(threads, MOST) if images > CHUNK and additions >= LEAST else 1


@compiled
def make_crew(geometry, weights, images, threads):
    """For so many images at most."""
    # A thread that is late may read lists while another thread renews them. It finds nonsense that does not count, but
    # it must find numbers in range.
    inputs = make_inputs(threads * CHUNK, geometry)
    inputs.sources[:] = 0
    inputs.first[:] = 0
    size = threads * CHUNK * geometry.stride
    numbers = CHUNK * geometry.out_height * geometry.out_width * BANK
    return Crew(
        geometry,
        weights,
        threads,
        inputs,
        Peaks(np.empty(size, weights.rows.dtype), np.empty(size, np.int32)),
        aligned(threads * numbers, weights.rows).reshape(threads, numbers),
        np.empty((threads, CHUNK), np.int64),
        np.zeros((images, 2), np.int64),
        np.full(1, -1),
        np.full(CHUNK, -1),
        np.full(geometry.stride // BANK * (CHUNK // FEW), -1),
        np.zeros(1, np.int64),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Marks


@compiled
def _clear(crew, marks, generation):
    for i in range(len(marks)):
        atomic.store(marks, i, generation * (crew.threads + 1))


@compiled
def _said(crew, marks, i, generation):
    """The thread that has said so; -1: none yet; -2: none, and the generation is over."""
    since = atomic.load(marks, i) - generation * (crew.threads + 1)
    return since - 1 if 0 <= since <= crew.threads else -2


@compiled
def _say(crew, marks, i, generation, thread):
    """Returns whether it was the first to say so, and in time."""
    none = generation * (crew.threads + 1)
    return atomic.replace(marks, i, none, none + 1 + thread)


# ---------------------------------------------------------------------------------------------------------------------
# Pieces of work


@compiled
def _parts(crew, generation):
    """The pieces of each bank."""
    return -(-crew.spans[generation, 1] // FEW)


@compiled
def _pieces(crew, generation):
    return crew.geometry.stride // BANK * _parts(crew, generation)


@compiled
def _list(crew, latency, generation, image, thread):
    """List the spikes of an image unless that is done; returns who has, or -2: the generation is over."""
    if _said(crew, crew.listed, image, generation) == -1:
        n = crew.spans[generation, 0] + image
        sort_by_pixel(latency[n], crew.geometry.time_steps, crew.inputs, thread * CHUNK + image)
        _say(crew, crew.listed, image, generation, thread)
    return _said(crew, crew.listed, image, generation)


@compiled
def _list_all(crew, latency, generation, thread):
    """List the spikes of all images, each thread beginning elsewhere."""
    images = crew.spans[generation, 1]
    for i in range(images):
        _list(crew, latency, generation, (thread * images // crew.threads + i) % images, thread)


@compiled
def _add(crew, latency, generation, bank, first, last, thread):
    """Find the peaks of a bank of some images; returns whether that counts."""
    chosen, values = crew.chosen[thread], crew.values[thread]
    for image in range(first, last):
        owner = _list(crew, latency, generation, image, thread)
        if owner < 0:
            return False
        chosen[image - first] = owner * CHUNK + image
    add_bank(crew.inputs, chosen[: last - first], crew.geometry, crew.weights.rows, bank, int64(BANK), values)
    for image in range(first, last):
        place = (thread * CHUNK + image) * crew.geometry.stride + bank * BANK
        find_bank_peaks(values, image - first, crew.geometry, crew.peaks, place)
    counts = True
    for part in range(first // FEW, -(-last // FEW)):
        counts &= _say(crew, crew.found, bank * _parts(crew, generation) + part, generation, thread)
    return counts


@compiled
def _take(crew, generation, most):
    """Take some pieces of one bank that nobody has taken: (first, end); fewer as they become rare."""
    parts, pieces = _parts(crew, generation), _pieces(crew, generation)
    while True:
        taken = atomic.load(crew.taken, 0)
        first = taken - generation * PIECES
        if first < 0 or first >= pieces:
            return pieces, pieces
        some = max(1, min(most, (pieces - first) // (2 * crew.threads)))
        end = min(first + some, (first // parts + 1) * parts)
        if atomic.replace(crew.taken, 0, taken, generation * PIECES + end):
            return first, end


@compiled
def _work(crew, latency, generation, most, thread):
    """Do some pieces that nobody has taken; returns how many, negative if they do not count."""
    first, end = _take(crew, generation, most)
    if first == end:
        return 0
    parts = _parts(crew, generation)
    image = first % parts * FEW
    last = min(crew.spans[generation, 1], image + (end - first) * FEW)
    counts = _add(crew, latency, generation, first // parts, image, last, thread)
    return end - first if counts else first - end


# ---------------------------------------------------------------------------------------------------------------------
# Thread 0


@compiled
def find(crew, latency, generation, start, images, changed):
    """The peaks of so many images from ``start`` on with the weights as they are.

    ``changed``: features whose weights are not in the banks yet.
    """
    crew.spans[generation, 0] = start
    crew.spans[generation, 1] = images
    _clear(crew, crew.listed, generation)
    _clear(crew, crew.found, generation)
    atomic.store(crew.taken, 0, generation * PIECES + PIECES - 1)  # from here on the others list spikes
    to_banks(crew.weights.turned, changed, crew.weights.rows)
    _list_all(crew, latency, generation, int64(0))
    if _are_there(crew, generation):
        atomic.store(crew.taken, 0, generation * PIECES)  # and add
        while _work(crew, latency, generation, int64(CHUNK // FEW), int64(0)) != 0:
            pass
    _add_missing(crew, latency, generation)


@compiled
def _are_there(crew, generation):
    """Whether other threads have listed spikes, so that it is worth while to share the rest."""
    others = 0
    for image in range(crew.spans[generation, 1]):
        others += _said(crew, crew.listed, image, generation) > 0
    return others > 0


@compiled
def _add_missing(crew, latency, generation):
    """Find the peaks that nobody has found."""
    parts = _parts(crew, generation)
    for bank in range(crew.geometry.stride // BANK):
        part = 0
        while part < parts:
            end = part
            while end < parts and _said(crew, crew.found, bank * parts + end, generation) < 0:
                end += 1
            if end > part:
                last = min(crew.spans[generation, 1], end * FEW)
                _add(crew, latency, generation, bank, part * FEW, last, int64(0))
            part = end + 1


@compiled
def gather(crew, generation, image, peaks):
    """The peaks of an image, into ``peaks``; returns its place in ``inputs``."""
    parts = _parts(crew, generation)
    for bank in range(crew.geometry.stride // BANK):
        owner = _said(crew, crew.found, bank * parts + image // FEW, generation)
        at = (owner * CHUNK + image) * crew.geometry.stride + bank * BANK
        for f in range(BANK):
            peaks.values[bank * BANK + f] = crew.peaks.values[at + f]
            peaks.places[bank * BANK + f] = crew.peaks.places[at + f]
    return _said(crew, crew.listed, image, generation) * CHUNK + image


# ---------------------------------------------------------------------------------------------------------------------
# The others


@compiled
def help_on(crew, latency, thread):
    """Do what there is, until there has been nothing for a while; returns whether there may be more."""
    last, most, idle = -1, int64(1), 0
    while idle < POLLS:
        if atomic.load(crew.over, 0):
            return False
        generation = atomic.load(crew.taken, 0) // PIECES
        if generation > last:
            last = generation
            _list_all(crew, latency, generation, thread)
        done = _work(crew, latency, generation, most, thread)
        idle = idle + 1 if done == 0 else 0
        if done != 0:  # who was late takes less next time: somebody else had to do it again
            most = min(2 * most, CHUNK // FEW) if done > 0 else int64(1)
    return True


class _Helper:
    """A thread that serves one crew after another, as that thread of each. Nobody waits for it, not even at the end."""

    def __init__(self, thread):
        self._crews = queue.SimpleQueue()
        self.put = self._crews.put
        self._thread = threading.Thread(target=self._serve, args=(thread,), name=f"helper-{thread}", daemon=True)
        self._thread.start()

    def is_alive(self):
        return self._thread.is_alive()  # not in a process that was forked

    def _serve(self, thread):
        if sys.platform == "linux":  # where a thread has a priority of its own
            with suppress(OSError):
                os.nice(NICENESS)
        while True:
            crew, latency = self._crews.get()
            while help_on(crew, latency, thread):
                time.sleep(PAUSE)
            del crew, latency  # the memory is not needed while the thread waits for more


@contextmanager
def helpers(crew, latency):
    """Within the block the crew has its threads besides thread 0."""
    if crew.threads > 1:
        crew.over[0] = 1
        help_on(crew, latency, 1)  # compiled here if it is not yet: numba compiles for one thread at a time
        crew.over[0] = 0
    for thread in range(1, crew.threads):
        if thread not in _helpers or not _helpers[thread].is_alive():
            _helpers[thread] = _Helper(thread)
        _helpers[thread].put((crew, latency))
    try:
        yield
    finally:
        crew.over[0] = 1
