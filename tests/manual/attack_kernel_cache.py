"""Attack the kernel cache and count the results.

    python tests/manual/attack_kernel_cache.py --starts 20

A small program with a learning rule starts many times, each time after another damage to its cache, or while other
programs start or are killed. Each start must print the right numbers, exit with 0 and write at most one line on stderr.
Then each single bit of a kept file is flipped, and the file is cut at each length. All these versions must be refused.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.kernel_programs import KERNELS, PRINT, RULE, RUN, Programs, limit_files  # noqa: E402

from engine import compiled  # noqa: E402

TEXT = RUN + PRINT.format([2])


class Attack:
    """Starts of the program, and the counts of their results by the attack before the start."""

    def __init__(self, folder):
        self.programs, self.counts = Programs(folder), {}
        (folder / "kernels.py").write_text(KERNELS)
        (folder / "rule.py").write_text(RULE)

    def start(self, **options):
        return self.programs.start("-c", TEXT, **options)

    def judge(self, attack, process):
        out, err = process.communicate()
        (*values, compiled_now, _), lines = out.split() or ["", ""], err.count("\n")
        counts = self.counts.setdefault(attack, Counter())
        counts["starts"] += 1
        counts["compiled"] += compiled_now != "0"
        counts["one line"] += lines == 1
        counts["failed"] += process.returncode != 0 or values != ["0.5", "-0.25", "480"] or lines > 1
        if process.returncode != 0:
            print(attack, err, sep="\n")

    def entry(self):
        """Return the undamaged file of one of the two kernels. A start makes the files that are missing."""
        self.judge("none", self.start())
        return random.choice(list(self.programs.cache.rglob("[!.]*.kernel")))  # not what a killed start has left

    def damage(self, attack, change):
        entry = self.entry()
        change(entry)
        self.judge(attack, self.start())
        if entry.is_dir():
            shutil.rmtree(entry)

    def print(self):
        columns = ("starts", "compiled", "one line", "failed")
        print(f"{'attack':42}", *(f"{column:>9}" for column in columns))
        for attack, counts in self.counts.items():
            print(f"{attack:42}", *(f"{counts[column]:9}" for column in columns))
        return sum(counts["failed"] for counts in self.counts.values())


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def overwrite_a_block(path):
    content = bytearray(path.read_bytes())
    start = random.randrange(len(content) - 512)
    content[start : start + 512] = random.choice((bytes(512), random.randbytes(512)))
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, random.randrange(path.stat().st_size))


def exchange(path):
    one, two = sorted(path.parent.glob("*.kernel"))[:2]
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def put_a_folder_there(path):
    path.unlink()
    (path / "file").mkdir(parents=True)


def check_every_damaged_version(path):
    """Return the number of versions with one flipped bit, the number of cut versions, and the number that pass."""
    content, digest = path.read_bytes(), path.stem[-64:]
    passed = 0
    flipped = bytearray(content)
    for bit in range(8 * len(content)):
        flipped[bit // 8] ^= 1 << bit % 8
        passed += compiled.payload_of(bytes(flipped), digest) is not None
        flipped[bit // 8] ^= 1 << bit % 8
    for length in range(len(content)):
        passed += compiled.payload_of(content[:length], digest) is not None
    assert compiled.payload_of(content, digest) is not None
    return 8 * len(content), len(content), passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=20, help="of each attack (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(Path(folder))
        cache = attack.programs.cache
        for change in (flip_a_bit, overwrite_a_block, truncate, exchange, put_a_folder_there, Path.unlink):
            for _ in range(args.starts):
                attack.damage(change.__name__.replace("_", " "), change)
        for _ in range(args.starts):
            shutil.rmtree(cache)
            attack.judge("full disk", attack.start(preexec_fn=limit_files))
        for _ in range(args.starts):
            shutil.rmtree(cache)
            for process in [attack.start() for _ in range(3)]:
                attack.judge("three first starts at once", process)
            attack.judge("then", attack.start())
        for _ in range(args.starts):
            shutil.rmtree(cache)
            process = attack.start()
            while not list(cache.rglob("*.kernel*")) and process.poll() is None:
                pass
            process.kill()
            process.communicate()
            attack.judge("after a start killed while it writes", attack.start())
        flips, cuts, passed = check_every_damaged_version(attack.entry())
        failed = attack.print()
    print(f"{flips} flipped bits and {cuts} lengths of one file: {passed} pass")
    sys.exit(bool(failed or passed))


if __name__ == "__main__":
    main()
