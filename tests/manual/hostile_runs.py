"""Damage the files of a finished run, run commands with odd streams, limits and environments, and count the outcomes.

    python tests/manual/hostile_runs.py files --seed 0
    python tests/manual/hostile_runs.py surroundings --count 300

* files: each file of a run's folder is removed, cut, overwritten, and replaced by a folder and by links. Values of its
  JSON are exchanged. Each command that reads the run must then work, or end with exit code 2 and one line on
  stderr. No results.json may be lost, and no link followed.
* surroundings: real processes: each command with each stream, a training with each setting, and random pairs of both.
  None may end in a traceback or a hang, and a run that trains must train to its end whatever happens to its output:
  log.txt and results.json are complete.
"""

import argparse
import contextlib
import io
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hostile_commands import Counts, judge, ring  # noqa: E402
from support.command import DIGITS, contents  # noqa: E402

import evaluate  # noqa: E402
import sweep  # noqa: E402
import train  # noqa: E402

LIMIT = 600  # seconds for one process
RUN = f"--model mozafari2018 {DIGITS} --dry-run --no-figures --map-index 0"
DIGIT = ROOT / "images" / "example-digit.png"
VALUES = None, True, -1, 10**30, 1e300, "", "x", "../x", "a\nb", [], [[]], {}, {"x": 1}
COMMANDS = {
    "resume": (train, "--resume {run}"),
    "lengthen": (train, "--resume {run} --epochs 1 0 2"),
    "evaluate": (evaluate, "{run} --dry-run --no-figures --output {out}"),
    "predict": (evaluate, f"{{run}} --predict {DIGIT}"),
    "report": (sweep, "--report {run} --output {out}"),
    "repeat": (train, "--config {run}/args.json --epochs 0 0 0 --output {out}"),
    "init": (train, f"{RUN} --epochs 0 0 0 --init-from {{run}} --output {{out}}"),
}


def damage(path, rng, outside):
    """Damage a file of the run. Returns the name of the damage."""
    data, kinds = path.read_bytes(), ["missing", "empty", "cut", "noise", "exchanged bytes", "a folder"]
    kinds += ["a loop", "a link to nothing", "a link to another file", "read-only", "deep"]
    kinds += ["another value"] * 6 * (path.suffix == ".json") + ["null"] * (path.suffix == ".json")
    kind = rng.choice(kinds)
    path.unlink()
    if kind in ("empty", "null", "deep"):
        path.write_text({"empty": "", "null": "null", "deep": "[" * 100_000}[kind])
    elif kind == "cut":
        path.write_bytes(data[: rng.randrange(len(data) or 1)])
    elif kind == "noise":
        path.write_bytes(rng.randbytes(5000))
    elif kind == "exchanged bytes":
        data = bytearray(data or b"x")
        for _ in range(20):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
    elif kind == "a folder":
        path.mkdir()
    elif kind.startswith("a l"):
        path.symlink_to({"a loop": path.name, "a link to nothing": "nowhere"}.get(kind, outside))
    elif kind == "read-only":
        path.write_bytes(data)
        path.chmod(0o400)
    elif kind == "another value":
        content = json.loads(data)
        places = [(content, key) for key in content]
        places += [(each, key) for each in content.values() if isinstance(each, dict) for key in each] * 2
        place, key = rng.choice(places)
        place[key] = rng.choice(VALUES)
        path.write_text(json.dumps(content))
        kind = f"{key} = {place[key]!r}"
    return kind


