"""Measure ``results/logs/speed.md``: ``python -m benchmarks``. It took 21 minutes on a virtual machine."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import imagesets
from benchmarks.reference import Reference, make_waves
from benchmarks.timing import measure_per_image
from models.mozafari2018 import Mozafari2018
from s1c1 import S1C1
from utils import ROOT, describe_environment, get_peak_memory, set_threads

TRAINED_ON = 10_000  # images that each phase learns from before it is measured
REFERENCE_IMAGES = 20
IMAGES = 2000
BATCH = 1000
DEFAULT_ENCODER = S1C1()

START = """
import time
start = time.perf_counter()
import engine
import numpy as np
import torch
from models import build_model
from s1c1 import S1C1
print(time.perf_counter() - start)
model, images = build_model("mozafari2018"), np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
latencies = S1C1().encode(images)
for stage in ("s1", "s2"):
    model.train_unsupervised(latencies, stage)
    print(time.perf_counter() - start)
model.train_rl(latencies, torch.zeros(20, dtype=torch.int64))
print(time.perf_counter() - start)
"""


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--output", default=str(ROOT / "results" / "logs" / "speed.md"))
    parser.add_argument("--quick", action="store_true", help="measure one table with few images, as a test")
    args = parser.parse_args(argv)
    global REFERENCE_IMAGES, IMAGES, TRAINED_ON
    if args.quick:
        REFERENCE_IMAGES, IMAGES, TRAINED_ON = 2, 100, 300

    record = describe_environment()
    set_threads(0)
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    text = [
        f"# Speed\n\nWritten by `python -m benchmarks`: {record['processor']}, {record['cores']} cores, {versions}.",
        "Milliseconds per image: the median of seven repeats after a warm-up, and the range; in tables of growth the "
        "median of five.\n",
    ]
    sections = [make_stage_table] if args.quick else [make_stage_table, make_start_table, make_growth_tables]
    network = Trained(imagesets.load("mnist"))
    for section in sections:
        lines = "\n".join(section(network))
        print(lines, flush=True)
        text += [f"{lines}\n"]
    if get_peak_memory():
        text += [f"Peak memory of this benchmark: {get_peak_memory():,.0f} MB."]
    Path(args.output).write_text("\n".join(text) + "\n", encoding="utf-8")


def learn(model, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """Train the last phase for one epoch, in batches; ``inputs`` are the maps that its first stage reads."""
    rng = np.random.default_rng(0)
    for part, those in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
        model.phases[-1].learn(model, part, those, rng=rng)


def format_row(cells: Sequence) -> str:
    """Return the row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def format_header(cells: Sequence) -> str:
    """Return the two rows with which a Markdown table begins."""
    return f"{format_row(cells)}\n{'|---' * len(cells)}|"


class Trained:
    """mozafari2018 after some training, and the inputs of its stages."""

    def __init__(self, data, overrides=None, encoder=DEFAULT_ENCODER, images=None):
        self.data = data
        self.images = data.train_images[:TRAINED_ON] if images is None else images
        self.labels = torch.from_numpy(data.train_labels[: len(self.images)])
        self.encoder = encoder
        self.model = Mozafari2018(
            in_channels=encoder.channels, num_classes=10, time_steps=encoder.time_steps, overrides=overrides
        )
        self.s1 = self.encoder.encode(self.images)
        self.model.train_unsupervised(self.s1, "s1")
        self.s2 = self.model.map_of(self.s1, "c1")
        self.model.train_unsupervised(self.s1, "s2")
        self.s3 = self.model.map_of(self.s1, "c2")
        learn(self.model, self.s3, self.labels)
        self.state = {key: value.clone() for key, value in self.model.state_dict().items()}

    def reset(self):
        self.model.load_state_dict(self.state)

    def list_event_work(self):
        """Return {row of the table: (work, images)} of the event backend."""
        count = min(IMAGES, len(self.s1))
        s1, s2, s3, labels = self.s1[:count], self.s2[:count], self.s3[:count], self.labels[:count]
        return {
            "s1 STDP step": (lambda: self.model.phases[0].learn(self.model, s1), count),
            "s2 STDP step": (lambda: self.model.phases[1].learn(self.model, s2), count),
            "s3 R-STDP step": (lambda: learn(self.model, s3, labels), count),
            "evaluation": (lambda: self.model.predict(s1), count),
            "encoding": (lambda: self.encoder.encode(self.images[:count]), count),
        }

    def list_reference_work(self):
        """Return the same rows for the SpykeTorch-style reference. It encodes with tensors, image by image."""
        count = REFERENCE_IMAGES
        weights = [layer.weight for _, layer in self.model.named_layers()]
        network = Reference(weights, self.model.class_of_feature())
        wave = make_waves(self.s1[:count], self.model.time_steps)
        labels = self.labels[:count].tolist()
        chain = make_tensor_encoder(self.model.time_steps)
        pictures = torch.from_numpy(self.images[:count]).float()[:, None, None]

        def every(function, *columns):
            return lambda: [function(*row) for row in zip(*columns, strict=True)], count

        return {
            "s1 STDP step": every(network.learn_s1, wave),
            "s2 STDP step": every(network.learn_s2, wave),
            "s3 R-STDP step": every(network.learn_s3, wave, labels),
            "evaluation": every(network.evaluate, wave),
            "encoding": every(chain, pictures),
        }


