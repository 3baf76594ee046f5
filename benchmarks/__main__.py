"""``python -m benchmarks``: the tables of ``results/speed.md``. On a quiet machine it takes about five minutes."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
import torch
from PIL import Image

import datasets
from benchmarks.measure import per_image
from benchmarks.operations import last_winner, plain_additions, synaptic_operations
from benchmarks.reference import Reference, waves
from engine.rules import RSTDP
from engine.stages import SpikingConv
from models.mozafari2018 import Mozafari2018
from s1c1 import S1C1
from utils import ROOT, describe_environment, get_peak_memory, set_threads

TRAINED_ON = 10_000  # images, each phase of the network that is measured
REFERENCE_IMAGES = 20
IMAGES = 2000


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--output", default=str(ROOT / "results" / "speed.md"))
    parser.add_argument("--quick", action="store_true", help="two tables, of few images, to see that it works")
    args = parser.parse_args(argv)
    global REFERENCE_IMAGES, IMAGES, TRAINED_ON
    if args.quick:
        REFERENCE_IMAGES, IMAGES, TRAINED_ON = 2, 100, 300

    record = describe_environment()
    set_threads(0)
    text = [
        "# Speed",
        "",
        f"Written by `python -m benchmarks`: {record['processor']}, {record['cores']} cores, "
        + ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        + ".",
        "Milliseconds per image: the median of seven repeats after a warm-up, and the range; in tables of growth the "
        "median of five.",
        "",
    ]
    data = datasets.load("mnist")
    sections = [stage_table, operations_table]
    if not args.quick:
        sections += [start_table, images_table, steps_table, features_table, size_table]
    network = Trained(data)
    for section in sections:
        lines = section(network)
        print("\n".join(lines), flush=True)
        text += [*lines, ""]
    if get_peak_memory():
        text += [f"Peak memory of this benchmark: {get_peak_memory():,.0f} MB."]
    Path(args.output).write_text("\n".join(text) + "\n")


class Trained:
    """mozafari2018 after some training, and the inputs of its stages."""

    def __init__(self, data, time_steps=15, network=Mozafari2018, images=None):
        self.images = data.train_images[:TRAINED_ON] if images is None else images
        self.labels = torch.from_numpy(data.train_labels[: len(self.images)])
        self.encoder = S1C1(time_steps=time_steps)
        self.model = network(in_channels=self.encoder.channels, num_classes=10, time_steps=time_steps)
        self.s1 = self.encoder.encode(self.images)
        self.model.train_unsupervised(self.s1, "s1")
        self.s2 = self.model.pass_through(self.s1, ["s1", "c1"])
        self.model.learn_stdp(self.s2, "s2")
        self.s3 = self.model.pass_through(self.s2, ["s2", "c2"])
        for inputs, labels in zip(self.s3.split(1000), self.labels.split(1000), strict=True):
            self.model.learn_rstdp(inputs, labels)
        self.state = {key: value.clone() for key, value in self.model.state_dict().items()}

    def reset(self):
        self.model.load_state_dict(self.state)

    def event(self, count=None):
        """{row of the table: (work, images)} of the event backend."""
        count = min(count or IMAGES, len(self.s1))
        s1, s2, s3, labels = self.s1[:count], self.s2[:count], self.s3[:count], self.labels[:count]

        def reward():
            for inputs, truth in zip(s3.split(1000), labels.split(1000), strict=True):
                self.model.learn_rstdp(inputs, truth)

        return {
            "s1 STDP step": (lambda: self.model.learn_stdp(s1, "s1"), count),
            "s2 STDP step": (lambda: self.model.learn_stdp(s2, "s2"), count),
            "s3 R-STDP step": (reward, count),
            "evaluation": (lambda: self.model.predict(s1), count),
            "encoding": (lambda: self.encoder.encode(self.images[:count]), count),
        }

    def reference(self):
        """The same rows for the SpykeTorch-style reference; encoding: the tensor chain, one image at a time."""
        count = REFERENCE_IMAGES
        network = Reference(self.model)
        wave = waves(self.s1[:count], self.model.time_steps)
        labels = self.labels[:count].tolist()
        chain = tensor_encoder(self.model.time_steps)
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


def tensor_encoder(steps):
    """S1C1 from the tensor operations of the SpykeTorch interface: (1, 1, H, W) of 0 … 255 -> wave (T, 6, H, W)."""
    from SpykeTorch import functional as sf
    from SpykeTorch.utils import DoGKernel, Filter, Intensity2Latency

    pairs = [(3, 3 / 9, 6 / 9), (7, 7 / 9, 14 / 9), (13, 13 / 9, 26 / 9)]
    kernels = [DoGKernel(w, *sigmas) for w, a, b in pairs for sigmas in ((a, b), (b, a))]
    responses = Filter(kernels, padding=6, thresholds=50)
    latency = Intensity2Latency(steps, to_spike=True)
    return lambda picture: latency(sf.local_normalization(responses(picture), 8))


def stage_table(network):
    """Each step of mozafari2018, both ways, in one run."""
    lines = ["## Each step of mozafari2018", "", f"Trained on {len(network.images):,} images of MNIST. The reference "
             "goes from the input up, as upstream scripts do; the event backend's input is cached where the stages "
             "below do not learn, as in a training run.", ""]  # fmt: skip
    for threads in sorted({1, set_threads(0)}):
        set_threads(threads)
        lines += [f"### {threads} thread{'s' * (threads > 1)}", "",
                  "| | SpykeTorch-style reference | event backend | ratio |", "|---|---|---|---|"]  # fmt: skip
        slow, fast = network.reference(), network.event()
        for row in slow:
            network.reset()
            a = per_image(*slow[row])
            b = per_image(*fast[row], prepare=network.reset)
            lines.append(f"| {row} | {a} | {b} | {a.median / b.median:.0f} |")
        lines.append("")
    set_threads(0)
    return lines[:-1]


def operations_table(network):
    """Synaptic operations and how near they come to plain additions."""
    set_threads(1)
    limit = plain_additions()
    model, count = network.model, min(IMAGES, len(network.s1))
    s1, s2, s3 = (model.stages[name] for name in ("s1", "s2", "s3"))
    network.reset()
    last = {"s1": last_winner(s1.learn(network.s1[:count], s1.rule), model.time_steps),
            "s2": last_winner(s2.learn(network.s2[:count], s2.rule), model.time_steps)}  # fmt: skip
    network.reset()
    fast = network.event()
    rows = {
        "s1 STDP step": (fast["s1 STDP step"], synaptic_operations(s1, network.s1[:count], last["s1"])),
        "s2 STDP step": (fast["s2 STDP step"], synaptic_operations(s2, network.s2[:count], last["s2"])),
        "s3 R-STDP step": (fast["s3 R-STDP step"], synaptic_operations(s3, network.s3[:count])),
        "s1 firing": ((lambda: s1.fire(network.s1[:count], 2), count), synaptic_operations(s1, network.s1[:count])),
        "s2 firing": ((lambda: s2.fire(network.s2[:count], 3), count), synaptic_operations(s2, network.s2[:count])),
        "s3 deciding": ((lambda: s3.peaks(network.s3[:count]), count), synaptic_operations(s3, network.s3[:count])),
    }
    lines = ["## Synaptic operations, one thread", "", "One addition of one weight is one operation. Learning follows "
             "an image only to the time step of its last winner, so it needs fewer than firing (at most as many as "
             "counted here: what is skipped at inhibited positions is not taken off). Plain additions "
             f"(`p += w`, float32, innermost cache) on this core, in this run: {limit:.1f} giga-operations per second.",
             "", "| | operations per image | ms per image | giga-operations per second | fraction of plain |",
             "|---|---|---|---|---|"]  # fmt: skip
    total_operations = total_time = 0.0
    for row, (work, operations) in rows.items():
        timing = per_image(*work, prepare=network.reset)
        speed = operations / timing.median / 1e6
        lines.append(f"| {row} | {operations:,.0f} | {timing} | {speed:.1f} | {speed / limit:.2f} |")
        if "step" not in row:
            total_operations, total_time = total_operations + operations, total_time + timing.median
    speed = total_operations / total_time / 1e6
    lines.append(f"| whole network | {total_operations:,.0f} | {total_time:.3f} | {speed:.1f} | {speed / limit:.2f} |")
    set_threads(0)
    return lines


def start_table(network):
    """Compilation at the first start, and what a later start takes."""
    program = (
        "import time; t = time.perf_counter()\n"
        "import s1c1; from models import build_model; from training import first_start, log\n"
        "times, model = [time.perf_counter() - t], build_model('mozafari2018')\n"
        "with first_start.kernels(model, s1c1.S1C1(), (28, 28), 0, log.RunLog(quiet=True)) as ready:\n"
        "    for number in range(len(model.phases)):\n"
        "        ready(number)\n"
        "        times.append(time.perf_counter() - t)\n"
        "print(*times)"
    )
    lines = ["## Start", "", "Seconds from the start until all is imported, and until each phase has its kernels.",
             "", "| | imports | s1 | s2 | s3 |", "|---|---|---|---|---|"]  # fmt: skip
    with tempfile.TemporaryDirectory() as cache:
        for start in ("first start: compiles", "every other start: from the disk"):
            done = subprocess.run(
                [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "NUMBA_CACHE_DIR": cache},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            lines.append(f"| {start} | {' | '.join(f'{float(time):.1f}' for time in done.stdout.split())} |")
    return lines


def growth_lines(title, unit, cases):
    """A table of all rows of the event backend, one column for each case: {name: {row: (work, images), …}, reset}."""
    columns = list(cases)
    rows = {}
    for name, (network, count) in cases.items():
        for row, work in network.event(count).items():
            rows.setdefault(row, {})[name] = per_image(*work, prepare=network.reset, repeats=5).median
    lines = [f"## Growth with {title}", "", f"All {numba.get_num_threads()} threads, ms per image.", "",
             f"| {unit} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]  # fmt: skip
    for row, values in rows.items():
        lines.append(f"| {row} | " + " | ".join(f"{values[name]:.3f}" for name in columns) + " |")
    return lines


def images_table(network):
    data = datasets.load("mnist")
    whole = Trained(data, images=data.train_images)
    return growth_lines("the number of images", "images", {f"{n:,}": (whole, n) for n in (1000, 10_000, 60_000)})


def steps_table(network):
    data = datasets.load("mnist")
    return growth_lines("the time steps", "T", {str(t): (Trained(data, time_steps=t), IMAGES) for t in (5, 15, 30)})


def features_table(network):
    data = datasets.load("mnist")
    cases = {str(f): (Trained(data, network=with_decision_features(f)), IMAGES) for f in (50, 200, 800)}
    return growth_lines("the features of the decision layer", "features", cases)


def with_decision_features(features):
    class Variant(Mozafari2018):
        def build(self, in_channels, num_classes):
            stages = super().build(in_channels, num_classes)
            stages["s3"] = SpikingConv(250, features, 5, padding=2, rule=RSTDP())
            return stages

    return Variant


def size_table(network):
    data = datasets.load("mnist")
    cases = {}
    for size in (28, 56, 112):
        pictures = [np.asarray(Image.fromarray(image).resize((size, size))) for image in data.train_images[:1000]]
        cases[f"{size}×{size}"] = Trained(data, images=np.stack(pictures)), 1000
    return growth_lines("the size of the images, a network trained on 1,000", "size", cases)


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s")
