"""Measure ``results/logs/speed.md``: ``python -m benchmarks``. It took 21 minutes on a virtual machine."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import imagesets
from benchmarks.measure import format_header, format_row, learn
from benchmarks.operations import count_operations, find_last_steps, measure_plain_additions
from benchmarks.reference import Reference, make_waves
from benchmarks.timing import measure_per_image
from models.mozafari2018 import Mozafari2018
from s1c1 import S1C1
from utils import ROOT, describe_environment, get_peak_memory, set_threads

TRAINED_ON = 10_000  # images that each phase learns from before it is measured
REFERENCE_IMAGES = 20
IMAGES = 2000
DEFAULT_ENCODER = S1C1()
LINE = "In brackets: the fraction of a time that grows in proportion to the first column."

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
    parser.add_argument("--quick", action="store_true", help="measure two tables with few images, as a test")
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
    sections = [make_stage_table, make_operations_table]
    if not args.quick:
        sections += [make_start_table, make_images_table, make_steps_table, make_channels_table]
        sections += [make_firing_table, make_features_table, make_size_table]
    network = Trained(imagesets.load("mnist"))
    for section in sections:
        lines = "\n".join(section(network))
        print(lines, flush=True)
        text += [f"{lines}\n"]
    if get_peak_memory():
        text += [f"Peak memory of this benchmark: {get_peak_memory():,.0f} MB."]
    Path(args.output).write_text("\n".join(text) + "\n", encoding="utf-8")


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

    def list_event_work(self, count=None):
        """Return {row of the table: (work, images)} of the event backend."""
        count = min(count or IMAGES, len(self.s1))
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


def make_operations_table(network):
    """Count synaptic operations per image, and measure their speed as a fraction of that of plain additions."""
    set_threads(1)
    limit = measure_plain_additions()
    model, count = network.model, min(IMAGES, len(network.s1))
    s1, s2, s3 = (model.stages[name] for name in ("s1", "s2", "s3"))
    maps = [inputs[:count] for inputs in (network.s1, network.s2, network.s3)]
    last = []
    for layer, inputs in zip((s1, s2), maps, strict=False):
        network.reset()
        last.append(find_last_steps(layer.learn_features(inputs, layer.stage.rule), model.time_steps))
    network.reset()
    fast = network.list_event_work()
    rows = {
        "s1 STDP step": (fast["s1 STDP step"], count_operations(s1, maps[0], last[0])),
        "s2 STDP step": (fast["s2 STDP step"], count_operations(s2, maps[1], last[1])),
        "s3 R-STDP step": (fast["s3 R-STDP step"], count_operations(s3, maps[2])),
        "s1 firing": ((lambda: s1.fire(maps[0], 2), count), count_operations(s1, maps[0])),
        "s2 firing": ((lambda: s2.fire(maps[1], 3), count), count_operations(s2, maps[1])),
        "s3 deciding": ((lambda: s3.peaks(maps[2]), count), count_operations(s3, maps[2])),
    }
    header = "", "operations per image", "ms per image", "giga-operations per second", "fraction of plain"
    lines = [
        "## Synaptic operations, one thread\n\nOne addition of one weight is one operation. Learning follows an image "
        "only to the time step of its last winner, so it needs fewer than firing (at most as many as counted here: "
        "operations that are skipped at inhibited positions are counted too). Plain additions (`p += w`, float32, "
        f"innermost cache) on this core, in this run: {limit:.1f} giga-operations per second.\n",
        format_header(header),
    ]
    total_operations = total_time = 0.0
    for row, (work, operations) in rows.items():
        timing = measure_per_image(*work, prepare=network.reset)
        speed = operations / timing.median / 1e6
        lines.append(format_row((row, f"{operations:,.0f}", timing, f"{speed:.1f}", f"{speed / limit:.2f}")))
        if "step" not in row:
            total_operations, total_time = total_operations + operations, total_time + timing.median
    speed = total_operations / total_time / 1e6
    total = "whole network", f"{total_operations:,.0f}", f"{total_time:.3f}", f"{speed:.1f}", f"{speed / limit:.2f}"
    set_threads(0)
    return [*lines, format_row(total)]


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


def make_growth_table(title, unit, cases, power=0):
    """Measure the event backend, with a column for each case {name: (size, network, number of images)}.

    power: a time that grows in proportion is a constant times size ** power.
    """
    sizes, rows = [], {}
    for size, network, count in cases.values():
        sizes.append(size)
        for row, work in network.list_event_work(count).items():
            rows.setdefault(row, []).append(measure_per_image(*work, prepare=network.reset, repeats=5).median)
    lines = [f"## Growth with {title}\n\nAll {torch.get_num_threads()} threads, ms per image. {LINE}\n"]
    lines.append(format_header((unit, *cases)))
    for row, values in rows.items():
        line = [values[0] * (size / sizes[0]) ** power for size in sizes]
        cells = [f"{value:.3f} ({value / expected:.2f})" for value, expected in zip(values, line, strict=True)]
        lines.append(format_row((row, *cells)))
    return lines


def make_images_table(network):
    whole = Trained(network.data, images=network.data.train_images)
    cases = {f"{count:,}": (count, whole, count) for count in (1000, 10_000, 60_000)}
    return make_growth_table("the number of images", "images", cases)


def make_steps_table(network):
    cases = {}
    for steps in (5, 15, 30):
        cases[str(steps)] = steps, Trained(network.data, encoder=S1C1(time_steps=steps)), IMAGES
    return make_growth_table("the time steps", "T", cases, power=1)


def make_channels_table(network):
    filters = [(window, window / 9 * small, window / 9 * 2 * small) for small in (1, 0.8, 1.2) for window in (3, 7, 13)]
    cases = {}
    for count in (1, 3, 9):
        encoder = S1C1(filters=filters[:count])
        cases[str(encoder.channels)] = encoder.channels, Trained(network.data, encoder=encoder), IMAGES
    return make_growth_table("the channels of the encoder", "channels", cases, power=1)


def make_firing_table(network):
    cases = {str(f): (f, Trained(network.data, {"s2.out_channels": f}), IMAGES) for f in (60, 250, 1000)}
    return make_growth_table("the features of s2, which s3 reads", "features", cases, power=1)


def make_features_table(network):
    cases = {str(f): (f, Trained(network.data, {"s3.out_channels": f}), IMAGES) for f in (50, 200, 800)}
    return make_growth_table("the features of the decision layer", "features", cases, power=1)


def make_size_table(network):
    cases = {}
    for size in (28, 56, 112):
        pictures = [
            np.asarray(Image.fromarray(image).resize((size, size))) for image in network.data.train_images[:1000]
        ]
        cases[f"{size}×{size}"] = size, Trained(network.data, images=np.stack(pictures)), 1000
    return make_growth_table("the size of the images, a network trained on 1,000", "size", cases, power=2)


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s")
