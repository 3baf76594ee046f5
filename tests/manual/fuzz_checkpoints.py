"""Damage and change a small trained checkpoint in every way, and count what comes of it.

    python tests/manual/fuzz_checkpoints.py --bytes 900 --fields 700 --unsigned 100

A run of ``mozafari2018`` on a part of the digits is stopped in its R-STDP phase. Then, of its last checkpoint,

* bytes are flipped, blocks of it overwritten or exchanged, or it is cut, as disks and networks do it;
* each field gets values that it cannot have or did not have: with the checksum that was there (*changed*), as if the
  file were of the older format, which has none, or with a right one (*forged*);
* weights get NaN, other types, other shapes, other values, in the same three ways.

Each is evaluated and resumed by ``train.main``, which must refuse it in one line or do the same as with the whole one.
What has no checksum, or a forged one, can hold other numbers that are as good as the right ones, and so decide
otherwise; no field of it may end in a traceback or a hang.
"""

import argparse
import contextlib
import copy
import csv
import io
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "training")]

import torch  # noqa: E402
from support.command import DIGITS  # noqa: E402

import train  # noqa: E402
from training import checkpoint  # noqa: E402
from training.run import Run  # noqa: E402

RUN = f"--model mozafari2018 {DIGITS} --ratio 0.2 --batch-size 100 --epochs 1 1 2 --no-figures".split()
BATCHES = 8  # of 12: in the first epoch of the last phase
LIMIT = 300  # seconds for one command; a whole one takes two, where the cores are free
MEMORY = 16 * 2**30  # bytes that the process may reserve
OUTCOMES = "refused", "same", "otherwise", "several lines", "traceback", "hang"
BAD = OUTCOMES[2:]
UNREADABLE = re.compile("is damaged|no checkpoint of this program|do not fit this version")
HOSTILE = [
    None, True, False, -1, 0, 1, 2, 7, 10**6, 2**31, 2**53, 2**63 - 1, 2**63, 2**70, -(2**63), 0.5, -1.5, 1e300,
    float("nan"), float("inf"), float("-inf"), "", " ", "x", "../x", "latest", "\n\ud800", "9" * 5000, [], [0], [[]],
    {}, {"x": 1}, (1, 2), torch.zeros(1), torch.full((3,), float("nan")), torch.zeros(3, dtype=torch.bool),
    [0] * 100_000, ...,
]  # fmt: skip


class HangError(BaseException):
    """A command took too long; no Exception, so that nothing on the way takes it for an error."""


