"""One epoch of each phase of ``mozafari2018`` by a script on SpykeTorch and by this program: ``-m benchmarks.epochs``.

Both have the same weights, read the same encoded digits and compute on one thread. They take turns, and the processor
time of the process is measured, so that other programs on the machine disturb less. The script computes image by image
from the input up (``benchmarks.reference``), as SpykeTorch's does. This program computes the layers that do not learn
in the first epoch of a phase only. The encoding is not included.
"""

import statistics
import time

import torch

import imagesets
from benchmarks.__main__ import Trained
from benchmarks.measure import format_header, format_row
from benchmarks.reference import Reference, make_waves
from network_trainer import LatencyDataset, Progress
from utils import describe_environment, set_threads

SCRIPT_IMAGES = 60
OWN_IMAGES = 2000
REPEATS = 5
LATER = 3  # epochs after the first
IMAGES = 60_000
EPOCHS = 2, 4, 680


def measure_script(network: Trained, phase: int) -> float:
    """Return the processor time of a learning step by a script, in ms for each image."""
    weights = [layer.weight for _, layer in network.model.named_layers()]
    script = Reference(weights, network.model.class_of_feature())
    waves = make_waves(network.s1[:SCRIPT_IMAGES], network.model.time_steps)
    labels = network.labels[:SCRIPT_IMAGES].tolist()
    start = time.process_time()
    for wave, label in zip(waves, labels, strict=True):
        if phase == 2:
            script.learn_s3(wave, label)
        else:
            (script.learn_s1, script.learn_s2)[phase](wave)
    return 1000 * (time.process_time() - start) / SCRIPT_IMAGES


def measure_own(network: Trained, phase: int, count: int) -> float:
    """Return the processor time of the first epochs of a phase by this program, in ms for each image."""
    network.reset()
    train = LatencyDataset(network.s1[:OWN_IMAGES], network.labels[:OWN_IMAGES])
    epochs = [count * (number == phase) for number in range(len(EPOCHS))]
    start = time.process_time()
    network.model.fit(train, None, epochs, progress=Progress(phase=phase))
    return 1000 * (time.process_time() - start) / OWN_IMAGES


def measure(network: Trained, phase: int) -> tuple[float, float, float]:
    """Return the processor times in ms for each image: of a script, and of this program, first and later epochs."""
    first = measure_own(network, phase, 1)
    later = (measure_own(network, phase, 1 + LATER) - first) / LATER
    return measure_script(network, phase), first, later


def main() -> None:
    set_threads(1)
    about = describe_environment()
    print(f"{about['processor']}, commit {about['git_commit']}, torch {torch.__version__}, one thread, processor time")
    columns = "script, ms an image", "this program, first epoch", "ratio", "later epochs", "ratio"
    print(format_header(("phase", *columns)))
    network = Trained(imagesets.load("mnist"))
    totals = [0.0, 0.0]
    for phase, epochs in enumerate(EPOCHS):
        measured = [measure(network, phase) for _ in range(1 + REPEATS)][1:]
        script, first, later = (statistics.median(values) for values in zip(*measured, strict=True))
        totals = [totals[0] + epochs * script, totals[1] + first + (epochs - 1) * later]
        ratios = []
        for number in (1, 2):
            found = [times[0] / times[number] for times in measured]
            ratios.append(f"{statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})")
        name = list(network.model.phases)[phase].name
        print(format_row((name, f"{script:.2f}", f"{first:.4f}", ratios[0], f"{later:.4f}", ratios[1])))
    hours = [total * IMAGES / 3_600_000 for total in totals]
    print(f"{EPOCHS} epochs of {IMAGES:,} images, computed from these: {hours[0]:.0f} h and {hours[1]:.2f} h")


if __name__ == "__main__":
    main()