def try_files(folder, seed, count):
    """Yield (command, outcome, what was tried, what it printed) for each damage."""
    kept, run, out, outside = (folder / name for name in ("kept", "run", "out", "outside"))
    with contextlib.redirect_stdout(io.StringIO()):
        assert train.main(f"{RUN} --epochs 1 0 1 --output {folder} --name kept".split()) == 0
    files, rng = sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file()), random.Random(seed)
    files = [path for path in files if path.suffix != ".png"]
    for number in range(count):
        for place in (run, out):
            shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kept, run)
        outside.write_text("mine")
        path, command = files[number % len(files)], list(COMMANDS)[number // len(files) % len(COMMANDS)]
        tried = f"{path} {damage(run / path, rng, outside)}"
        before = "results.json" in contents(run)
        program, words = COMMANDS[command]
        outcome, said = judge(program, words.format(run=run, out=out).split(), folder / "none")
        if outcome == "refused" and before and "results.json" not in contents(run):
            outcome = "changed"
        if outside.read_text() != "mine":
            outcome = "followed a link"
        yield command, outcome, tried, said


STREAMS = (
    *(">&-", "2>&-", "<&-", "<&- >&- 2>&-", "| head -1", "2>&1 | head -1", "| true", ">/dev/full", "2>/dev/full"),
    *(">/dev/full 2>&1", ">/dev/null 2>&-", "| cat >/dev/full 2>/dev/null"),
)
LINES = {  # of commands for each stream
    "list": "train.py --list-models",
    "summary": "train.py --summary --model mozafari2018 --dataset digits",
    "train": f"train.py {RUN} --epochs 1 0 1 --output OUT --name new",
    "evaluate": "evaluate.py RUN --dry-run --no-figures --output OUT --name new",
    "predict": f"evaluate.py RUN --predict {DIGIT}",
    "mistake": "train.py --model nonsense",
}
SETTINGS = (  # what comes before the training of a run
    *("ulimit -n 40;", "ulimit -n 12;", "ulimit -f 100;", "ulimit -f 2000;", "ulimit -s 512;", "ulimit -t 600;"),
    *("ulimit -v 3000000;", "ulimit -v 6000000;", "ulimit -u 20000;", "ulimit -c 0;", "umask 777;", "umask 000;"),
    *("TERM=dumb", "TERM=", "COLUMNS=0", "COLUMNS=-5", "COLUMNS=x", "TZ=x", "LC_ALL=C PYTHONUTF8=0", "LC_ALL=xx"),
    *("HOME=", "HOME=/nonexistent", "env -u HOME", "PATH=", "TMPDIR=/nonexistent", "TMPDIR=/dev/null"),
    *("MPLBACKEND=x", "MPLCONFIGDIR=/proc/x", "XDG_CACHE_HOME=/proc/x", "PYTHONHASHSEED=7", "PYTHONOPTIMIZE=2"),
    *("PYTHONWARNINGS=error::RuntimeWarning", "PYTHONDEVMODE=1", "PYTHONUNBUFFERED=1", "PYTHONIOENCODING=ascii"),
    *("PYTHONIOENCODING=utf-16", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=/nonexistent:", "PYTHONSAFEPATH=1"),
    *("OMP_NUM_THREADS=0", "OMP_NUM_THREADS=x", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", "CUDA_VISIBLE_DEVICES=x"),
    *("NUMBA_NUM_THREADS=1", "NUMBA_DISABLE_JIT=0", "NUMBA_CACHE_DIR=/proc/x", "GIT_DIR=/nonexistent", "NO_COLOR=1"),
    *("nohup", "setsid", "env -i", "taskset -c 0", "nice -n 19", "trap '' PIPE;", "trap '' INT TERM;"),
    *("mkdir gone; cd gone; rmdir ../gone;", "exec 9</dev/null;"),
)


def try_surroundings(folder, seed, count):
    """Yield (command, outcome, what was tried, what it printed) for real processes."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert train.main(f"{RUN} --epochs 1 0 1 --output {folder} --name kept".split()) == 0
    cases = [(name, "", line, stream) for stream in STREAMS for name, line in LINES.items()]
    cases += [("train", setting, LINES["train"], "") for setting in SETTINGS]
    pairs = [(name, setting, line, stream) for setting in SETTINGS for name, _, line, stream in cases if stream]
    cases += random.Random(seed).sample(pairs, max(0, count - len(cases)))
    for name, setting, line, stream in cases[:count]:
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        line = line.replace(" RUN ", f" {folder / 'kept'} ").replace("OUT", str(out))
        line = f"{setting} {sys.executable} {ROOT}/{line} 2>{folder}/err {stream}; exit ${{PIPESTATUS[0]}}"
        try:
            done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            yield name, "hang", f"{setting} {stream}", ""
            continue
        said = (folder / "err").read_text(errors="replace") + done.stderr.decode(errors="replace")
        # matplotlib and OpenMP report what they are given in words of their own
        lines = [line for line in said.splitlines() if line and not re.match(".*(matplotlib|libgomp)", line, re.I)]
        said = "\n".join(lines)
        outcome = {0: "accepted", 2: "refused"}.get(done.returncode, f"exit code {done.returncode}")
        if "Traceback" in said or "Exception ignored" in said:
            outcome = "traceback"
        elif name in ("train", "evaluate") and outcome == "accepted":
            log = out / "new" / "log.txt"
            if not (out / "new" / "results.json").is_file() or "see " not in log.read_text().splitlines()[-1]:
                outcome = "incomplete"
        elif outcome == "refused" and len(lines) > 1:
            outcome = "several lines"
        yield name, outcome, f"{setting} {name} {stream}", said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["files", "surroundings"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=500, help="number of inputs (default: %(default)s)")
    args = parser.parse_args()
    signal.signal(signal.SIGALRM, ring)
    counts, try_inputs = Counts(), {"files": try_files, "surroundings": try_surroundings}[args.what]
    with tempfile.TemporaryDirectory() as folder:
        for number, (group, outcome, tried, said) in enumerate(
            try_inputs(Path(folder), args.seed, args.count), start=1
        ):
            if number % 50 == 0:
                print(f"{number} tried", file=sys.stderr, flush=True)
            counts.add(group, outcome, [tried], said)
    counts.print()
    sys.exit(bool(counts.failed()))


if __name__ == "__main__":
    main()
