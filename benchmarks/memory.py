"""Measure the memory of a run: ``python -m benchmarks.memory``, on Linux.

Each network trains for one epoch of each phase, with all figures, on MNIST, and ``mozafari2018`` also on 240,000 images
(MNIST four times, shifted by up to two pixels). The table shows the peaks of the anonymous memory of the process (which
the system cannot drop) and of its resident memory (with the pages of files), and the time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import imagesets
from benchmarks.measure import format_header, format_row
from models import MODELS, network_names
from utils import ROOT, find_processor

SHIFTS = (0, 0), (2, 0), (0, 2), (-2, -2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(default: all)")
    args = parser.parse_args()
    print(f"{find_processor()}, {os.cpu_count()} cores\n")
    print(format_header(("network", "training images", "anonymous, MB", "resident, MB", "s")))
    mnist = imagesets.load("mnist")
    of_digits = [name for name in network_names() if name != "mozafari2018_shallow"]  # which reads larger pictures
    for name in args.models or of_digits:
        measure(name, len(mnist.train_labels), "mnist")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist-times-4.npz"
        images = np.concatenate([np.roll(mnist.train_images, shift, (1, 2)) for shift in SHIFTS])
        labels = np.tile(mnist.train_labels, len(SHIFTS))
        np.savez(path, x_train=images, y_train=labels, x_test=mnist.test_images, y_test=mnist.test_labels)
        del images, labels
        measure("mozafari2018", 4 * len(mnist.train_labels), str(path))


def measure(name, images, dataset):
    """Train the network and print its row of the table."""
    with tempfile.TemporaryDirectory() as output:
        epochs = ["1"] * len(MODELS[name].epochs)
        words = ["train.py", "--model", name, "--epochs", *epochs, "--augment", "none", "--dataset", dataset]
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *words, "--output", output], cwd=ROOT, stdout=subprocess.DEVNULL)
        anonymous = resident = 0
        while process.poll() is None:
            status = read_memory(process.pid)
            anonymous = max(anonymous, status.get("RssAnon", 0))
            resident = max(resident, status.get("VmHWM", 0))
            time.sleep(0.02)
        if process.returncode:
            sys.exit(f"{' '.join(words)} ended with {process.returncode}")
        seconds = time.perf_counter() - start
        megabytes = f"{anonymous / 1024:,.0f}", f"{resident / 1024:,.0f}"
        print(format_row((name, f"{images:,}", *megabytes, f"{seconds:.0f}")), flush=True)


def read_memory(process):
    """Return {field of /proc/…/status: kB} of a process; empty after it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if " kB" in value}


if __name__ == "__main__":
    main()
