"""Measure the time that the pictures of a run take: ``python -m benchmarks.drawing``, on a quiet machine.

For each network with a decision stage, after a short training, the program prints the milliseconds per image of
``save_activation_maps`` (all stages, arrays and pictures) and the seconds of ``draw_figures`` (all figures).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagesets
from models import build_model, network_names
from network_trainer import LatencyDataset
from report.activation_maps import choose_images, save_activation_maps
from report.evaluation import Evaluation
from report.report import Report, draw_figures
from s1c1 import S1C1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="training images (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="number of measurements (default: %(default)s)")
    parser.add_argument("--models", nargs="+", metavar="NAME", default=network_names(), help="(default: all)")
    args = parser.parse_args()
    data, encoder = imagesets.load("mnist"), S1C1()
    latencies, tested = encoder.encode(data.train_images[: args.images]), encoder.encode(data.test_images)
    shown = choose_images(data.test_labels, 1)
    print("| network | maps, ms per image | figures, s |\n|---|---|---|")
    for name in args.models:
        model = build_model(name)
        if model.decision is None:
            continue
        model.fit(LatencyDataset(latencies, data.train_labels[: args.images]), None, [1] * len(model.phases))
        evaluation = Evaluation(model, tested, data.test_labels)
        images = data.test_images, data.test_labels, tested
        report = Report(model, encoder, *images, data.class_names, name, evaluations={"test": evaluation})

        def save_maps(folder, model=model):
            save_activation_maps(model, tested[shown], data.test_labels, shown, folder, data.class_names)

        maps = 1000 / len(shown) * measure(save_maps, args.repeats)
        figures = measure(lambda folder, report=report: draw_figures(folder, report), args.repeats)
        print(f"| {name} | {maps:.3g} | {figures:.3g} |", flush=True)


def measure(work: Callable[[Path], None], repeats: int) -> float:
    """Return the median of the seconds of ``work``, each time in a new folder, after a warm-up."""
    seconds = []
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            work(Path(folder))
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
