"""What happens before the first image: every kernel is compiled, or taken from the disk.

numba's compiler holds one lock for all threads of a process. So at a first start a second process compiles what the
supervised phase needs, and leaves it on the disk, while this one compiles the rest.
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

from engine.compiled import counts, keeps_kernels
from engine.event.peaks import CHUNK
from engine.packed import PackedLatencies
from engine.stages import SpikingDense

HELPER = """
import io, pickle, sys
sent = io.BytesIO(sys.stdin.buffer.read())
sys.path[:] = pickle.load(sent)
from training.first_start import decide_and_learn
from utils import set_threads
model, size, threads = pickle.load(sent)
set_threads(threads)
decide_and_learn(model, size)
"""


def warm_up(model, encoder, image_shape, log):
    """Have every kernel compiled that training needs, before the first image counts. image_shape: (H, W[, 3])."""
    if model.backend != "event":
        return
    notice = threading.Timer(
        2.0, log.say, ["compiling the kernels for this machine: up to half a minute, at the first start only"]
    )
    notice.start()
    twin, helper, compiled = copy.deepcopy(model), None, counts["compiled"]
    try:
        packed = PackedLatencies(1, (1, 1, 1), model.time_steps)  # quickly compiled, and there is no start without it
        packed.write(0, torch.zeros((1, 1, 1, 1), dtype=torch.uint8))
        packed[:]
        if counts["compiled"] > compiled and model.decision is not None and keeps_kernels() and joblib.cpu_count() > 1:
            helper = _start_helper(twin, image_shape[:2])
        latencies = encoder.encode(np.zeros((1, *image_shape), np.uint8))
        for phase in twin.phases:
            for name in () if phase.needs_labels else phase.stages:
                twin.train_unsupervised(latencies, name)
        if twin.decision is None:
            twin.pass_through(latencies, twin.between(None, None))
            return
        twin.input_of(twin.phases[-1].stages[0], latencies)
        if helper:
            helper.wait()
        decide_and_learn(twin, image_shape[:2])
    finally:
        if helper:
            helper.kill()
            helper.wait()
        notice.cancel()


def decide_and_learn(model, size):
    """The supervised phase alone, of an image (height, width) in which nothing spikes."""
    first = model.phases[-1].stages[0]
    stage, shapes = model.stages[first], model.shapes(*size)
    shape = (stage.in_channels, 1, 1) if isinstance(stage, SpikingDense) else shapes[model.inputs_of(first)[0]]
    images = 1 if get_num_threads() == 1 else CHUNK + 1  # with fewer, nobody helps
    inputs = torch.full((images, *shape), model.time_steps, dtype=torch.uint8)
    for _ in range(2):  # networks that alternate have two ways of learning
        model.learn_rstdp(inputs, torch.zeros(images, dtype=torch.int64))
    model.decide(inputs, first)


def _start_helper(model, size):
    """A process that runs ``decide_and_learn``; None where the network cannot be sent to one.

    It is no copy of this program, whose script might begin to train there too. What it cannot do is done here.
    """
    try:
        sent = pickle.dumps(sys.path) + pickle.dumps((model, size, get_num_threads()))
    except (pickle.PicklingError, AttributeError, TypeError):  # of a class that was declared in a function
        return None
    with _without_interrupts():
        process = subprocess.Popen(
            [sys.executable, "-c", HELPER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(sent)
    return process


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
