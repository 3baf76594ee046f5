"""What the commands refuse: in one line, before anything is computed, and without a trace."""

import errno
import functools
import importlib.util
import os
import pickle
import shlex
import shutil
import string
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from support.command import (
    CORES,
    DIGITS,
    MACHINE,
    NO_REFERENCES,
    SMALL,
    contents,
    read_few_digits,
    run_evaluate,
    run_train,
)
from support.refusals import assert_refused, assert_refuses, read_table, refuses

import evaluate
import imagesets
import sweep
import train
from errors import InputError
from models import build_model
from s1c1 import S1C1
from training.checkpoint import RunRecord, encode_checkpoint, load_checkpoint
from training.command import report_error
from training.settings import TrainSettings
from utils import ROOT, lock_folder


class Code:
    """Its pickle makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


BAD = {  # files that are not what they should be, or that a command cannot use
    "empty": "", "text.png": "no image", "list.json": "[]", "unknown.toml": "nonsense = 1\nresume = 'latest'",
    "type.toml": "model = 'mozafari2018'\nbatch-size = 'many'", "seed.toml": "seed = 3\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def bad(trained, tmp_path_factory):
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("bad")
    for name, text in BAD.items():
        (folder / name).write_text(text)
    (folder / "folder").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    (folder / "noise").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "code").write_bytes(pickle.dumps(Code(folder / "executed")))
    torch.save(Code(folder / "executed"), folder / "older_code.pt")
    best = trained / "checkpoints" / "best.safetensors"
    content = load_checkpoint(best)

    def save(name, **changes):
        (folder / name).write_bytes(encode_checkpoint(replace(content, **changes)))

    save("model", model="gone")
    save("bare", record=RunRecord())
    save("shape", state={**content.state, "stages.s2.weight": torch.zeros(250, 30, 5, 5)})
    (folder / "changed").write_bytes(best.read_bytes().replace(b"time_steps", b"time_stepz", 1))
    (folder / "truncated").write_bytes(best.read_bytes()[:-1000])
    (folder / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(best, folder / "run" / "checkpoints" / "last.safetensors")
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 12:16] = 255
    Image.fromarray(digit).save(folder / "digit.png")
    (folder / "truncated.png").write_bytes((folder / "digit.png").read_bytes()[:60])
    (folder / "used" / "mozafari2018-digits-seed0" / "thesis").mkdir(parents=True)
    (folder / "linked").mkdir()
    (folder / "linked" / "mozafari2018-digits-seed0").symlink_to("nowhere")
    with mock.patch.multiple(train, learn=mock.DEFAULT, finish=mock.DEFAULT):
        run_train(f"{LIKE_RUN} --name new", folder)
    return folder


LIKE_RUN = f"--model mozafari2018 {DIGITS} --batch-size 100 --epochs 2 4 5 --no-figures"  # its phases are equal
PLACES = {"huge": 10**23, "long": "a" * 5000, "longer": 10**400, "cores": CORES, "line": "\n"}  # in the tables below
VALUES = """
--model      | ''
--device     | ''
--epochs     | 1 2 | 1 -1 2 | 1 1 1.5 | 1 1 {huge}
--batch-size | 0 | many | {huge}
--seed       | -1 | '' | {huge}
--patience   | -1 | 5 --val-split 0
--dataset    | ''
--data-dir   | ''
--ratio      | 0 | 1.5 | nan
--val-split  | -1 | nan | some | 1437 | 1.5 | 5
--threads    | -1 | two | 99999 | {huge}
--backend    | nonsense
--output     | '' | {bad}/text.png | {bad}/text.png/deep/er
--name       | '' | ../up | .hidden | run. | {long}
--save-every | nan | inf | -1
--save-maps  | -1
--map-every  | -1 | 1
--map-index  | 0 360 | -1 | {huge}
--augment    | twist=3 | turn=3 | copies=2.5 turn=3 | copies turn=3
--figures    | png | pdf --no-figures
--labels     | 0 | 9 | 1319 | 1.5 | few
"""  # of a flag of train.py; '' is what an unset variable of the shell leaves
FIELDS = """
s9.threshold           | 2
s2.rule.warm_up.radius | 2
threshold              | 3
s1.rule                | {{}} | {{1}}
s2.threshold           |  | high | -1 | true | {longer}
s1.out_channels        | 999999999
s1.padding             | 5000000
s1.rule.rates          | 0.1,{longer}
s2.first_weights       | 0.5 | a,b
encoder.width          | 3
encoder.radius         | 1000000
encoder.filters        | ((1000001,1,2),)
"""  # of --set; more of them are in tests/test_refusals.py
TRAIN = """
--model          | --dataset digits | --summary | --resume {run} --model deep2024
'nonsense'       | --model nonsense | --summary --model nonsense | --model mozafari2018 --dataset nonsense
'nonsense'       | {new} --encoder nonsense | {new} --device nonsense
deep2024         | --model deep204
--nonsense       | --nonsense
--mod            | --mod mozafari2018
--resume         | --resume '' | --summary --resume {run} | --resume
--evaluate       | --evaluate {run}
--raw            | {new} --raw
s3               | {new} --set s3.out_channels=201
kernel           | {new} --set s2.kernel=50
s2.out_channels  | {new} --set s2.out_channels=100000
missing.toml     | --config {bad}/missing.toml
noise            | --config {bad}/noise
text.png         | --config {bad}/text.png | {new} --init-from {bad}/text.png
pipe             | --config {bad}/pipe
/dev/zero        | --config /dev/zero
list.json        | --config {bad}/list.json
nonsense         | --config {bad}/unknown.toml
--batch-size     | --config {bad}/type.toml
missing/MNIST/raw | --model mozafari2018 --data-dir {bad}/missing
folder/MNIST/raw | --model mozafari2018 --data-dir {bad}/folder
empty/MNIST/raw  | --model mozafari2018 --data-dir {bad}/empty
missing          | {new} --dataset folder:{bad}/missing | {new} --init-from {bad}/missing | --resume {bad}/missing
missing.npz      | {new} --dataset {bad}/missing.npz
size             | {new} --image-size 0 5
ratio            | {new} --ratio 0.001
cuda             | {new} --device cuda
cpu:5            | {new} --device cpu:5
meta             | {new} --device meta
1 to {cores}     | {new} --threads 99999
folder           | --resume latest --output {bad}/folder
last.safetensors | --resume {bad}/run
--epochs         | --resume {run} --epochs 2 5 6 | --resume {run} --epochs 2 4 4
--seed           | --resume {run} --seed 1 | --resume {run} --epochs 2 4 6 --seed 1
--name           | --resume {run} --name other
--set            | --resume {run} --set s2.threshold=12
--init-from      | --resume {run} --init-from {run}
--labels         | --resume {run} --labels 30
none.csv         | {new} --labels none.csv
--save-every     | --resume {run} --save-every -1
--no-test        | --resume {run} --no-test | {new} --model kheradpisheh2018 --no-test --val-split 0
time_steps       | {new} --init-from {run} --set encoder.time_steps=20
no stage         | {new} --init-from {run} --set s1.kernel=7 s2.kernel=5 s3.kernel=3
s9               | {new} --save-features s9
s1, c1, s2, c2   | {new} --save-features s3
--map-index      | {new} --no-test --map-index 100000
unlabelled       | {new} --spread
--labels 5       | {new} --spread --labels 5
deepr2024        | {new} --model deepr2024 --augment copies=2 turn=10 | {new} --model deepr2024 --spread --labels 20
kheradpisheh2018 | {new} --model kheradpisheh2018 --augment copies=2 turn=10
"""  # what the line names: command lines
EVALUATE = """
RUN           |  | '' | --dataset digits
text.png      | {run} --dry-run --output {bad}/text.png | {run} --predict {bad}/text.png
--encoder     | {run} --encoder s1c1
--epochs      | {run} --epochs 1 1 1
--set         | {run} --set s2.kernel=3
--no-figures  | {run} --predict {bad}/digit.png --no-figures
--save-maps   | {run} --save-maps -1 | {run} --predict {bad}/digit.png --save-maps
--save-maps   | {run} --save-features c1 --save-maps
--scores      | {run} --scores | {run} --save-features c1 --predict x.png --scores
--map-index   | {run} --map-index 360
deep2024      | {run} --model deep2024 | {run} --predict {bad}/digit.png --model deep2024
nonsense      | {run} --model nonsense
c9            | {run} --save-features c9
s3            | {run} --save-features s3
--json        | {run} --save-features c1 --json
--raw         | {run} --save-features c1 --raw
--name        | {run} --name x --predict x.png
--image-size 28 28 | {run} --save-features c1 --dataset digits --image-size 20 20
one\\nline     | 'one{line}line'
folder/checkpoints | {bad}/folder
noise         | {bad}/noise
truncated     | {bad}/truncated
code          | {bad}/code
older_code.pt | {bad}/older_code.pt
changed       | {bad}/changed
'gone'        | {bad}/model
stages.s2.weight | {bad}/shape
--dataset     | {bad}/bare | {bad}/bare --draw {out}.html
--dataset     | {run} --save-features c1 --predict x.png --dataset digits
~nobody_here  | {run} --predict ~nobody_here
missing.png   | {run} --predict {bad}/missing.png
*.bmp         | {run} --predict {bad}/*.bmp
empty         | {bad}/empty | {run} --predict {bad}/empty
folder        | latest --output {bad}/folder | latest --predict {bad}/digit.png --output {bad}/folder
folder        | {run} --predict {bad}/folder {bad}/digit.png
truncated.png | {run} --predict {bad}/truncated.png
--predict     | {run} --predict | {run} --predict '' | {run} --predict {bad}/digit.png ' '
one RUN       | {run} {run} --nir {out}.nir | {run} {run} --draw {out}.html | {run} {run} --save-features
one RUN       | {run} {run} --save-features c1 --predict {bad}/digit.png | {run} {run} --save-maps
one RUN       | {run} {run} --map-index 0 | {run} {run} --predict {bad}/digit.png | {run} {run} --figures pdf
missing       | {bad}/missing | {run} {bad}/missing
cannot write . | {run} --draw . | {run} --nir .
cannot write / | {run} --draw /
missing/x.nir | {bad}/missing --nir {bad}/missing/x.nir
pipe          | {bad}/missing --draw {bad}/pipe
--nir         | {run} --nir {out}.nir --predict {bad}/digit.png | {run} --save-features c1 --nir x.nir
--tensorboard | {run} --nir {out}.nir --tensorboard
"""
SWEEP = """
--model         | --output x
--output        | --model mozafari2018 | --model mozafari2018 --output {bad}/run
used/mozafari2018-digits-seed0 | --model mozafari2018 --output {bad}/used
linked/mozafari2018-digits-seed0 | --model mozafari2018 --output {bad}/linked
mozafari2018-digits-seed0 | {x} --seeds 0 0
--epochs        | --model mozafari2018 deep2024 --output x --epochs 1 1 1
s1.threshold    | {x} --grid s1.threshold 8 -1
--grid          | {x} --grid s1.threshold | {x} --grid s1.threshold 8 9 --set s1.threshold=9
--grid          | {x} --grid s1.threshold 8 --grid s1.threshold 9
use --seeds     | {x} --grid seed 3 5
--grid          | {x} --grid augment '"none' | {x} --grid augment "" | {x} --grid augment "none --seed 3"
no flag         | {x} --grid val_split 3 5
no flag         | {x} --grid colour 3 5 | {x} --grid set a b | {x} --grid test 1 2 | {x} --grid save-every 1 2
leave one       | {x} --grid patience 3 5 --patience 4 | {x} --grid epochs "1 1 1" --epochs 1 1 2
--val-split     | {x} --val-split 1436
--patience      | {x} --patience 1 --val-split 0
--map-index     | {x} --map-index 9999
--device        | {x} --device cuda:99
--threads       | {x} --threads 999
nowhere         | {x} --init-from nowhere
1×1             | {x} --image-size 3 3
--labels        | {x} --labels ask.csv
--seeds         | {x} --seed 3 | {x} --seeds 3 --seed=3 | {x} --config {bad}/seed.toml
--ratio         | {x} --ratio 2
--frob          | {x} --frob 2
--resume        | {x} --resume y
pip install distributed | {x} --scheduler tcp://nowhere:1
--report        | --report nowhere | --report . --ratio 1
"""
MISTAKES = {
    train: [
        *((flag, f"{{new}} {flag} {value}") for flag, value in read_table(VALUES)),
        *((field, f"{{new}} --set {field}={value}") for field, value in read_table(FIELDS)),
        *read_table(TRAIN),
    ],
    evaluate: [*read_table(EVALUATE)],
    sweep: [*read_table(SWEEP)],
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_gets_one_line(command, bad, trained, tmp_path, monkeypatch):
    """Before anything is computed, and without a trace of it in what was there or in the output folder.

    A file that contains code would leave a folder if it was executed.
    """

    def fail(*_):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fail)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "distributed" else find(name))
    monkeypatch.setattr(imagesets, "load", functools.cache(imagesets.load))
    monkeypatch.setattr(S1C1, "encode", lambda *_: pytest.fail("encoded images first"))
    monkeypatch.setattr(train, "learn", lambda run: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path)
    before, wrong = (contents(bad), contents(trained)), []
    places = PLACES | {"bad": bad, "run": trained, "out": tmp_path / "runs", "x": "--model mozafari2018 --output x"}
    places["new"] = f"--model mozafari2018 {DIGITS} --output {tmp_path / 'runs'}"
    for about, words in MISTAKES[command]:
        about, words = (text.format(**places) for text in (about, words))
        if command is sweep and "--report" not in words:
            words += " --dataset digits"
        try:
            assert_refuses(command.main, words, about)
            assert not list(tmp_path.iterdir())
        except AssertionError as error:
            wrong.append(f"{words}: {error}")
    assert not wrong, "\n".join(wrong)
    assert (contents(bad), contents(trained)) == before


@pytest.mark.parametrize(("megabytes", "about"), [(1, "190 images"), (3, "the weights")])
def test_what_does_not_fit_in_memory_is_named(megabytes, about, tmp_path, monkeypatch):
    """190 images of 100×100 bytes; 200·250·5·5 weights."""
    monkeypatch.setattr("utils.get_available_memory", lambda: megabytes * 10**6)
    words = f"{SMALL} --image-size 100 100 --set c2.size=4 --output {tmp_path / 'runs'}"
    assert_refuses(train.main, words, about)


def test_shapes_are_checked_before_weights_are_drawn(monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("draws weights"))
    monkeypatch.setattr("utils.get_available_memory", lambda: pytest.fail("allocates weights"))
    with refuses("kernel"):
        build_model("mozafari2018", image_size=(28, 28), overrides={"s2.kernel": 301})


def test_the_event_backend_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    words = f"--model mozafari2018 --dataset digits --device cuda --backend event --output {tmp_path}"
    assert_refuses(train.main, words, "event")


def test_a_run_is_locked_before_it_is_read(trained, monkeypatch):
    """Else a process that ends in between leaves a newer checkpoint than the one that was read."""
    read = []

    def load(path):
        with refuses("another process"), lock_folder(trained):
            pass
        read.append(path)
        raise InputError("this is enough")

    monkeypatch.setattr(train, "load_run", load)
    assert_refuses(train.main, f"--resume {trained} --epochs 2 4 6", "enough")
    assert len(read) == 1


def test_a_run_in_a_folder_that_has_become_read_only(trained, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert_refuses(train.main, f"--resume {trained} --epochs 2 4 6", trained)


def test_an_error_of_the_disk_gets_one_line(monkeypatch, capsys):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/events.out")

    monkeypatch.setattr(train, "train", fail)
    assert_refuses(train.main, "--model mozafari2018", "runs/events.out")
    allocator = RuntimeError("DefaultCPUAllocator: can't allocate memory\nframe #0")
    compiler = SystemError("<built-in function x> error return without exception set")
    for error in (MemoryError, allocator, compiler, RuntimeError("std::bad_alloc")):
        monkeypatch.setattr(train, "train", mock.Mock(side_effect=error))
        assert_refuses(train.main, "--model mozafari2018", "memory")
    assert_refuses(train.main, ["--plugin", "a\0b"], "--plugin")
    odd = OSError(errno.ENOENT, "gone", "a\nb\x1b[2J\u202e\udcff")
    assert_refused("x.py", report_error("x.py", odd), *capsys.readouterr(), r"a\nb\x1b[2J\u202e\udcff")


@pytest.mark.slow
def test_a_home_that_is_no_folder_prints_no_warning():
    environment = {**os.environ, "HOME": "/etc/passwd"}
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    command = [sys.executable, str(ROOT / "train.py"), "--list-models"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stderr == ""


def test_another_number_of_classes(trained, tmp_path, monkeypatch):
    labels = np.arange(52) % 26
    letters = np.zeros((52, 28, 28), np.uint8), labels
    data = imagesets.DataSet("emnist-letters", *letters, tuple(string.ascii_lowercase), *letters)
    monkeypatch.setattr(imagesets, "load", lambda *_: data)
    words = shlex.join([str(trained), "--dataset", "emnist-letters", "--output", str(tmp_path)])
    assert_refuses(evaluate.main, words, "emnist-letters")


def test_no_class_of_a_new_run_is_called_silent(tmp_path, undrawn):
    """In predictions.csv, it means no decision. Runs that have such a class are resumed and tested."""
    arrays = read_few_digits()
    for part in ("y_train", "y_test"):
        arrays[part] = np.where(arrays[part] == 3, "silent", arrays[part].astype(str))
    np.savez(tmp_path / "my.npz", **arrays)
    words = f"--model mozafari2018 --dataset {tmp_path / 'my.npz'} {MACHINE} --epochs 0 0 0 {NO_REFERENCES} --name old"
    assert_refuses(train.main, f"{words} --output {tmp_path}", "silent")
    with mock.patch.object(TrainSettings, "refuse"):
        run_train(words, tmp_path)
    run_train(f"--resume old --epochs 0 0 1 {MACHINE}", tmp_path)
    run_evaluate(f"{tmp_path / 'old'} {MACHINE} --no-figures", tmp_path)
