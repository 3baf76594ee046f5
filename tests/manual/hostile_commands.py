"""Run train.py and evaluate.py with command lines that make no sense, and count the outcomes.

    python tests/manual/hostile_commands.py

Every flag gets every value of a list: nothing, blanks, numbers that are too large, negative or broken, paths that do
not exist or cannot be written to, signs that a console cannot print, and more. The other flags make a run of no epochs,
or evaluate one. Flags are also repeated, left without a value, and used with other commands. Then real processes run
with odd environments: consoles without ×, impossible numbers of threads, missing folders. A refusal must be one line
with exit code 2 and leave no run folder behind. Nothing may end in a traceback or a hang.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.command import DIGITS  # noqa: E402

import evaluate  # noqa: E402
import train  # noqa: E402
from training.settings import EvaluateSettings, TrainSettings  # noqa: E402

LIMIT = 300  # seconds for one; most take a few milliseconds
RUN = f"--model mozafari2018 {DIGITS} --dry-run --no-figures --epochs 0 0 0".split()
VALUES = [
    "", " ", "0", "-1", "1", "1.5", "nan", "inf", "-inf", "1e999", str(10**23), str(-(10**23)), "9" * 5000, "x", "-",
    "--", "--seed", "../up", "/dev/null", "/dev/full", "/proc/self/mem", "/proc/none/such",
    "∞×→", "\u202e", "\udcff", "a" * 5000, "a\nb", "*", "[",
    "{}", "True", "None", "latest", "s1.threshold=", "s1.threshold=1e999", "=", "=1", "s1=1", "s1.rule=None",
    "encoder.filters=()", "encoder.filters=3", "s2.kernel=[]", "c1.size=1e3", "folder:", "folder:/dev", "x.npz",
]  # fmt: skip
HUGE = [  # of --set, finite: they overflow if a run takes them
    field.replace("X", value)
    for field in (
        *(
            "s1.threshold=X",
            "s1.first_weights=X,0",
            "s1.first_weights=0,X",
            "s1.rule.bounds=0,X",
            "s1.rule.bounds=-X,X",
        ),
        *("s1.rule.rates=X,-X", "s2.rule.rates=0.1,-X", "s3.rule.reward=X,-X", "s3.rule.punishment=-X,X"),
        *("s3.first_weights=X,0.02", "s2.threshold=X", "s2.first_weights=-X,X"),
    )
    for value in ("1e7", "1e20", "1e39", "1e300")
]
OUTCOMES = "refused", "accepted", "several lines", "folder left", "traceback", "hang"


class HangError(BaseException):
    """A command takes too long. It does not derive from Exception, so that no handler of errors catches it."""


def ring(number, frame):
    raise HangError


def one_flag_each(run):
    """Yield (group, program, words): every flag with every value, without one, repeated, and with every command."""
    commands = {
        "a run": (train, TrainSettings, RUN),
        "an evaluation": (evaluate, EvaluateSettings, [run, "--dry-run", "--no-figures"]),
        "a prediction": (evaluate, EvaluateSettings, [run, "--predict", str(ROOT / "images" / "example-digit.png")]),
        "a resumed run": (train, TrainSettings, ["--resume", run]),
        "a summary": (train, TrainSettings, ["--summary", "--model", "mozafari2018"]),
        "a list": (train, TrainSettings, ["--list-models"]),
    }
    for group, (program, settings, words) in commands.items():
        for each in settings.flags().values():
            if each.name == "run":
                yield from ((group, program, [value, *words[1:]]) for value in VALUES)
                continue
            name, kept = each.flag, _without(words, each.flag)
            values = VALUES if group in ("a run", "an evaluation") and each.type is not bool else ["1", *VALUES[:3]]
            yield from ((group, program, [*kept, name, value]) for value in values)
            yield group, program, [*kept, name]
            yield group, program, [*words, name, "1", name, "x"]
    trains = [*RUN[:-3], "1", "0", "1"]
    yield from (("huge values", train, [*trains, "--set", value]) for value in HUGE)
    for word in ("nonsense", "--nonsense", "--mod", "-m", "@file", "--", "--model", "--epochs"):
        yield "no flag", train, [word]
        yield "no flag", evaluate, [word]


def _without(words, flag):
    """The words without a flag and its values."""
    kept, dropping = [], False
    for word in words:
        if word.startswith("--"):
            dropping = word == flag
        if not dropping:
            kept.append(word)
    return kept


ENVIRONMENTS = [  # (what, environment, words, expected exit codes)
    ("a console of ASCII", {"PYTHONIOENCODING": "ascii"}, ["--summary", "--model", "mozafari2018"], [0]),
    ("a console of cp1252", {"PYTHONIOENCODING": "cp1252"}, ["--summary", "--model", "mozafari2018"], [0]),
    ("a console of ASCII", {"PYTHONIOENCODING": "ascii"}, ["--model", "∞×"], [2]),
    ("a console of cp1252", {"PYTHONIOENCODING": "cp1252"}, ["--list-models"], [0]),
    ("no language", {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}, ["--list-models"], [0]),
    *(
        (f"NUMBA_NUM_THREADS={value!r}", {"NUMBA_NUM_THREADS": value}, ["--list-models"], [2])
        for value in ("0", "-1", "x", "", "99999")
    ),
    ("OMP_NUM_THREADS=0", {"OMP_NUM_THREADS": "0"}, ["--list-models"], [0]),
    ("no home", {"HOME": "/nonexistent"}, ["--list-models"], [0]),
    ("no folder for temporary files", {"TMPDIR": "/nonexistent"}, ["--list-models"], [0]),
]


class Counts:
    def __init__(self):
        self.rows = {}

    def add(self, group, kind, words, said):
        self.rows.setdefault(group, Counter())[kind] += 1
        if kind not in OUTCOMES[:2]:
            print(f"{group}: {' '.join(word[:60] for word in words)!r}: {kind}: {said[-700:]}", flush=True)

    def print(self):
        total = sum(self.rows.values(), Counter())
        columns = [*OUTCOMES, *sorted(total.keys() - set(OUTCOMES))]
        print(f"\n| {'inputs':<30} | tried | {' | '.join(columns)} |")
        print(f"|{'---|' * (len(columns) + 2)}")
        for group, counts in [*self.rows.items(), ("all", total)]:
            print(f"| {group:<30} | {counts.total()} | {' | '.join(str(counts[kind]) for kind in columns)} |")

    def failed(self):
        return sum(counts[kind] for counts in self.rows.values() for kind in counts.keys() - set(OUTCOMES[:2]))


def judge(program, words, output):
    """The outcome of ``program.main`` with the words, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = program.main(words)
    except HangError:
        return "hang", ""
    except SystemExit as ended:  # --help
        return ("accepted", "") if ended.code == 0 else ("traceback", f"SystemExit {ended.code}")
    except BaseException:
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = err.getvalue()
    left = [path for path in output.rglob("*") if path.is_dir()] if output.is_dir() else []
    if code == 0:
        return "accepted", said
    if left:
        return "folder left", f"{left[0]}: {said}"
    is_right = code == 2 and (said.count("\n") == 1 or "--traceback" in words)  # the traceback was requested
    return ("refused" if is_right else "several lines"), said


