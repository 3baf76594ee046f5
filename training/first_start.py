"""What happens before the first image of a phase: its kernels are compiled, or taken from the disk.

A first start compiles for half a minute, and numba's compiler holds one lock for all threads of a process. So a second
process compiles what the phases need, one phase after another, and leaves it on the disk, while this one reads and
encodes the images and trains the phases that are ready.
"""

import copy
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import joblib
import numpy as np
import torch
from numba import get_num_threads

from engine.compiled import is_kept, keeps_kernels
from engine.event.layout import aligned
from engine.event.peaks import CHUNK
from engine.packed import PackedLatencies

HELPER = """
import io, pickle, sys
sent = io.BytesIO(sys.stdin.buffer.read())
sys.path[:] = pickle.load(sent)
from training.first_start import learn_nothing
from utils import set_threads
model, size, threads, phases = pickle.load(sent)
set_threads(threads)
for number in phases:
    learn_nothing(model, number, size)
    print(number, flush=True)
"""


@contextmanager
def kernels(model, encoder, image_shape, first, log):
    """Meanwhile kernels come to be as they are needed: those of the encoder are there.

    Yields a function of a phase's number, which returns when those of the phase are, too. first: the phase in which
    the training begins. image_shape: (H, W[, 3]).
    """
    if model.backend != "event":
        yield lambda number: None
        return
    twin, size, there, helper = copy.deepcopy(model), image_shape[:2], set(), None
    cold = not is_kept(aligned, 1, np.empty(1, np.float32))  # which every network needs
    if cold and keeps_kernels() and joblib.cpu_count() > 1:
        helper = _start_helper(twin, size, range(first, len(model.phases)))

    def ready(number):
        if number in there:
            return
        with _notice(log):
            _wait_for(helper, number)
            learn_nothing(twin, number, size)  # what could not be done elsewhere is done here
        there.add(number)

    try:
        with _notice(log):
            packed = PackedLatencies(1, (1, 1, 1), model.time_steps)
            packed.write(0, torch.zeros((1, 1, 1, 1), dtype=torch.uint8))
            packed[:]
            encoder.encode(np.zeros((1, *image_shape), np.uint8))
        yield ready
    finally:
        if helper:
            helper.kill()
            helper.wait()
            helper.stdout.close()


def learn_nothing(model, number, size):
    """Go through the phase of that number with images (height, width) in which nothing spikes.

    With several threads they are as many as it takes for them to share the work.
    """
    phase, images = model.phases[number], 1 if get_num_threads() == 1 else CHUNK + 1
    latencies = torch.full((images, model.in_channels, *size), model.time_steps, dtype=torch.uint8)
    first = phase.stages[0]
    if not phase.needs_labels:
        model.train_unsupervised(latencies, first)
        return
    inputs = model.input_of(first, latencies)
    for _ in range(2):  # networks that alternate have two ways of learning
        model.learn_rstdp(inputs, torch.zeros(images, dtype=torch.int64))
    model.decide(inputs, first)


@contextmanager
def _notice(log):
    """Say why it takes so long, if it does."""
    notice = threading.Timer(2.0, log.info, ["compiling the kernels for this machine, at the first start only"])
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


def _start_helper(model, size, phases):
    """A process that does the phases' ``learn_nothing``, and says after each which; None where the network cannot be
    sent to one. It is no copy of this program, whose script might begin to train there too."""
    try:
        sent = pickle.dumps(sys.path) + pickle.dumps((model, size, get_num_threads(), phases))
    except (pickle.PicklingError, AttributeError, TypeError):  # of a class that was declared in a function
        return None
    with _without_interrupts():
        process = subprocess.Popen(
            [sys.executable, "-c", HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(sent)
    return process


def _wait_for(helper, number):
    """Until the process has done that phase, or has ended."""
    while helper and (line := helper.stdout.readline()):
        if line.split()[:1] == [str(number).encode()]:
            return


@contextmanager
def _without_interrupts():
    """What is started here does not hear Ctrl-C: it ends with this process, which does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