def make_tensor_encoder(steps):
    """Return S1C1 made of SpykeTorch's operations: (1, 1, H, W) of 0 to 255 → wave (T, 6, H, W)."""
    from SpykeTorch import functional as sf
    from SpykeTorch.utils import DoGKernel, Filter, Intensity2Latency

    pairs = [(3, 3 / 9, 6 / 9), (7, 7 / 9, 14 / 9), (13, 13 / 9, 26 / 9)]
    kernels = [DoGKernel(w, *sigmas) for w, a, b in pairs for sigmas in ((a, b), (b, a))]
    responses = Filter(kernels, padding=6, thresholds=50)
    latency = Intensity2Latency(steps, to_spike=True)
    return lambda picture: latency(sf.local_normalization(responses(picture), 8))


def make_stage_table(network):
    """Measure each step of mozafari2018 with the reference and with the event backend."""
    lines = [
        f"## Each step of mozafari2018\n\nTrained on {len(network.images):,} images of MNIST. The reference goes from "
        "the input up, as upstream scripts do; the event backend's input is cached where the stages below do not "
        "learn, as in a training run."
    ]
    for threads in sorted({1, set_threads(0)}):
        set_threads(threads)
        header = "", "SpykeTorch-style reference", "event backend", "ratio"
        lines += [f"\n### {threads} thread{'s' * (threads > 1)}\n", format_header(header)]
        slow, fast = network.list_reference_work(), network.list_event_work()
        for row in slow:
            network.reset()
            a = measure_per_image(*slow[row])
            b = measure_per_image(*fast[row], prepare=network.reset)
            lines.append(format_row((row, a, b, f"{a.median / b.median:.0f}")))
    set_threads(0)
    return lines


def make_start_table(network):
    """Measure the time until each phase has learned, at a first start, which compiles, and at a later start."""
    lines = [
        "## Start\n\nSeconds from the start until all is imported, and until each phase has learned from 20 images.\n",
        format_header(("", "imports", "s1", "s2", "s3")),
    ]
    with tempfile.TemporaryDirectory() as cache:
        for start in ("first start: compiles", "every other start: from the disk"):
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            command = [sys.executable, "-c", START]
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            lines.append(format_row((start, *(f"{float(seconds):.1f}" for seconds in done.stdout.split()))))
    return lines


def make_growth_tables(network):
    """Measure how the times of the event backend grow with each size of the network and of its input."""
    data = network.data
    filters = [(window, window / 9 * small, window / 9 * 2 * small) for small in (1, 0.8, 1.2) for window in (3, 7, 13)]
    encoders = [S1C1(filters=filters[:count]) for count in (1, 3, 9)]
    cases = {
        "time steps": {steps: {"encoder": S1C1(time_steps=steps)} for steps in (5, 15, 30)},
        "channels of the encoder": {encoder.channels: {"encoder": encoder} for encoder in encoders},
        "features of s2, which s3 reads": {
            count: {"overrides": {"s2.out_channels": count}} for count in (60, 250, 1000)
        },
        "features of s3": {count: {"overrides": {"s3.out_channels": count}} for count in (50, 200, 800)},
        "pixels of an image": {side**2: {"images": resize(data.train_images[:1000], side)} for side in (28, 56, 112)},
    }
    lines = [
        f"## Growth\n\nAll {torch.get_num_threads()} threads, ms per image. In brackets: the fraction of a time that "
        "grows in proportion to the first column."
    ]
    for title, sizes in cases.items():
        rows = {}
        for options in sizes.values():
            trained = Trained(data, **options)
            for row, work in trained.list_event_work().items():
                rows.setdefault(row, []).append(measure_per_image(*work, prepare=trained.reset, repeats=5).median)
        lines.append(f"\n{format_header((title, *sizes))}")
        for row, (first, *others) in rows.items():
            smallest, *larger = sizes
            shares = [value / first * smallest / size for value, size in zip(others, larger, strict=True)]
            cells = [f"{value:.3f} ({share:.2f})" for value, share in zip(others, shares, strict=True)]
            lines.append(format_row((row, f"{first:.3f}", *cells)))
    return lines


def resize(images, side):
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in images])


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s")
