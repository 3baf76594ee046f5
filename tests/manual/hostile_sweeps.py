"""Plan sweeps with command lines that make no sense, and count the outcomes: ``python tests/manual/hostile_sweeps.py``.

Nothing is trained: a run that would begin ends at once. A refusal must be one line with exit code 2, leave no folder
behind, and change no file. At the end, two sweeps start at the same time in one folder, twice, as real processes: each
run must be trained once, by one of the sweeps.
"""

import contextlib
import io
import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.command import contents  # noqa: E402

import sweep  # noqa: E402

GOOD = "--model mozafari2018 --dataset digits --output out"
VALUES = ["''", "' '", "0", "-1", "1.5", "nan", "inf", "1e999", "9" * 30, "x", "-", "--", "../up", "/dev/null", "'a b'",
          "'∞×→'", "[", "None", "=", "run", "run/checkpoints", "file"]  # fmt: skip
FLAGS = "--model --dataset --output --seeds --epochs --threads --jobs --cluster --scheduler --set --grid --report"
PASSED = "--ratio --val-split --batch-size --patience --augment --init-from --encoder --image-size --map-index --device"
ADDED = [  # to GOOD
    "--seed 3",
    "--name x",
    "--resume run",
    "--summary",
    "--list-models",
    "--evaluate",
    "--frob",
    "x",
    "--test",
    "--grid s1.threshold 8 10 --grid s1.threshold 9",
    "--grid s1.threshold 8 10 --grid 's1.threshold ' 9",
    "--grid s1.threshold 8 8",
    "--grid s1.threshold",
    "--grid",
    "--seeds 1 1",
    "--grid s1.threshold 8 9 --set s1.threshold=7",
    "--grid s9.threshold 1",
    "--grid x 1",
    "--grid s1.threshold 8 -1",
    "--grid s1.kernel 5 99",
    "--grid s1.threshold 1e300 8",
    "--grid s1.rule.bounds 0,1e20",
    "--grid encoder.time_steps 15 999",
    "--model deep2024 nothing",
    "--model mozafari2018 mozafari2018",
    "--config seed.toml",
    "--config name.toml",
    "--config output.toml",
    "--config threads.toml",
    "--config model.toml",
    "--config nowhere",
    "--config empty.toml",
    "--config bad.toml",
    "--config run/args.json",
    "--config .",
    "--no-test --readout svm",
    "--patience 1 --val-split 0",
    "--map-every 1",
    "--dataset digits nothing",
    "--threads 999",
    "--dataset folder:none",
    "--dataset digits digits",
    "--scheduler h:1",
    "--cluster dask",
    "--cluster dask --scheduler 127.0.0.1:1",
    "--cluster ray --scheduler 127.0.0.1:1",
    "--cluster x",
    "--report run",
]
ALONE = [
    "",
    "--model",
    "--output out",
    "--model mozafari2018",
    "--model inception2024 --dataset digits --output out --grid s3.1.threshold 8 9 --grid s3.threshold 7",
    "--model inception2024 --dataset digits --output out --grid s3.threshold 7 8 --grid s3.1.threshold 9 10",
    "--model deep2024 mozafari2018 --dataset digits --output out --epochs 1 1 1",
    "--report",
    "--report nowhere",
    "--report empty",
    "--report run",
    "--report . --ratio 1",
    "--report run/args.json",
    "--model mozafari2018 --dataset digits --output damaged",
    "--model mozafari2018 --dataset digits --output other",
    "--model mozafari2018 --dataset digits --output full",
    "--model mozafari2018 --dataset digits --output strange",
]
OUTCOMES = "refused", "accepted", "several lines", "something changed", "traceback"


def command_lines():
    yield from (*ALONE, *(f"{GOOD} {more}" for more in ADDED))
    for name, value in itertools.product((*FLAGS.split(), *PASSED.split()), VALUES):
        words = GOOD.replace(f"{name} {GOOD.split(f'{name} ')[1].split()[0]}", "") if f"{name} " in GOOD else GOOD
        yield f"{words} {name} {value}"


def prepare(folder):
    """Write files and folders on which the command lines are about."""
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    flags = {"model": "mozafari2018", "dataset": "digits", "seed": 0, "ratio": 0.5}
    (run / "args.json").write_text(json.dumps({"flags": flags}))
    (folder / "empty").mkdir()
    (folder / "file").write_text("x")
    name = "mozafari2018-digits-seed0"
    for place, content in (("damaged", ""), ("other", json.dumps({"flags": flags})), ("full", "[]")):
        (folder / place / name / "checkpoints").mkdir(parents=True)
        (folder / place / name / "checkpoints" / "last.safetensors").write_text("x")
        (folder / place / name / "args.json").write_text(content)
    (folder / "strange" / name / "thesis").mkdir(parents=True)
    for key, value in (("seed", 3), ("name", '"x"'), ("output", '"x"'), ("threads", 2), ("model", '"deep2024"')):
        (folder / f"{key}.toml").write_text(f"{key} = {value}\n")
    (folder / "empty.toml").write_text("")
    (folder / "bad.toml").write_text("[[[")


def judge(words, folder):
    before, began = contents(folder), []

    def begin(program, words, here, folder, stop, variables):
        began.append(folder)
        return "not trained"

    out, err = io.StringIO(), io.StringIO()
    try:
        patched = mock.patch.object(sweep, "train_one", begin)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patched:
            code = sweep.main(shlex.split(words))
    except SystemExit as ended:
        return "accepted" if ended.code == 0 else "traceback", f"SystemExit {ended.code}"
    except BaseException:
        return "traceback", traceback.format_exc()
    said = err.getvalue()
    if began or code == 0:
        return "accepted", said
    if contents(folder) != before:
        return "something changed", said
    return ("refused" if code == 2 and said.count("\n") == 1 else "several lines"), said


def start_two(folder):
    """Start two sweeps at the same time in one folder. Returns "" or what went wrong."""
    words = (
        "--model mozafari2018 --dataset digits --ratio 0.1 --epochs 1 1 1 --no-figures --jobs 1 --seeds 0 1 --output"
    )
    command = [sys.executable, str(ROOT / "sweep.py"), *words.split(), str(folder)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)]
    ends = sorted((process.wait(), process.stderr.read().count("\n")) for process in both)
    finished = sorted(path.parent.name for path in folder.glob("*/results.json"))
    expected = [f"mozafari2018-digits-seed{seed}" for seed in (0, 1)]
    left = [path.name for path in folder.glob(".*")]
    return "" if (ends, finished, left) == ([(0, 0), (2, 1)], expected, []) else f"{ends} {finished} {left}"


def main():
    counts = Counter()
    for words in command_lines():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            prepare(Path(folder))
            outcome, said = judge(words, Path(folder))
            os.chdir(ROOT)
        counts[outcome] += 1
        if outcome != "refused" or "--verbose" in sys.argv:
            print(f"{outcome}: {words!r}: {said[-300:]}", flush=True)
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            wrong = start_two(Path(folder))
            counts["two at a time: " + ("one refused" if not wrong else "wrong")] += 1
            print(f"two sweeps at the same time: {wrong or 'one was refused'}")
    print(f"\n{counts.total() - 2} command lines, 2 pairs: {dict(counts)}")


if __name__ == "__main__":
    main()
