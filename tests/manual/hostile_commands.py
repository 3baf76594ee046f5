"""Give train.py command lines that make no sense, and count what comes of it.

    python tests/manual/hostile_commands.py

Every flag gets every value of a list (nothing, blanks, numbers that are too large, negative, broken or none, paths that
are not there or not to be written to, signs that no console knows, …), beside flags that make a run of no epochs; flags
are doubled, left without a value, and put beside commands that they do not belong to. Then come the environments of
real processes: consoles that know no ×, no threads, no folders. What is refused must be so by one line, with exit code
2, leaving no run folder behind; what is accepted must end well. Nothing may end in a traceback or a hang.
"""

import argparse
import contextlib
import io
import itertools
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
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "training")]

from support.command import DIGITS  # noqa: E402

import train  # noqa: E402
from training.flags import make_parser  # noqa: E402

LIMIT = 300  # seconds for one; most take a few milliseconds
RUN = f"--model mozafari2018 {DIGITS} --dry-run --no-figures --epochs 0 0 0".split()
VALUES = [
    "", " ", "0", "-1", "1", "1.5", "nan", "inf", "-inf", "1e999", str(10**23), str(-(10**23)), "9" * 5000, "x", "-",
    "--", "--seed", "../up", "/dev/null", "/dev/full", "/proc/self/mem", "/proc/none/such",
    "∞×→", "\u202e", "\udcff", "a" * 5000, "a\nb", "*", "[",
    "{}", "True", "None", "latest", "s1.threshold=", "s1.threshold=1e999", "=", "=1", "s1=1", "s1.rule=None",
    "encoder.filters=()", "encoder.filters=3", "s2.kernel=[]", "c1.size=1e3", "folder:", "folder:/dev", "x.npz",
]  # fmt: skip
OUTCOMES = "refused", "accepted", "several lines", "folder left", "traceback", "hang"


class HangError(BaseException):
    """A command took too long; no Exception, so that nothing on the way takes it for an error."""


def one_flag_each(run):
    """Every flag with every value beside those of a run, and with none or one beside the other commands."""
    actions = [action for action in make_parser()._actions if action.option_strings and action.dest != "help"]
    for action in actions:
        flag = action.option_strings[-1]
        values = VALUES if action.nargs != 0 else [None, *VALUES[:3]]
        for value in values:
            words = [flag] if value is None else [flag, value]
            yield "a run", [*_without(RUN, flag), *words]
        for command in (["--evaluate", run], ["--resume", run], ["--summary", "--model", "mozafari2018"]):
            yield "beside a command", [*command, flag, *([] if action.nargs == 0 else ["1"])]
            yield "beside a command", [*command, flag]
        yield "without a value", [*_without(RUN, flag), flag]
        yield "twice", [*RUN, flag, "1", flag, "x"]
    for one, two in itertools.combinations(["--list-models", "--summary", "--resume", "--evaluate", "--predict"], 2):
        yield "two commands", [*_asked(one, run), *_asked(two, run)]
    for words in (
        ["nonsense"],
        ["--nonsense"],
        ["--mod", "x"],
        ["-m"],
        ["@file"],
        ["--"],
        ["--model"],
        ["--epochs", "1"],
    ):
        yield "no flag", words


def _asked(command, run):
    return [command, *([run] if command in ("--resume", "--evaluate", "--predict") else [])]


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
            print(f"{group}: {' '.join(word[:40] for word in words)!r}: {kind}: {said[-300:]}", flush=True)

    def print(self):
        print(f"\n| {'command lines':<30} | tried | {' | '.join(OUTCOMES)} |")
        print(f"|{'---|' * (len(OUTCOMES) + 2)}")
        for group, counts in [*self.rows.items(), ("all", sum(self.rows.values(), Counter()))]:
            print(f"| {group:<30} | {counts.total()} | {' | '.join(str(counts[kind]) for kind in OUTCOMES)} |")

    def failed(self):
        return sum(counts[kind] for counts in self.rows.values() for kind in OUTCOMES[2:])


def judge(words, output):
    """How ``train.main`` took the words: (outcome, what it said)."""
    out, err = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = train.main(words)
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
    return ("refused" if code == 2 and said.count("\n") == 1 else "several lines"), said


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
    parser.add_argument("--sample", type=int, metavar="N", help="so many of the command lines (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    args = parser.parse_args()

    def ring(number, frame):
        raise HangError

    def no_network(*_, **__):
        raise OSError("no network")

    signal.signal(signal.SIGALRM, ring)
    counts, here = Counts(), os.getcwd()
    with tempfile.TemporaryDirectory() as folder, mock.patch("torchvision.datasets.utils.download_url", no_network):
        inner, kept, original = (Path(folder, name) for name in ("inner", "kept", "original"))
        with contextlib.redirect_stdout(io.StringIO()):
            assert train.main([*RUN, "--output", str(kept), "--name", "run"]) == 0
        shutil.copytree(kept, original)
        lines = list(one_flag_each(str(kept / "run")))
        chosen = random.Random(args.seed).sample(lines, min(args.sample or len(lines), len(lines)))
        for number, (group, words) in enumerate(chosen):
            inner.mkdir()
            os.chdir(inner)
            elsewhere = {"--output", "--list-models", "--summary", "--resume"} & set(words)
            found, said = judge([*words, *([] if elsewhere else ["--output", "runs"])], inner)
            counts.add(group, found, words, said)
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
