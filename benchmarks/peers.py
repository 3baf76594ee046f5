"""Compare ``mozafari2018`` with other programs: ``python -m benchmarks.peers``, on a quiet machine.

It writes the table of speeds of results/README.md.

Each program has the same weights, of a network that learned from 10,000 digits of MNIST, and reads the same digits. It
computes a step of s1, s2 and s3 from the input up, and the evaluation. The event backend keeps the maps of the stages
that do not learn, as in a training run.

Other programs run in processes of their own. Their threads spin while they wait (``OMP_WAIT_POLICY=active``), which is
the default without this repository.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

import imagesets
from benchmarks.__main__ import Trained, format_header, format_row
from benchmarks.timing import Timing, measure_per_image
from utils import ROOT, describe_environment, set_threads

HERE = Path(__file__).resolve().parent
ROWS = "s1 STDP step", "s2 STDP step", "s3 R-STDP step", "evaluation"
IMAGES = 64  # which the other programs read


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--spyker", metavar="PYTHON", help="an interpreter whose environment has numpy and spyker")
    parser.add_argument("--script", action="store_true", help="print the times of a script on SpykeTorch, as JSON")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "logs" / "peers.md")
    args = parser.parse_args(argv)
    if args.script:
        print(json.dumps(measure_script(*args.threads)))
        return
    record = describe_environment()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    text = [
        f"# Other programs\n\nWritten by `python -m benchmarks.peers` on {datetime.now(timezone.utc):%d %B %Y}, commit "
        f"{record['git_commit']}: {record['processor']}, {record['cores']} cores, load average at the start {load}.",
        "Milliseconds per image: median and range of the repeats, × how many times as long as the event backend. Other "
        "programs run with `OMP_WAIT_POLICY=active`. Spyker: the best batch of 1, 16 and 64 images. Same decisions: "
        "how many of the images they classify as the event backend does.",
    ]
    network = Trained(imagesets.load("mnist"))
    with tempfile.TemporaryDirectory() as folder:
        shared = save_network(network, Path(folder) / "network.npz")
        for threads in args.threads:
            text += [f"\n### {threads} thread{'s' * (threads > 1)}\n", make_table(network, shared, threads, args)]
            print(*text[-2:], sep="\n", flush=True)
    args.output.write_text("\n".join(text) + "\n", encoding="utf-8")


def save_network(network: Trained, path: Path) -> Path:
    """Save what the other programs read."""
    weights = {layer_name: layer.weight.numpy() for layer_name, layer in network.model.named_layers()}
    images = {"latencies": network.s1[:IMAGES].numpy(), "labels": network.labels[:IMAGES].numpy()}
    classes = network.model.class_of_feature()
    np.savez(path, classes=classes, time_steps=network.model.time_steps, **images, **weights)
    return path


def make_table(network: Trained, shared: Path, threads: int, args: argparse.Namespace) -> str:
    """Return the table of all programs with a number of threads."""
    found = run_peer([sys.executable, "-m", "benchmarks.peers", "--script", "--threads"], threads)
    if args.spyker is not None:
        found |= run_peer([args.spyker, HERE / "peer_spyker.py", shared], threads)
    set_threads(threads)
    own = {}
    for row, (work, images) in network.list_event_work().items():
        if row in ROWS:
            own[row] = measure_per_image(work, images, prepare=network.reset)
    network.reset()
    decisions = network.model.predict(network.s1[:IMAGES]).tolist()
    lines = [format_header(("program", *ROWS, "same decisions"))]
    for title, result in found.items():
        timings = [Timing(*result["times"][row]) for row in ROWS]
        ratios = [timing.median / own[row].median for row, timing in zip(ROWS, timings, strict=True)]
        cells = [f"{timing}, × {ratio:.0f}" for timing, ratio in zip(timings, ratios, strict=True)]
        same = sum(a == b for a, b in zip(result["decisions"], decisions, strict=False))
        lines.append(format_row((title, *cells, f"{same} of {len(result['decisions'])}")))
    lines.append(format_row(("event backend", *(own[row] for row in ROWS), "")))
    return "\n".join(lines)


def run_peer(command: list, threads: int) -> dict:
    """Run another program; return what it prints."""
    environment = os.environ | {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": str(threads)}
    words = [*command, str(threads)]
    return json.loads(subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def measure_script(threads: int) -> dict:
    """Measure a script on SpykeTorch: {its name: times and decisions}."""
    network = Trained(imagesets.load("mnist"))
    torch.set_num_threads(threads)
    work = network.list_reference_work()
    evaluate, _ = work["evaluation"]
    decisions = evaluate()
    times = {row: measure_per_image(*work[row]) for row in ROWS}
    return {"SpykeTorch, this repository's package": {"times": times, "decisions": decisions}}


if __name__ == "__main__":
    main()
