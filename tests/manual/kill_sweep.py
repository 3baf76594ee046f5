"""Kill a sweep with SIGKILL at random moments, continue it each time, and compare its runs with runs of train.py alone.

    python tests/manual/kill_sweep.py [--kills 12] [--seed 0]

The sweep and all of its runs are killed together. Its four runs share phases. Weights, history, scores and
predictions must be the same to the bit; only the seconds may differ. The exit code is 1 if they are not.
"""

import argparse
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.run_folders import outcome, same  # noqa: E402

FLAGS = shlex.split("--dataset digits --ratio 0.1 --batch-size 50 --epochs 1 1 1 1 --no-figures --save-every 0.1")
GRID = {"s2.rule.winners": (4, 8), "s4.kernel": (3, 5)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    rng, folder = random.Random(args.seed), Path(tempfile.mkdtemp())
    words = [sys.executable, str(ROOT / "sweep.py"), "--model", "deep2024", "--output", str(folder / "sweep"), *FLAGS]
    for field, values in GRID.items():
        words += ["--grid", field, *map(str, values)]
    start, kills = time.monotonic(), 0
    while True:
        process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
        try:
            # every sweep gets a little more time than the last, so that it ends some day
            code = process.wait(timeout=rng.uniform(2, 10 + 2 * kills) if kills < args.kills else None)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            saved = [str(path.parts[-3]) for path in folder.rglob("last.safetensors")]
            print(f"{time.monotonic() - start:.0f} s: kill {kills}; begun: {' '.join(sorted(saved))}", flush=True)
    print(f"{time.monotonic() - start:.0f} s: exit code {code} after {kills} kills", flush=True)
    different = [f"exit code {code}"] if code else []
    different += [str(path) for path in (folder / "sweep").glob(".*.new")]
    for winners in GRID["s2.rule.winners"]:
        for kernel in GRID["s4.kernel"]:
            name = f"deep2024-digits-s2.rule.winners-{winners}-s4.kernel-{kernel}-seed0"
            alone = ["--model", "deep2024", "--set", f"s2.rule.winners={winners}", f"s4.kernel={kernel}", *FLAGS]
            alone += ["--output", str(folder / "alone"), "--name", name, "--threads", "1"]
            subprocess.run([sys.executable, ROOT / "train.py", *alone], stdout=subprocess.DEVNULL, check=True)
            if not same(*(outcome(folder / place / name) for place in ("alone", "sweep"))):
                different.append(name)
    print(f"different: {' '.join(different) or 'nothing'}")
    shutil.rmtree(folder)
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
