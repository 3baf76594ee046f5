"""Change one thing of the product at a time, and see whether a test fails.

    python tests/manual/mutants.py                      # all; --only s1c1 network_trainer: those of some files
    python tests/manual/mutants.py --check              # only whether each change still applies
    python tests/manual/mutants.py --jobs 2

A mutant replaces a text, which must be in its file exactly once, in a copy of the repository in a temporary folder.
Then the tests of that file run until one fails. A change in ``engine/`` compiles the kernels again, so that a mutant
that no quick test kills takes minutes. The exit code is 1 if a mutant survives, and 2 if a change no longer applies.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 900  # seconds for the tests of a mutant


class Mutant(NamedTuple):
    """``before`` is in the file exactly once; ``after`` replaces it."""

    file: str
    before: str
    after: str

    def __str__(self):
        return f"{self.file}: {self.before.strip()!r} -> {self.after.strip()!r}"


# Arguments of pytest; those whose tests are quick come first.
TESTS = {
    "engine/rules.py": [
        "tests/engine/test_rules.py -k 'rates or rewards or window or strongest or impossible or decays or part_of'",
        "tests/engine/test_rules.py tests/test_networks.py -k 'margin_decides or impossible_stages'",
        "tests/engine/test_rules.py",
        "tests/test_networks.py",
    ],
    "s1c1.py": ["tests/test_s1c1.py"],
    "engine/phases.py": ["tests/test_fit.py", "tests/test_networks.py", "tests/engine/test_traces.py"],
    "engine/stages.py": [
        "tests/engine/test_rules.py -k counts_its",
        "tests/test_several_maps.py",
        "tests/test_networks.py",
        "tests/report",
    ],
    "engine/event/competition.py": ["tests/engine/test_event.py", "tests/engine/test_traces.py"],
    "engine/event/plasticity.py": ["tests/engine/test_event.py", "tests/engine/test_traces.py"],
    "engine/graph.py": ["tests/test_several_maps.py", "tests/test_fit.py tests/test_networks.py"],
    "network_trainer.py": [
        "tests/test_fit.py",
        "tests/test_networks.py tests/test_several_maps.py",
        "tests/training/test_golden_checkpoints.py tests/training/test_run.py",
    ],
    "models/deepr2024.py": ["tests/test_fit.py", "tests/test_networks.py"],
    "training/checkpoint.py": ["tests/training/test_golden_checkpoints.py", "tests/training/test_checkpoint.py"],
}

RULES = [
    ("highest: float = 0.15", "highest: float = 0.16"),
    ("double_every: int = 500", "double_every: int = 501"),
    ("depression: float = -0.75", "depression: float = -0.76"),
    ("rates: tuple[float, float] = (0.004, -0.003)", "rates: tuple[float, float] = (0.004, -0.0031)"),
    ("reward: tuple[float, float] = (0.004, -0.003)", "reward: tuple[float, float] = (0.005, -0.003)"),
    ("(-0.004, 0.0005)", "(-0.004, 0.0006)"),
    ("bounds: tuple[float, float] = (0.2, 0.8)", "bounds: tuple[float, float] = (0.2, 0.9)"),
    ("(0.0, 1.0)\n    stabilize: bool = True", "(0.0, 1.1)\n    stabilize: bool = True"),
    ("stabilize: bool = True", "stabilize: bool = False"),
    ("stabilize: bool = False", "stabilize: bool = True"),
    ("(t_in <= t_out) * ltp", "(t_in < t_out) * ltp"),
    ("(t_in > t_out) * ltd", "(t_in >= t_out) * ltd"),
    ("(w - self.lower) * (self.upper - w)", "(w - self.lower) * (self.upper + w)"),
    ("(w - self.lower) * (self.upper - w)", "w * (self.upper - w)"),
    ("0 if classes[best] == label else 1", "1 if classes[best] == label else 0"),
    ("if best < 0:", "if best < 1:"),
    (">= (1 + self.margin) * peaks[b]", ">= (1 - self.margin) * peaks[b]"),
    (">= (1 + self.margin) * peaks[b]", "> (1 + self.margin) * peaks[b]"),
    ("learners[1, 1] = b, 1", "learners[1, 1] = b, 0"),
    ("if a < 0 or b < 0 or", "if b < 0 or"),
    ("if a < 0 or b < 0 or", "if a < 0 or"),
    ("doublings = numbers // self.double_every", "doublings = (numbers - 1) // self.double_every"),
    ("doublings = numbers // self.double_every if self.double_every else", "doublings = numbers // 500 if True else"),
    ("* 2.0 ** np.minimum", "* 1.9 ** np.minimum"),
    ("np.minimum(doublings, 64), self.highest)", "np.minimum(doublings, 64), 1.0)"),
    ("np.stack([ltp, self.depression * ltp], 1)", "np.stack([ltp, self.rates[1] + 0 * ltp], 1)"),
    ("np.where(doublings[:, None] > 0,", "np.where(doublings[:, None] >= 0,"),
    ('[[outcome.fraction("wrong")],', '[[outcome.fraction("correct")],'),
    ('[outcome.fraction("correct")]]', '[outcome.fraction("wrong")]]'),
    ('[outcome.fraction("correct")]]', '[1 - outcome.fraction("wrong")]]'),
    ("return np.broadcast_to(rates, (len(numbers)", "return np.broadcast_to(2 * rates, (len(numbers)"),
    ("np.full(len(numbers), epoch)", "np.full(len(numbers), epoch + 1)"),
    ("[(1, -self.ltd), (-1, self.ltd)]", "[(1, -self.ltd), (-1, -self.ltd)]"),
    ("rng.random((images, features)) < self.left_out", "rng.random((images, features)) > self.left_out"),
    ("0 <= self.left_out < 1", "0 <= self.left_out <= 1"),
    ("margin: float = 0.03", "margin: float = 0.02"),
    ("rate: float = 0.01", "rate: float = 0.02"),
    ("decay: float = 0.9", "decay: float = 0.8"),
    ("ltd: float = 0.05", "ltd: float = 0.06"),
    ('(("winners", 1), ("radius", 0))', '(("winners", 0), ("radius", 0))'),
    ('(("winners", 1), ("radius", 0))', '(("winners", 1), ("radius", -1))'),
    ("rule.bounds[0] < rule.bounds[1] <= MAX_VALUE", "rule.bounds[0] <= rule.bounds[1] <= MAX_VALUE"),
    ("rewards_firing: ClassVar[bool] = True", "rewards_firing: ClassVar[bool] = False"),
    ("change = Stabilized.change", "change = Additive.change"),
    ("learners[0, 0], learners[0, 1] = a, 0", "learners[0, 0], learners[0, 1] = a, 1"),
]  # fmt: skip

ENCODER = [
    ("if r > 0 and r >= thresholds[f, 0]", "if r > 0 and r > thresholds[f, 0]"),
    ("-r >= thresholds[f, 1]", "-r > thresholds[f, 1]"),
    ("-r >= thresholds[f, 1]", "-r >= thresholds[f, 0]"),
    ("maps[on + 1, y, x] = -r", "maps[on, y, x] = -r"),
    ("on = 2 * (colour * len(kernels) + f)", "on = 2 * (colour + f * colours)"),
    ("kernel[window // 2, window // 2] -= kernel.sum()", "kernel[window // 2, window // 2] -= 0"),
    ("threshold * -float(dog.min())", "threshold"),
    ("math.floor(53 - ", "math.floor(20 - "),
    ("per_bin = max(1, n // time_steps)", "per_bin = max(1, n // time_steps + 1)"),
    ("spikes = min(n, per_bin * time_steps)", "spikes = n"),
    ("latency[:] = time_steps\n", "latency[:] = time_steps - 1\n"),
    ("if start[bucket] < border:", "if start[bucket] < border - 1:"),
    ("bits[ranked[j - 1]] < bits[position]", "bits[ranked[j - 1]] <= bits[position]"),
    ("bits[ranked[j - 1]] < bits[position]", "bits[ranked[j - 1]] > bits[position]"),
    ("    side = 2 * radius + 1\n", "    side = 2 * radius\n"),
    ("total += columns[x + side] - columns[x]", "total += columns[x + side]"),
    ("if y - radius - 1 >= 0:", "if y - radius - 1 > 0:"),
    ("intensity[y, x] /= square[y, x]", "intensity[y, x] *= square[y, x]"),
    ("= rank // per_bin", "= (rank + 1) // per_bin"),
    ("min(spikes, n - 1) + 1, per_bin)", "min(spikes, n - 1), per_bin)"),
    ("radius: int = 8", "radius: int = 7"),
    ("threshold: float = 50.0", "threshold: float = 49.0"),
    ("time_steps: int = 15", "time_steps: int = 14"),
    ("response[y + j, x + i] += pixel", "response[y + j, x + i] = pixel"),
    ("np.moveaxis(images, -1, 1)", "images.transpose(0, 3, 2, 1)"),
]  # fmt: skip

TRAINER = [
    ("place = seed, progress.phase, progress.epoch", "place = seed, progress.phase, 0"),
    ("place = seed, progress.phase, progress.epoch", "place = seed, 0, progress.epoch"),
    ("place = seed, progress.phase, progress.epoch", "place = 0, progress.phase, progress.epoch"),
    ("default_rng((*place, progress.batch))", "default_rng(place)"),
    ("train.labels[chosen], progress.epoch, rng)", "train.labels[: len(chosen)], progress.epoch, rng)"),
    ("train.labels[chosen], progress.epoch, rng)", "train.labels[chosen], 0, rng)"),
    ("Outcome(*self.outcome) + learned.outcome", "learned.outcome"),
    ("wins += torch.bincount", "wins -= torch.bincount"),
    ("if label in learned.wins:", "if label not in learned.wins:"),
    ("progress.batch += 1\n", "progress.batch += 2\n"),
    ("progress.epochs_since_best >= patience", "progress.epochs_since_best > patience"),
    ("patience and phase.needs_labels and progress", "patience and progress"),
    ('validated.correct > progress.best["correct"]', 'validated.correct >= progress.best["correct"]'),
    ("progress.epochs_since_best = 0\n", "progress.epochs_since_best = 1\n"),
    ("progress.epochs_since_best += 1\n", "progress.epochs_since_best += 2\n"),
    ("progress.epoch >= count or gave_up", "progress.epoch > count or gave_up"),
    ("progress.phase + 1, 0\n", "progress.phase + 1, progress.epoch\n"),
    ("progress.epoch + 1, 0, 0.0", "progress.epoch + 1, progress.batch, 0.0"),
    ('"step": len(progress.history) + 1', '"step": len(progress.history) + 2'),
    ("(count == 0).sum()", "(count > 0).sum()"),
    ("(weight * (1 - weight)).numpy", "(weight * (1 + weight)).numpy"),
    (".reshape(-1, 2)[0]", ".reshape(-1, 2)[-1]"),
    ("progress.outcome, progress.wins = [0, 0, 0], {}", "progress.wins = {}"),
    ("progress.outcome, progress.wins = [0, 0, 0], {}", "progress.outcome = [0, 0, 0]"),
    ("value.detach().cpu().clone() for key", "value.detach().cpu() for key"),
    ("several = len(stage.convs) > 1", "several = len(stage.convs) > 9"),
    (".unflatten(1, (self.num_classes, -1)).amax(2)", ".unflatten(1, (self.num_classes, -1)).mean(2)"),
    ("rng = np.random.default_rng(seed)\n", "rng = np.random.default_rng(0)\n"),
    ("if count and not 0 <= int(labels.min())", "if count and not -1 <= int(labels.min())"),
    ("copy = rng.integers(len(train.copies) + 1)", "copy = rng.integers(len(train.copies))"),
]

PHASES = [
    ("self.batches += 1\n", "self.batches += 2\n"),
    ("self.stages[batch % len(self.stages)]", "self.stages[(batch + 1) % len(self.stages)]"),
    ("rng or np.random.default_rng(batch)", "rng or np.random.default_rng(0)"),
    ("conv.adapt(rule, learned.outcome)", "pass"),
    ("{label: wins[label] for label in active}", "wins"),
    ("lower.next_rates(rule, len(inputs), epoch)", "lower.next_rates(top_rule, len(inputs), epoch)"),
    ("len(inputs), epoch) if network.decision in active else None", "len(inputs), epoch)"),
    ("network.stages[pools[0]].size if pools else 1", "1"),
]

STAGES = [
    ("seen + np.arange(1, images + 1)", "seen + np.arange(images)"),
    ("torch.tensor(rates[-1])", "torch.tensor(rates[0])"),
    ("(latency >= time_steps).to", "(latency > time_steps).to"),
    ("side + (self.kernel - 1) * stride, stride", "side + self.kernel * stride, stride"),
    ("(height - first.shape[2]) // 2", "height - first.shape[2]"),
]

GRAPH = [
    (".inputs or (names[names.index(name) - 1],)", ".inputs or (names[0],)"),
    ("stage.fire(latency, self.stages[pool].size)", "stage.fire(latency, 1)"),
    ("int(latencies.max()) > self.time_steps", "int(latencies.max()) > self.time_steps + 1"),
    ("len(readers) == 1 and name not in wanted", "len(readers) == 1"),
]

COMPETITION = [
    ("open_positions -= not closed[line, column]", "open_positions -= 1"),
    ("if potential[at + f] > potential[at + best]:", "if potential[at + f] >= potential[at + best]:"),
    ("min(out_height, y + radius + 1)", "min(out_height, y + radius)"),
    ("winners[count, 2] = out_width - 1 - x", "winners[count, 2] = x"),
]

PLASTICITY = [
    ("line + ky, column + kx, ky * kernel + kx", "line + ky, column + kx, kx * kernel + ky"),
    ("w = min(max(w, plasticity.lower), plasticity.upper)", "w = min(w, plasticity.upper)"),
    ("if len(winners) > 0 and not weights.inside[0]:", "if False:"),
]

CHECKPOINT = [
    ("hashlib.sha256(text.encode())", "hashlib.sha256()"),
    ("if computed != checksum:", "if False:"),
    ("for name in own | saved:", "for name in own:"),
    ('progress["best"]["state"] = groups["best"]', 'progress["best"]["state"] = groups["state"]'),
]

CHANGES = {
    "engine/rules.py": RULES,
    "s1c1.py": ENCODER,
    "engine/phases.py": PHASES,
    "engine/stages.py": STAGES,
    "engine/graph.py": GRAPH,
    "engine/event/competition.py": COMPETITION,
    "engine/event/plasticity.py": PLASTICITY,
    "network_trainer.py": TRAINER,
    "training/checkpoint.py": CHECKPOINT,
    "models/deepr2024.py": [("stabilize=False)", "stabilize=False, double_every=0)")],
}
MUTANTS = [Mutant(file, *change) for file, changes in CHANGES.items() for change in changes]


def copy_repository(folder):
    """Copy the files that git lists or would list, and the kernels that are compiled already."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    caches = (ROOT / "engine" / "__pycache__").glob("kernels-*/**/*")
    for path in [*(ROOT / name for name in listed.splitlines()), *caches]:
        if path.is_file():
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


