"""How threads share a machine: ``python -m benchmarks.busy``, on one where nothing else runs.

Beside 0, 1, 2 and 3 processes that do nothing but compute, the decision layer of each network learns from the same
images on one thread, on all, and on what ``--threads auto`` chooses, alternately. ``fair`` is what n threads that never
wait for each other could get of the cores, min(n, n · cores / (n + busy)) threads' worth, and ``share`` how much of
that ``auto`` made of it, measured by one thread alone beside nothing. With ``--sessions`` the processes are as those of
other users: Linux shares the cores out among sessions first, and n threads together get cores / (1 + busy), as one.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import time
from contextlib import contextmanager

import torch

import datasets
from benchmarks.measure import learn, train_features
from engine.event import pace
from models import build_model, network_names
from s1c1 import S1C1
from utils import describe_environment, set_threads

FEATURES_FROM, IMAGES = 10_000, 3000
LEAST_SECONDS = 0.5  # of one measurement: in less the scheduler may not come round to everybody


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(default: all that decide)")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 3], help="processes (default: 0 1 2 3)")
    parser.add_argument("--sessions", action="store_true", help="each busy process is a session of its own")
    parser.add_argument("--repeats", type=int, default=7, help="of which the median counts (default: %(default)s)")
    args = parser.parse_args()
    record = describe_environment()
    cores = set_threads(0)
    print(f"{record['processor']}, {cores} cores; decision layers on {IMAGES:,} images, images/s\n")
    header = "network", "busy", "1 thread", f"{cores} threads", "auto", f"{cores} to 1", "auto to 1", "fair", "share"
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    data, encoder = datasets.load("mnist"), S1C1()
    latencies = encoder.encode(data.train_images[:FEATURES_FROM])
    labels = torch.from_numpy(data.train_labels[:IMAGES])
    for name in args.models or network_names():
        model = build_model(name)
        if model.decision is None:
            continue
        set_threads(0)
        train_features(model, latencies)
        inputs = model.map_of(latencies[:IMAGES], model.input_name(model.phases[-1].stages[0]))[:]
        alone = None
        for busy in args.busy:
            with busy_processes(busy, args.sessions):
                speeds = measure(model, inputs, labels, (1, cores, "auto"), args.repeats)
            one, several, auto = (statistics.median(speeds[threads]) for threads in (1, cores, "auto"))
            alone = alone or one
            fair = min(cores, cores / (1 + busy) if args.sessions and busy else cores * cores / (cores + busy))
            print(
                f"| {name} | {busy} | {one:,.0f} | {several:,.0f} | {auto:,.0f} | {several / one:.2f} | "
                f"{auto / one:.2f} | {fair:.2f} | {auto / alone / fair:.2f} |",
                flush=True,
            )


def measure(model, inputs, labels, threads, repeats):
    """{threads: images/s, ``repeats`` times each, alternately}, always of the same weights."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    speeds, rounds = {count: [] for count in threads}, 1
    pace.paces.clear()
    for repeat in range(repeats + 2):
        for count in threads:
            set_threads(count)
            pace.automatic = count == "auto"
            seconds = 0.0
            for _ in range(rounds):
                model.load_state_dict(state)
                start = time.perf_counter()
                learn(model, inputs, labels)
                seconds += time.perf_counter() - start
            if repeat > 1:  # the first two are a warm-up, in which the trials end
                speeds[count].append(rounds * len(inputs) / seconds)
        rounds = max(rounds, math.ceil(rounds * LEAST_SECONDS / seconds))
    pace.automatic = False
    model.load_state_dict(state)
    return speeds


@contextmanager
def busy_processes(count, sessions):
    """So many processes that only compute, each in a session of its own or not, until the end of the block."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=compute, args=(sessions,), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    time.sleep(2 * bool(count))  # until they do
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
