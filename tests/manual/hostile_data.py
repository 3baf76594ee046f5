"""Load odd folders and .npz files, train with odd names of classes, and count: ``python tests/manual/hostile_data.py``.

A refusal is an InputError of one line. The names of classes are tried in dry runs that draw all figures and maps; such
a run must write its scores, and may report figures that cannot be drawn, without a warning.
"""

import contextlib
import io
import itertools
import json
import os
import random
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import train  # noqa: E402
from datasets import load  # noqa: E402
from errors import InputError  # noqa: E402
from report import figures  # noqa: E402

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (16, 28, 28), np.uint8)
LABELS = np.arange(16) % 2
NAMES = [
    "$$", "$x", "$\\frac{1}$", "\\usepackage", "漢字", "한국어", "ひらがな", "سلام", "😀", "👨‍👩‍👧", "a\nb",
    "a\r", "\t", "\x1b[31m",
    "\0", "a\udcff", "\ud800", "", " ", ".", "..", "../../x", "/etc/passwd", "a/b", "a\\b", "con",
    "<script>alert(1)</script>",
    "</title>&amp;", "{0}", "%s%n", "a|b", 'a,b"c', "'", "a" * 100, "a" * 255, "漢" * 255, "\u202eabc",
    "\u200b", "nan", "None",
    "1e3", "-1", "é", "e\u0301", "x" * 40 + "a", "a:b", "a*b?", "~", "$HOME", "`x`",
]  # fmt: skip


def npz_cases(folder):
    """Yield (what, the name for --dataset) of files with wrong arrays and of damaged files."""
    good = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:4], "y_test": LABELS[:4]}
    arrays = [
        None, np.array(3), np.zeros(0), np.zeros((0, 28, 28), np.uint8), IMAGES[:3], IMAGES[..., 0],
        IMAGES[..., None],
        np.stack([IMAGES] * 3, 3), np.stack([IMAGES] * 4, 3), IMAGES / 255, IMAGES.astype(int), IMAGES > 9,
        IMAGES.astype(complex), np.full((16, 28, 28), np.nan), np.array(["a"] * 16), np.array([b"a", b"\xff"] * 8),
        np.array([None] * 16, object), LABELS - 1, LABELS[:, None], np.eye(2)[LABELS], LABELS * 2**62,
        LABELS.astype("M8[s]"),
        np.zeros((16, 1, 1), np.uint8), np.zeros((16, 28, 28), np.uint8), IMAGES[:, :0], np.zeros(16, "V3"),
    ]  # fmt: skip
    for key, (number, array) in itertools.product(good, enumerate(arrays)):
        content = {name: value for name, value in {**good, key: array}.items() if value is not None}
        path = folder / f"{key}-{number}.npz"
        np.savez(path, **content)
        yield f"{key} is {array.dtype} {array.shape}" if array is not None else f"no {key}", str(path)
    path = folder / "good.npz"
    np.savez(path, **good)
    data, rng = path.read_bytes(), random.Random(0)
    for number in range(40):
        damaged, start = bytearray(data), rng.randrange(len(data))
        if number % 4 == 0:
            damaged = damaged[:start]
        else:
            damaged[start : start + 4**number % 97] = rng.randbytes(4**number % 97)
        path = folder / f"damaged-{number}.npz"
        path.write_bytes(damaged)
        yield f"damage {number}", str(path)
    for name in (
        "nothing.npz",
        "",
        ".npz",
        "folder:",
        "folder:nothing",
        "folder:\0",
        "folder:/dev/null",
        "~nouser/x.npz",
        "\0.npz",
    ):
        yield name, name