class Victim:
    """A run that was stopped, and what comes of it undamaged."""

    def __init__(self, folder):
        self.folder = folder
        self.run, self.file = folder / "run", folder / "run" / "checkpoints" / "last.pt"
        plain = Run.batch

        def batch(run, progress):
            run.batches = getattr(run, "batches", 0) + 1
            run.stop.asked = run.batches == BATCHES
            plain(run, progress)

        with mock.patch.object(Run, "batch", batch):
            code, text = self._start([*RUN, "--output", str(folder), "--name", "run"])
        assert code == 130, text
        self.whole = self.file.read_bytes()
        self.content = checkpoint.load(self.file)
        self.digest = checkpoint.checksum(self.content)
        shutil.copytree(self.run, folder / "stopped")
        self.expected = {command: self.outcome(command) for command in ("evaluate", "resume")}

    def _start(self, words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = train.main(words)
        return code, err.getvalue()

    def outcome(self, command):
        """What a command makes of the file: its exit code, what it said, and its results."""
        if command == "evaluate":
            place = self.folder / "evaluations" / "one"
            shutil.rmtree(place, ignore_errors=True)
            words = ["--evaluate", str(self.file), "--name", "one", "--output", str(place.parent), "--no-figures"]
            code, err = self._start([*words, "--device", "cpu", "--threads", "1", "--dry-run"])
        else:
            place = self.run
            code, err = self._start(["--resume", str(self.run)])
        results = (place / "predictions.csv").read_text() if code == 0 else None
        if command == "resume" and code == 0:
            state = checkpoint.load(self.file)["state"]
            with open(place / "metrics.csv", newline="") as file:
                rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
            results = results, rows, checkpoint.checksum(state)
        return code, err, results

    def judge(self, content):
        """Write the bytes as the run's checkpoint; the worst outcome of the commands, and the last line said."""
        self.file.write_bytes(content)
        with contextlib.suppress(Exception):
            if checkpoint.checksum(checkpoint.load(self.file)) == self.digest:
                return "same", "all that it holds is as it was"
        found = []
        for command in ("evaluate", "resume"):
            if found and found[-1][0] == "refused" and UNREADABLE.search(found[-1][1]):
                break  # for whatever command
            shutil.rmtree(self.run)
            shutil.copytree(self.folder / "stopped", self.run)
            self.file.write_bytes(content)
            signal.setitimer(signal.ITIMER_REAL, LIMIT)
            try:
                code, err, results = self.outcome(command)
            except HangError:
                found.append(("hang", command))
            except BaseException:
                found.append(("traceback", traceback.format_exc().splitlines()[-1]))
            else:
                lines = err.count("\n")
                _, _, expected = self.expected[command]
                kind = "same" if code == 0 and results == expected else "otherwise" if code == 0 else "refused"
                if kind == "refused" and (code != 2 or lines != 1):
                    kind = "several lines"
                found.append((kind, err.strip()))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        order = "same", "refused", "otherwise", "several lines", "traceback", "hang"
        return max(found, key=lambda one: order.index(one[0]))


# ---------------------------------------------------------------------------------------------------------------------
# Bytes


def flip_a_bit(content, rng):
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_bytes(content, rng):
    for _ in range(rng.randint(2, 20)):
        content[rng.randrange(len(content))] ^= rng.randint(1, 255)


def flip_near_an_end(content, rng):
    """Where the archive's own directory and the pickle are."""
    place = rng.choice((rng.randrange(6000), len(content) - 1 - rng.randrange(4000)))
    content[place] ^= 1 << rng.randrange(8)


def zero_a_block(content, rng):
    size = rng.choice((16, 512, 4096, 65536))
    start = rng.randrange(len(content) - size)
    content[start : start + size] = bytes(size)


def overwrite_a_block(content, rng):
    size = rng.choice((4, 512, 4096))
    start = rng.randrange(len(content) - size)
    content[start : start + size] = rng.randbytes(size)


def exchange_two_blocks(content, rng):
    size = rng.choice((4, 512, 4096))
    one, two = (rng.randrange(len(content) - size) for _ in range(2))
    content[one : one + size], content[two : two + size] = content[two : two + size], content[one : one + size]


def cut(content, rng):
    del content[rng.choice((rng.randrange(len(content)), len(content) - rng.randint(1, 100))) :]


def leave_a_block_out(content, rng):
    size = rng.choice((1, 64, 4096))
    start = rng.randrange(len(content) - size)
    del content[start : start + size]


DAMAGES = (
    flip_a_bit, flip_bytes, flip_near_an_end, zero_a_block, overwrite_a_block, exchange_two_blocks, cut,
    leave_a_block_out,
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Fields and weights


def places(value, way=()):
    """Where in the content anything but the entries of a state is: tuples of keys and indices."""
    if way:
        yield way
    if isinstance(value, dict) and way[-1:] != ("state",):
        for key, item in value.items():
            yield from places(item, (*way, key))
    elif isinstance(value, list | tuple) and len(value) < 50:
        for index, item in enumerate(value):
            yield from places(item, (*way, index))


def changed(content, way, value):
    """A copy of the content with another value at the place; ...: without it."""
    content = inner = copy.deepcopy(content)
    *steps, end = way
    for step in steps:
        inner[step] = list(inner[step]) if isinstance(inner[step], tuple) else inner[step]
        inner = inner[step]
    if value is ...:
        del inner[end]
    else:
        inner[end] = value
    return content


def changes_of(weight, rng):
    """(what, the changed tensor) of an entry of the state."""
    yield "left out", ...
    for number in (float("nan"), float("inf"), -0.5, 1.5, 100.0, 2**62):
        if weight.is_floating_point() or number == int(number if abs(number) < 2**63 else 0):
            other = weight.clone()
            other.view(-1)[rng.randrange(other.numel())] = number
            yield f"a {number}", other
    for dtype in (torch.int32, torch.bool, torch.float16, torch.float64, torch.int64, torch.complex64, torch.bfloat16):
        if dtype != weight.dtype:
            yield str(dtype), weight.to(dtype)
    yield "zeros", torch.zeros_like(weight)
    yield "negative", -weight
    yield "one more", torch.cat([weight, weight[:1]])
    yield "flat", weight.reshape(-1)
    yield "a number", weight.flatten()[0].clone()
    yield "nothing", weight[:0].clone()
    yield "expanded", weight[:1].expand_as(weight)
    yield "a flipped bit", _with_a_flipped_bit(weight, rng)
    yield "exchanged", weight.flip(0)
    yield "a list", weight.tolist()


def _with_a_flipped_bit(weight, rng):
    raw = bytearray(weight.numpy().tobytes())
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return torch.frombuffer(raw, dtype=weight.dtype).reshape(weight.shape).clone()


def written(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def as_ways(content, unsigned):
    """(way, bytes): with the checksum that was there, without one as in the older format, and with a right one."""
    yield "changed", written(content)
    if not unsigned:
        return
    older = {key: value for key, value in content.items() if key != checkpoint.CHECKSUM}
    yield "older format", written({**older, **({"format": 1} if older.get("format") == 2 else {})})
    with contextlib.suppress(Exception):  # what no checksum can be made of is not forged either
        yield "forged", written(checkpoint.signed(content))


# ---------------------------------------------------------------------------------------------------------------------


class Counts:
    def __init__(self, verbose):
        self.rows, self.count, self.verbose = {}, 0, verbose

    def add(self, attack, found, detail):
        kind, said = found
        self.count += 1
        if self.count % 100 == 0:
            print(f"{self.count} tried", file=sys.stderr, flush=True)
        self.rows.setdefault(attack, Counter())[kind] += 1
        if kind in BAD[1:] or (kind == "otherwise" and attack.endswith(("bytes", "changed"))) or self.verbose:
            print(f"{attack}: {detail}: {kind}: {said}", flush=True)

    def print(self):
        print(f"\n| {'attack':<24} | tried | {' | '.join(OUTCOMES)} |")
        print(f"|{'---|' * (len(OUTCOMES) + 2)}")
        for attack, counts in self.rows.items():
            print(f"| {attack:<24} | {counts.total()} | {' | '.join(str(counts[kind]) for kind in OUTCOMES)} |")

    def failed(self):
        return sum(
            counts[kind]
            for attack, counts in self.rows.items()
            for kind in (BAD if attack.endswith(("bytes", "changed")) else BAD[1:])
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, default=900, help="copies with damaged bytes (default: %(default)s)")
    parser.add_argument("--fields", type=int, default=700, help="changed fields (default: %(default)s)")
    parser.add_argument("--unsigned", type=int, default=700, help="of them, and of the changed weights, how many also "
                        "without a checksum and with a right one (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    rng, counts = random.Random(args.seed), Counts(args.verbose)

    def ring(number, frame):
        raise HangError

    signal.signal(signal.SIGALRM, ring)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        victim = Victim(Path(folder))
        for case in range(args.bytes):
            damage, content = DAMAGES[case % len(DAMAGES)], bytearray(victim.whole)
            damage(content, rng)
            name = damage.__name__.replace("_", " ")
            counts.add("damaged bytes", victim.judge(bytes(content)), f"{case}, {name}")
        cases = [(way, value) for way in places(victim.content) for value in HOSTILE]
        rng.shuffle(cases)
        for number, (way, value) in enumerate(cases[: args.fields]):
            detail = f"{'.'.join(map(str, way))} = {str(value)[:40]!r}"
            for kind, content in as_ways(changed(victim.content, way, value), number < args.unsigned):
                counts.add(f"fields, {kind}", victim.judge(content), detail)
        state = victim.content["state"].items()
        cases = [(key, what, value) for key, weight in state for what, value in changes_of(weight, rng)]
        rng.shuffle(cases)
        for number, (key, what, value) in enumerate(cases):
            for kind, content in as_ways(changed(victim.content, ("state", key), value), number < args.unsigned):
                counts.add(f"weights, {kind}", victim.judge(content), f"{key}: {what}")
    counts.print()
    sys.exit(bool(counts.failed()))


if __name__ == "__main__":
    main()
