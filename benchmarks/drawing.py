"""How long a run's pictures take: ``python benchmarks/drawing.py``, on a quiet machine.

Milliseconds per image of ``save_activation_maps`` (all stages, arrays and pictures), and seconds of ``write_report``
(all figures), for each network that decides, after it has learned a little. With ``--before DIR``, a checkout of an
older version, the two stand side by side, each measured in a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, metavar="DIR", help="a checkout of an older version")
    parser.add_argument("--images", type=int, default=1000, help="to learn from, each phase (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(default: all)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # a checkout; print its numbers as JSON
    args = parser.parse_args()
    if args.measure:
        sys.path.insert(0, str(args.measure))
        print(json.dumps(measure(args.models, args.images, args.repeats)))
        return
    places = {"before": args.before, "now": ROOT} if args.before else {"now": ROOT}
    found = {name: in_its_own_process(place, args) for name, place in places.items()}
    what = "maps, ms per image", "figures, s"
    header = [f"{part} ({name})" if args.before else part for part in what for name in places]
    print(f"| network | {' | '.join(header)} |\n{'|---' * (len(header) + 1)}|")
    for model in found["now"]:
        cells = [found[name].get(model, ["", ""])[part] for part in range(len(what)) for name in places]
        print(f"| {model} | {' | '.join(f'{cell:.3g}' if cell else '' for cell in cells)} |")


def in_its_own_process(place, args):
    words = [sys.executable, __file__, "--measure", place, "--images", str(args.images), "--repeats", str(args.repeats)]
    words += ["--models", *args.models] if args.models else []
    done = subprocess.run(words, cwd=place, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{place}: {done.stderr}")
    return json.loads(done.stdout)


def measure(names, images, repeats):
    """{network: [milliseconds per image of its maps, seconds of its figures]}, by the modules first on the path."""
    import datasets
    from models import MODELS, build_model
    from s1c1 import S1C1

    try:
        from report.activation_maps import save_activation_maps
        from report.evaluation import Evaluation
        from report.writing import write_report
    except ModuleNotFoundError:  # the modules' names before they had rooms
        from activation_maps import save_activation_maps  # noqa: I001
        from report import Evaluation, write_report

    data, encoder, found = datasets.load("mnist"), S1C1(), {}
    latencies, tested = encoder.encode(data.train_images[:images]), encoder.encode(data.test_images)
    chosen = [int((data.test_labels == label).argmax()) for label in range(10)]
    for name in names or sorted({cls.name for cls in MODELS.values()}):
        model = build_model(name)
        if getattr(model, "decision", True) is None:
            continue  # it has no decisions to draw
        for phase in model.phases:
            for stage in () if getattr(phase, "needs_labels", phase.rule == "rstdp") else phase.stages:
                model.train_unsupervised(latencies, stage)
        model.train_rl(latencies, data.train_labels[:images])
        evaluation = Evaluation(model, tested, data.test_labels)

        def maps(place, model=model):
            classes = data.class_names
            save_activation_maps(model, tested[chosen], data.test_labels, chosen, place / "maps", classes)

        def figures(place, model=model, evaluation=evaluation):
            write_report(place, model, evaluation, data.test_images, tested, data.class_names, model.name)

        found[name] = [1000 / len(chosen) * seconds(maps, repeats), seconds(figures, repeats)]
    return found


def seconds(work, repeats):
    """The median, after one more that does not count; each in a new folder."""
    taken = []
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            work(Path(folder))
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