def folder_cases(folder):
    """Yield (what, the name for --dataset) of folders with odd pictures, links and classes."""

    def make(name, files):
        for place, content in files.items():
            path = folder / name / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                Image.fromarray(content).save(path)
            elif isinstance(content, Path):
                path.symlink_to(content)
            elif content is None:
                path.mkdir(exist_ok=True)
            elif content == "fifo":
                os.mkfifo(path)
            else:
                path.write_bytes(content)
        return name, f"folder:{folder / name}"

    good = {
        f"{name}/{number}.png": IMAGES[2 * number + place] for place, name in enumerate("ab") for number in range(6)
    }
    odd = {
        "text": b"no picture", "empty": b"", "half": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        "small": IMAGES[0, :9], "fifo": "fifo",
        "colour": np.stack([IMAGES[0], IMAGES[1], IMAGES[2]], 2), "deep": IMAGES[0].astype(np.uint16) * 200,
        "loop": Path("x.png"), "dangling": Path("nowhere"), "device": Path("/dev/zero"), "above": Path(".."),
        "again": Path("0.png"), "alpha": np.stack([IMAGES[0]] * 4, 2), "folder": None,
        "float": IMAGES[0].astype(np.float32),
    }  # fmt: skip
    for what, content in odd.items():
        ending = "tiff" if what in ("deep", "float") else "png"
        yield make(f"{what} among pictures", {**good, f"a/x.{ending}": content})
        yield make(f"{what} as a class", {**good, f"c/0.{ending}": content})
        yield make(f"{what} alone", {f"a/0.{ending}": content})
    yield make("one class", {place: picture for place, picture in good.items() if place[0] == "a"})
    yield make("no class", {"0.png": IMAGES[0]})
    yield make("an empty class", {**good, "c/d": None})
    yield make("a test part alone", {f"test/{place}": picture for place, picture in good.items()})
    yield make(
        "more classes to test",
        {**{f"train/{place}": picture for place, picture in good.items()}, "test/c/0.png": IMAGES[0]},
    )
    yield make("hidden", {f".{place}": picture for place, picture in good.items()})


def judge(call):
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("error")
            return call()
    except InputError as error:
        return ("refused" if "\n" not in str(error) else "several lines"), str(error)
    except BaseException:
        return "traceback", traceback.format_exc()


def load_one(name):
    data = load(name)
    return "accepted", f"{data.train_images.shape} {data.class_names}"


def train_one(path, output):
    err = io.StringIO()
    words = [
        "--model",
        "mozafari2018",
        *["--epochs", "0", "0", "1", "--val-split", "2", "--threads", "1", "--save-maps", "1"],
        "--dataset",
    ]
    with contextlib.redirect_stderr(err):
        code = train.main([*words, str(path), "--output", str(output), "--name", "run"])
    if code == 2:
        return ("refused" if err.getvalue().count("\n") == 1 else "several lines"), err.getvalue()
    if code or err.getvalue() or not json.loads((output / "run" / "results.json").read_text())["test"]["best"]:
        return "no scores", err.getvalue()
    log = (output / "run" / "log.txt").read_text()
    return ("a figure is lost" if "cannot be drawn" in log else "accepted"), log[-300:]


def main():
    figures.DPI, counts = 20, {}

    def count(group, what, found):
        counts.setdefault(group, Counter())[found[0]] += 1
        if found[0] not in ("accepted", "refused") or "--verbose" in sys.argv:
            print(f"{group}: {found[0]}: {what!r}: {found[1][-300:]}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        for group, cases in (("npz files", npz_cases), ("folders", folder_cases)):
            place = Path(folder, group)
            place.mkdir()
            for what, name in cases(place):
                count(group, what, judge(lambda name=name: load_one(name)))
        for number, name in enumerate(NAMES):
            path = Path(folder, f"{number}.npz")
            np.savez(path, x_train=IMAGES, y_train=np.array([name, "other"] * 8))
            count("names", name, judge(lambda path=path, number=number: train_one(path, Path(folder, f"runs{number}"))))
    for group, found in counts.items():
        print(f"{group}: {found.total()} tried: {dict(found)}")


if __name__ == "__main__":
    main()
