"""Measure the speed of decision layers beside other programs: ``python -m benchmarks.busy``, on a quiet machine.

The decision layer of each network learns from the same images on one thread and on all threads, alternately, beside
0, 1, 2 and 3 processes that compute without end. ``additions``: of an image in which all inputs spike; below
``FEW_ADDITIONS`` of engine/event/backend.py, a layer uses one thread. ``fair`` is the computing time of n threads that
never wait for each other, in multiples of that of one thread: min(n, n · cores / (n + busy)). ``share`` is the part of
it that all threads use, relative to one thread without other processes.

With ``--sessions``, each busy process is in a separate session, like a process of another user. Linux divides the cores
among sessions first, so all n threads together get cores / (1 + busy).
"""

import argparse
import math
import multiprocessing
import os
import statistics
import time
from contextlib import contextmanager

import torch

import imagesets
from benchmarks.measure import learn, train_features
from engine.event import backend
from engine.event.layout import BANK
from models import build_model, network_names
from s1c1 import S1C1
from utils import describe_environment, set_threads

FEATURES_FROM, IMAGES = 10_000, 3000
LEAST_SECONDS = 0.5  # of one measurement: the scheduler switches between processes many times in it


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="networks (default: all with a decision stage)")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 3], help="processes (default: 0 1 2 3)")
    parser.add_argument("--sessions", action="store_true", help="start each busy process in a separate session")
    parser.add_argument("--repeats", type=int, default=7, help="number of measurements (default: %(default)s)")
    args = parser.parse_args()
    record = describe_environment()
    cores = set_threads(0)
    print(f"{record['processor']}, {cores} cores; decision layers on {IMAGES:,} images, images/s\n")
    header = "network", "additions", "busy", "1 thread", f"{cores} threads", f"{cores} to 1", "fair", "share"
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    data, encoder = imagesets.load("mnist"), S1C1()
    latencies = encoder.encode(data.train_images[:FEATURES_FROM])
    labels = torch.from_numpy(data.train_labels[:IMAGES])
    for name in args.models or network_names():
        model = build_model(name)
        if model.decision is None:
            continue
        set_threads(0)
        train_features(model, latencies)
        inputs = model.map_of(latencies[:IMAGES], model.input_name(model.phases[-1].stages[0]))[:]
        below = model.map_of(latencies[:1], model.input_name(model.decision))[:]
        layers = model.stages[model.decision].layers
        additions = sum(backend.count_additions(backend.geometry_of(layer, below, BANK)) for layer in layers)
        alone = None
        for busy in args.busy:
            with run_busy_processes(busy, args.sessions):
                speeds = measure(model, inputs, labels, (1, cores), args.repeats)
            one, several = (statistics.median(speeds[threads]) for threads in (1, cores))
            alone = alone or one
            fair = min(cores, cores / (1 + busy) if args.sessions and busy else cores * cores / (cores + busy))
            print(
                f"| {name} | {additions:,} | {busy} | {one:,.0f} | {several:,.0f} | {several / one:.2f} | "
                f"{fair:.2f} | {several / alone / fair:.2f} |",
                flush=True,
            )


def measure(model, inputs, labels, threads, repeats):
    """Return {threads: images/s of each of ``repeats`` measurements}, made alternately and from the same weights."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    speeds, rounds = {count: [] for count in threads}, 1
    few = backend.FEW_ADDITIONS
    backend.FEW_ADDITIONS = 0  # all layers use as many threads as there are
    for repeat in range(repeats + 1):
        for count in threads:
            set_threads(count)
            seconds = 0.0
            for _ in range(rounds):
                model.load_state_dict(state)
                start = time.perf_counter()
                learn(model, inputs, labels)
                seconds += time.perf_counter() - start
            if repeat > 0:  # the first one is a warm-up
                speeds[count].append(rounds * len(inputs) / seconds)
        rounds = max(rounds, math.ceil(rounds * LEAST_SECONDS / seconds))
    backend.FEW_ADDITIONS = few
    model.load_state_dict(state)
    return speeds


@contextmanager
def run_busy_processes(count, sessions):
    """Run ``count`` processes that compute until the end of the block. ``sessions``: each in a separate session."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=compute, args=(sessions,), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    time.sleep(2 * bool(count))  # until they compute
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def compute(session):
    if session and hasattr(os, "setsid"):
        os.setsid()
    number = 1
    while True:
        number = number * 1103515245 + 12345 & 0x7FFFFFFF


if __name__ == "__main__":
    main()