def find_killer(mutant, folder):
    """Return the first test that fails in the folder, or None if all pass."""
    for words in TESTS[mutant.file]:
        command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider", *shlex.split(words)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return f"{words} (longer than {LIMIT} s)"
        if done.returncode < 0:
            return f"{words} (a crash)"
        if done.returncode not in (0, 1, 2):
            raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        if done.returncode:
            failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return failed[0].partition("[")[0] if failed else words
    return None


def try_mutant(mutant, folders):
    """Apply the mutant in a free folder, test it there, undo it; return what killed it (or None) and the seconds."""
    folder, start = folders.get(), time.monotonic()
    file = folder / mutant.file
    before, text = file.stat(), file.read_text(encoding="utf-8")
    file.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
    time.sleep(0.1)  # kernels of a file that is younger than the process are not kept
    try:
        return find_killer(mutant, folder), time.monotonic() - start
    finally:
        file.write_text(text, encoding="utf-8")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        folders.put(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART", help="of the files' names")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="only check that each change applies")
    args = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if any(part in mutant.file for part in args.only)]
    texts = {file: (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else "" for file in CHANGES}
    found = [texts[mutant.file].count(mutant.before) for mutant in chosen]
    for mutant, count in zip(chosen, found, strict=True):
        if count != 1:
            print(f"the text of this mutant is in its file {count} times, not once: {mutant}", file=sys.stderr)
    if args.check or found != [1] * len(found):
        print(f"{found.count(1)} of {len(chosen)} mutants apply")
        sys.exit(0 if found == [1] * len(found) else 2)
    with tempfile.TemporaryDirectory() as place:
        folders = SimpleQueue()
        for job in range(args.jobs):
            copy_repository(Path(place, str(job)))
            folders.put(Path(place, str(job)))
        survivors = 0
        with ThreadPoolExecutor(args.jobs) as pool:
            outcomes = pool.map(lambda mutant: try_mutant(mutant, folders), chosen)
            for mutant, (killer, seconds) in zip(chosen, outcomes, strict=True):
                print(f"{mutant}: {killer or 'SURVIVED'} ({seconds:.0f} s)", flush=True)
                survivors += killer is None
    print(f"{len(chosen)} mutants, {survivors} survive")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