def in_a_process(environment, words, expected):
    try:
        done = subprocess.run(
            [sys.executable, "train.py", *words],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return "hang", ""
    said = done.stderr.decode(errors="replace")
    if "Traceback" in said or done.returncode not in expected:
        return "traceback", said
    if done.returncode == 2 and said.count("\n") != 1:
        return "several lines", said
    return ("refused" if done.returncode == 2 else "accepted"), said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, metavar="N", help="number of command lines (default: all)")
    parser.add_argument("--only", metavar="GROUP", help='of one group, such as "huge values"')
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    args = parser.parse_args()

    def no_network(*_, **__):
        raise OSError("no network")

    signal.signal(signal.SIGALRM, ring)
    counts, here = Counts(), os.getcwd()
    with tempfile.TemporaryDirectory() as folder, mock.patch("torchvision.datasets.utils.download_url", no_network):
        inner, kept, original = (Path(folder, name) for name in ("inner", "kept", "original"))
        with contextlib.redirect_stdout(io.StringIO()):
            assert train.main([*RUN, "--output", str(kept), "--name", "run"]) == 0
        shutil.copytree(kept, original)
        lines = [line for line in one_flag_each(str(kept / "run")) if args.only in (None, line[0])]
        chosen = random.Random(args.seed).sample(lines, min(args.sample or len(lines), len(lines)))
        for number, (group, program, words) in enumerate(chosen):
            inner.mkdir()
            os.chdir(inner)
            elsewhere = {"--output", "--list-models", "--summary", "--resume"} & set(words)
            found, said = judge(program, [*words, *([] if elsewhere else ["--output", "runs"])], inner)
            counts.add(group, found, [program.__name__, *words], said)
            os.chdir(here)
            for path in Path(folder).iterdir():
                if path != original:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(original, kept)
            if number % 100 == 99:
                print(f"{number + 1} of {len(chosen)} tried", file=sys.stderr, flush=True)
    for group, environment, words, expected in ENVIRONMENTS:
        found, said = in_a_process(environment, words, expected)
        counts.add("environments", found, [group, *words], said)
    counts.print()
    sys.exit(bool(counts.failed()))


if __name__ == "__main__":
    main()
