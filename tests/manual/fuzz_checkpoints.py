"""Damage and change a checkpoint in many ways, and count what is read of the copies.

    python tests/manual/fuzz_checkpoints.py --bytes 20000 --fields 5000 --commands 200

* Bytes: bits and bytes are flipped, blocks are overwritten, exchanged or left out, and the file is cut or extended, as
  disks and networks do it.
* Fields: a value of the JSON text or a tensor is replaced, removed or renamed, and the checksum stays as it was.

Each copy must be refused in one line, or its content must be that of the undamaged file. The first copies of both kinds
also go to ``evaluate.py`` and ``train.py --resume``, which must refuse them in one line with exit code 2. Any other
outcome is bad, is printed, and makes the exit code 1.
"""

import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from support.golden_checkpoints import GOLDEN  # noqa: E402

import evaluate  # noqa: E402
import train  # noqa: E402
from errors import InputError  # noqa: E402
from training.checkpoint import decode_checkpoint  # noqa: E402

DATA = (GOLDEN / "rewarded-last-rstdp.safetensors").read_bytes()  # with a best state, within an epoch
DAMAGES = "flip a bit", "flip a byte of the header", "zero", "overwrite", "exchange", "leave out", "cut", "extend"
OUTCOMES = "refused", "same", "other content", "several lines", "traceback"
VALUES = [
    None, True, -1, 0, 1, 2**53, 2**70, 0.5, -0.0, 1e300, float("nan"), float("inf"), "", "x", "../x", "\ud800", [],
    [0], [[]], {}, {"x": 1}, [0] * 10_000,
]  # fmt: skip
TENSORS = [torch.zeros(1), torch.full((3,), float("nan")), torch.zeros(3, dtype=torch.bool), torch.zeros(0)]


def damage_bytes(rng):
    """Return a copy of the file with damaged bytes, and the name of the damage."""
    data, size, damage = bytearray(DATA), rng.choice((1, 4, 64, 512, 4096)), rng.choice(DAMAGES)
    one, other = (slice(start, start + size) for start in (rng.randrange(len(data) - size) for _ in range(2)))
    if damage == "flip a bit":
        data[one.start] ^= 1 << rng.randrange(8)
    elif damage == "flip a byte of the header":
        data[rng.randrange(8 + int.from_bytes(data[:8], "little"))] ^= rng.randint(1, 255)
    elif damage == "zero":
        data[one] = bytes(size)
    elif damage == "overwrite":
        data[one] = rng.randbytes(size)
    elif damage == "exchange":
        data[one], data[other] = data[other], data[one]
    elif damage == "leave out":
        del data[one]
    elif damage == "cut":
        del data[one.start :]
    else:
        data += data[one]
    return bytes(data), damage


def find_places(value):
    """Yield (dict or list, key) of each value in nested dicts and lists."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from find_places(item)


def change_field(rng):
    """Return a copy of the file with another value or tensor and the checksum that it had, and the key."""
    metadata = json.loads(DATA[8 : 8 + int.from_bytes(DATA[:8], "little")])["__metadata__"]
    values, tensors = json.loads(metadata["checkpoint"]), safetensors.torch.load(DATA)
    if rng.random() < 0.3:
        key = rng.choice(sorted(tensors))
        tensor = tensors.pop(key)
        changes = [tensor.flip(0), -tensor, tensor + 1, tensor[None], tensor.float(), tensor.long(), tensor, *TENSORS]
        if rng.random() < 0.9:
            tensors[rng.choice([key, key, key.upper(), f"best/{key}"])] = rng.choice(changes).contiguous()
    else:
        inside, key = rng.choice(list(find_places(values)))
        if rng.random() < 0.1:
            del inside[key]
        else:
            inside[rng.choice([key, key, "x"]) if isinstance(inside, dict) else key] = rng.choice(VALUES)
    text = json.dumps(values)
    return safetensors.torch.save(tensors, metadata | {"checkpoint": text}), str(key)


# ---------------------------------------------------------------------------------------------------------------------


def describe(value):
    """Return a text that differs if any type or bit of the content differs."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)} {value.numpy().tobytes().hex()}"
    if isinstance(value, dict):
        return str({key: describe(value[key]) for key in sorted(value)})
    return describe(vars(value)) if hasattr(value, "__dict__") else repr(value)


def judge(data, content, path, by_commands):
    """Return the outcome for a copy, and a message."""
    try:
        found = decode_checkpoint(data, Path("file"))
    except InputError as error:
        if "\n" in str(error):
            return "several lines", str(error)
    except Exception:
        return "traceback", traceback.format_exc()
    else:
        return ("same" if describe(found) == content else "other content"), ""
    path.write_bytes(data)
    folder = path.parent.parent
    commands = ((evaluate, [str(path), f"--output={folder}"]), (train, [f"--resume={folder}"]))
    for program, words in commands if by_commands else ():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
            code = program.main(words)
        if code != 2 or err.getvalue().count("\n") != 1:
            return "several lines", err.getvalue()
    return "refused", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, default=20000, help="copies with damaged bytes (default: %(default)s)")
    parser.add_argument("--fields", type=int, default=5000, help="copies with changed fields (default: %(default)s)")
    parser.add_argument("--commands", type=int, default=200, help="copies for the commands (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args()
    content, bad = describe(decode_checkpoint(DATA, Path("file"))), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoints", "last.safetensors")
        path.parent.mkdir()
        for change, count in ((damage_bytes, args.bytes), (change_field, args.fields)):
            rng, counts = random.Random(args.seed), Counter()
            for number in range(count):
                data, what = change(rng)
                outcome, message = judge(data, content, path, number < args.commands)
                counts[outcome] += 1
                if outcome not in OUTCOMES[:2]:
                    print(f"{change.__name__} {number}, {what}: {outcome} {message}", flush=True)
            print(f"{change.__name__}: {', '.join(f'{counts[outcome]} {outcome}' for outcome in OUTCOMES)}")
            bad += sum(counts[outcome] for outcome in OUTCOMES[2:])
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
