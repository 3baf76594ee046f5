"""One epoch of each phase of ``mozafari2018`` by a script on SpykeTorch and by this program: ``-m benchmarks.epochs``.

Both have the same weights, read the same encoded digits and compute on one thread. They take turns, and the processor
time of the process is measured, so that other programs on the machine disturb less. The script computes image by image
from the input up (``benchmarks.reference``), as SpykeTorch's does. This program computes the layers that do not learn
once for the epoch, which is included; the encoding is not.
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
EPOCH = 60_000  # images
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


def measure_own(network: Trained, phase: int) -> float:
    """Return the processor time of an epoch of this program, in ms for each image."""
    network.reset()
    train = LatencyDataset(network.s1[:OWN_IMAGES], network.labels[:OWN_IMAGES])
    epochs = [int(number == phase) for number in range(len(EPOCHS))]
    start = time.process_time()
    network.model.fit(train, None, epochs, progress=Progress(phase=phase))
    return 1000 * (time.process_time() - start) / OWN_IMAGES


def main() -> None:
    set_threads(1)
    about = describe_environment()
    print(f"{about['processor']}, commit {about['git_commit']}, torch {torch.__version__}, one thread, processor time")
    print(
        format_header(
            ("phase", "script, ms an image", "this program, ms", "ratio", "script, min an epoch", "this, min")
        )
    )
    network = Trained(imagesets.load("mnist"))
    totals = [0.0, 0.0]
    for phase, epochs in enumerate(EPOCHS):
        pairs = [(measure_script(network, phase), measure_own(network, phase)) for _ in range(1 + REPEATS)][1:]
        script, own = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratios = sorted(a / b for a, b in pairs)
        minutes = [value * EPOCH / 60_000 for value in (script, own)]
        totals = [total + epochs * value for total, value in zip(totals, minutes, strict=True)]
        spread = f"{script / own:.0f} ({ratios[0]:.0f} to {ratios[-1]:.0f})"
        name = list(network.model.phases)[phase].name
        print(format_row((name, f"{script:.2f}", f"{own:.4f}", spread, f"{minutes[0]:.1f}", f"{minutes[1]:.2f}")))
    hours = [total / 60 for total in totals]
    print(f"{EPOCHS} epochs of {EPOCH:,} images, computed from these: {hours[0]:.0f} h and {hours[1]:.1f} h")


if __name__ == "__main__":
    main()
