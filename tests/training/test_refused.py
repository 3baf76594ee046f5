"""What the command line refuses: in one line, before anything is computed, and leaving no trace."""

import errno
import os
import pickle
import re
import shutil
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from support.command import CORES, DIGITS, contents, refuse

import datasets
import train
from errors import report_error
from s1c1 import S1C1
from training.checkpoint import encode_checkpoint, load_checkpoint
from utils import lock_folder


class Code:
    """Its pickle makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


@pytest.fixture(scope="module")
def bad(trained, tmp_path_factory):
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").touch()
    (folder / "text.png").write_text("no image")
    (folder / "folder").mkdir()
    (folder / "noise").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "code").write_bytes(pickle.dumps(Code(folder / "executed")))
    torch.save({"weights": torch.zeros(3)}, folder / "older.pt")
    torch.save(Code(folder / "executed"), folder / "older_code.pt")
    best = trained / "checkpoints" / "best.safetensors"
    content = load_checkpoint(best)

    def save(name, **changes):
        (folder / name).write_bytes(encode_checkpoint(replace(content, **changes)))

    save("model", model="gone")
    save("bare", run={})
    save("shape", state={**content.state, "stages.s2.weight": torch.zeros(250, 30, 5, 5)})
    (folder / "changed").write_bytes(best.read_bytes().replace(b"time_steps", b"time_stepz", 1))
    (folder / "truncated").write_bytes(best.read_bytes()[:-1000])
    (folder / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(best, folder / "run" / "checkpoints" / "last.safetensors")
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 12:16] = 255
    Image.fromarray(digit).save(folder / "digit.png")
    (folder / "list.json").write_text("[]")
    (folder / "unknown.toml").write_text("nonsense = 1\nresume = 'latest'")
    (folder / "type.toml").write_text("model = 'mozafari2018'\nbatch-size = 'many'")
    (folder / "truncated.png").write_bytes((folder / "digit.png").read_bytes()[:60])
    return folder


NEW = f"--model mozafari2018 {DIGITS} --output {{out}} "
MISTAKES = {
    # flags
    "--model nonsense": r"unknown model 'nonsense'; there are deep2024, .*mozafari2018",
    "--dataset digits": r"name a network with --model; --list-models prints them",
    "--summary": r"name a network with --model",
    "--summary --model nonsense": r"unknown model 'nonsense'",
    "--nonsense": r"unrecognized arguments: --nonsense",
    "--mod mozafari2018": r"unrecognized arguments: --mod",
    "--batch-size many": r"--batch-size.* invalid int value: 'many'",
    NEW + "--epochs 1 2": r"--epochs takes 3 numbers for mozafari2018, one for each phase \(s1 s2 s3\), not 2",
    NEW + "--epochs 1 -1 2": r"--epochs must be 0 or more, not -1",
    NEW + "--batch-size 0": r"--batch-size must be 1 or more, not 0",
    NEW + "--patience -1": r"--patience must be 0 or more, not -1",
    NEW + "--patience 5 --val-split 0": r"--patience needs validation images; leave out --val-split 0",
    "--summary --resume {run}": r"--summary and --resume are different things to do; leave one out",
    "--list-models --evaluate {run} --predict {bad}/digit.png": r"--list-models and --predict and --evaluate are diff",
    NEW + "--seed -1": r"--seed must be 0 or more, not -1",
    NEW + "--save-every nan": r"--save-every must be 0 or more, not nan",
    NEW + "--save-maps -1": r"--save-maps must be 0 or more, not -1",
    NEW + "--map-every -1": r"--map-every must be 0 or more, not -1",
    NEW + "--map-index 0 360": r"--map-index must be 0 to 359, the test images",
    NEW + "--map-index -1": r"--map-index must be 0 to 359, the test images",
    NEW + "--map-every 1": r"--map-every needs to know which images: add --save-maps N or --map-index I",
    NEW + f"--batch-size {10**23}": r"--batch-size must be at most 2,147,483,647, not 100,000,",
    NEW + f"--epochs 1 1 {10**23}": r"--epochs must be at most 2,147,483,647, not 100,000,",
    NEW + f"--seed {10**23}": r"--seed must be at most 9,223,372,036,854,775,807, not 100,000,",
    NEW + f"--map-index {10**23}": r"--map-index must be 0 to 359, the test images; not 1000",
    NEW + f"--threads {10**23}": r"--threads must be 1 to ",
    NEW + "--save-every inf": r"--save-every must be at most .*, not inf",
    NEW + "--name ../up": r"--name takes letters, digits and . _ -, the first no . or -; not '../up'",
    NEW + "--name .hidden": r"--name takes letters, digits and . _ -, the first no . or -; not '.hidden'",
    NEW + "--encoder nonsense": r"no encoder is called 'nonsense'; there are: s1c1",
    "--model deep204": r"unknown model 'deep204' \(did you mean deep2024\?\); there are deep2024, ",
    # what an unset variable of the shell leaves
    "--evaluate ''": r"--evaluate is empty: give it a value, or leave it out",
    "--resume ''": r"--resume is empty",
    "--predict ''": r"--predict is empty",
    "--predict {bad}/digit.png ' '": r"--predict is empty",
    "--model ''": r"--model is empty",
    NEW + "--dataset ''": r"--dataset is empty",
    NEW + "--data-dir ''": r"--data-dir is empty",
    NEW + "--device ''": r"--device is empty",
    NEW + "--output ''": r"--output is empty",
    NEW + "--name ''": r"--name is empty",
    NEW + "--seed ''": r"--seed: invalid int value: ''",
    # flags without effect
    "--list-models --ratio 7": r"--list-models prints a list and takes nothing; leave out --ratio",
    "--list-models --model mozafari2018": r"--list-models .*; leave out --model",
    "--summary --model mozafari2018 --threads 1": r"--summary prints .*; leave out --threads",
    "--evaluate {run} --encoder s1c1": r"--evaluate does not train; leave out --encoder",
    "--predict {bad}/digit.png --no-figures --name a": r"--predict takes image files; leave out --no-figures, --name",
    "--predict {bad}/digit.png --evaluate {run} --output {out}": r"--output is where 'latest' is looked for",
    "--resume {run} --output {out}": r"--output is where 'latest' is looked for; leave it out beside .*",
    # settings of the network
    NEW + "--set s9.threshold=2": r"s9.threshold: no stage is called 's9'; there are s1, c1, s2, c2, s3",
    NEW + "--set s2.width=2": r"s2.width: there is no such field; there are out_channels, kernel, .*rule.winners",
    NEW + "--set s2.rule.width=2": r"s2.rule.width: there is no such field; of this rule there are winners, radius",
    NEW + "--set s2.rule.warm_up.radius=2": r"s2.rule.warm_up.radius: there is no such field",
    NEW + "--set s2.in_channels=2": r"s2.in_channels: there is no such field",
    NEW + "--set s2.1.threshold=2": r"s2.1.threshold: s2 has no branches",
    NEW + "--set s2.threshold": r"--set takes FIELD=VALUE, such as s2.threshold=12 .*; not 's2.threshold'",
    NEW + "--set threshold=3": r"--set takes FIELD=VALUE",
    NEW + "--set s2.threshold=high": r"s2.threshold=high: a threshold must be a number from 0 on",
    NEW + "--set s2.threshold=-1": r"s2.threshold=-1: a threshold must be a number from 0 on",
    NEW + "--set s2.threshold=true": r"s2.threshold cannot be True",
    NEW + f"--set s2.threshold={10**400}": r"--set s2.threshold cannot be 100000.*: a number has at most 63 bits",
    NEW + f"--set s1.rule.rates=0.1,{10**400}": r"--set s1.rule.rates cannot be 0.1,100.*: a number has at most 63",
    NEW + "--set s2.kernel=2.5": r"s2.kernel=2.5: kernel of a convolution must be a whole number",
    NEW + "--set s2.kernel=50": r"kernel 50 does not fit",
    NEW + "--set s1.out_channels=999999999": r"s1.out_channels=999999999: a layer has fewer than 32,768 features",
    NEW + "--set s1.rule.winners=2.0": r"s1.rule.winners cannot be 2.0; it is a whole number",
    NEW + "--set s1.rule.winners=0": r"s1.rule.winners=0: winners must be a whole number from 1 to",
    NEW + "--set s1.rule.stabilize=1": r"s1.rule.stabilize cannot be 1; it is true or false",
    NEW + "--set s3.rule.reward=1": r"s3.rule.reward cannot be 1; it is 2 values, a number each",
    NEW + "--set s3.rule.warm_up=3": r"s3.rule.warm_up cannot be 3; it is STDP or none",
    NEW + "--set s3.out_channels=201": r"s3 has 201 features, which 10 classes cannot share",
    NEW + "--set s2.rule=none": r"s2.rule: a rule is not replaced or left out; 0 in --epochs leaves out its phase, and "
    "what can be set of it is rule.winners",
    NEW + "--set c1.rule=none": r"c1.rule: there is no such field; there are size$",
    NEW + "--set c1.rule.winners=3": r"c1.rule.winners: there is no such field; there are size$",
    NEW + "--set s2.first_weights=0.5": r"first weights are drawn from \(mean, deviation\), two numbers .*; not 0.5",
    NEW + "--set s2.first_weights=a,b": r"first weights are drawn from .*; not a,b",
    NEW + "--set c1.size=0": r"c1.size=0: the size of a pooling must be a whole number from 1 on",
    NEW + "--set encoder.width=3": r"encoder.width: the encoder s1c1 has no such .* encoder.filters, encoder.threshold",
    NEW + "--set encoder.colours=3": r"encoder.colours: the encoder s1c1 has no such parameter",
    NEW + "--set encoder.radius=2.5": r"encoder.radius cannot be 2.5; it is a whole number",
    NEW + "--set encoder.time_steps=0": r"encoder.time_steps",
    NEW + "--set encoder.filters=3,1,2": r"encoder.filters",
    NEW + "--set encoder.filters=((1000001,1,2),)": r"encoder.filters",
    NEW + "--set encoder.radius=1000000": r"radius must be a whole number from 0 to 1023, not 1000000",
    NEW + "--set s1.padding=5000000": r"padding 5000000 around a kernel of 5 makes neurons that see nothing",
    NEW + "--set s2.out_channels=100000": r"a layer has fewer than 32,768 features, not 100,000",
    "--resume {run} --set s2.threshold=12": r"--resume takes the network as its checkpoint holds it; leave out --set",
    "--evaluate {run} --set s2.threshold=12": r"--evaluate takes the network as its checkpoint holds it",
    "--resume {run} --config {bad}/empty": r"--resume goes on with the settings that .*; leave out --config",
    "--config {bad}/missing.toml": r"--config .*missing.toml cannot be read: No such file",
    "--config {bad}/noise": r"--config .*noise cannot be read: it is no text",
    "--config {bad}/text.png": r"--config .*text.png is no TOML",
    "--config {bad}/list.json": r"--config .*list.json is no args.json of a training run",
    "--config {bad}/unknown.toml": r"--config .*unknown.toml has nonsense, resume; what there may be: augment backend ",
    "--config {bad}/type.toml": r"--batch-size cannot be 'many'",
    # data
    "--model mozafari2018 --dataset nonsense": r"no data set is called 'nonsense'; there are: mnist, .*digits",
    "--model mozafari2018 --data-dir {bad}/missing": r"missing/MNIST/raw lacks train-images.* download failed .*put",
    "--model mozafari2018 --data-dir {bad}/folder": r"folder/MNIST/raw lacks train-images.* download failed .*put",
    "--model mozafari2018 --data-dir {bad}/empty": r"empty/MNIST/raw lacks train-images",
    NEW + "--image-size 0 5": r"an image size is a height and a width from 1 to 4096 pixels, not \(0, 5\)",
    NEW + "--dataset folder:{bad}/missing": r"there is no folder .*missing",
    NEW + "--dataset {bad}/missing.npz": r"there is no file .*missing.npz",
    NEW + "--ratio 0": r"ratio .*must be above 0 and at most 1, not 0.0",
    NEW + "--ratio 1.5": r"ratio .*must be above 0 and at most 1, not 1.5",
    NEW + "--ratio nan": r"ratio .*must be above 0 and at most 1, not nan",
    NEW + "--ratio 0.001": r"ratio of 0.001 leaves a class without any of the 1318 images",
    NEW + "--val-split -1": r"--val-split must be 0 or more, not -1",
    NEW + "--val-split nan": r"--val-split must be 0 or more, not nan",
    NEW + "--val-split some": r"--val-split: invalid .* value: 'some'",
    NEW + "--val-split 1437": r"--val-split: cannot hold out 1437 of 1437 .* give a count from 1 to 1436, or",
    NEW + "--val-split 1.5": r"--val-split: cannot hold out 1.5 of 1437 images",
    NEW + "--val-split 5": r"--val-split: holding out 5 of 1437 images leaves a class without an image",
    # machine
    NEW + "--device cuda": r"--device cuda",
    NEW + "--device nonsense": r"--device",
    NEW + "--device cpu:5": r"--device",
    NEW + "--device meta": r"--device",
    NEW + "--backend nonsense": r"--backend: invalid choice: 'nonsense' \(choose from .*event",
    NEW + "--threads 99999": rf"--threads must be 1 to {CORES} on this machine",
    NEW + "--threads two": r"--threads: invalid number or auto value: 'two'",
    NEW + "--threads -1": rf"--threads must be 1 to {CORES} on this machine",
    # output
    NEW + "--output {bad}/text.png": r"text.png",
    NEW + "--output {bad}/text.png/deep/er": r"--output .*text.png",
    "--evaluate {run} --dry-run --output {bad}/text.png": r"text.png",
    "--evaluate latest --output {bad}/folder": r"there is no run in .*folder yet",
    # checkpoints
    "--evaluate {bad}/missing": r"no checkpoint at .*missing",
    "--evaluate 'one\nline'": r"no checkpoint at one\\nline",
    "--evaluate {bad}/folder": r"no checkpoint at .*folder/checkpoints/last.safetensors",
    "--evaluate {bad}/empty": r"empty is damaged",
    "--evaluate {bad}/noise": r"noise is damaged",
    "--evaluate {bad}/truncated": r"truncated is damaged",
    "--evaluate {bad}/code": r"code is damaged",
    "--evaluate {bad}/older_code.pt": r"older_code.pt .*older version",
    "--evaluate {bad}/older.pt": r"older.pt .*older version",
    "--evaluate {bad}/model": r"model .*unknown model 'gone'; there are ",
    "--evaluate {bad}/shape": r"shape .*stages.s2.weight",
    "--evaluate {bad}/changed": r"changed is damaged or was changed",
    "--evaluate {run} --model deep2024": r"holds a mozafari2018, not a deep2024",
    "--evaluate {run} --map-index 360": r"--map-index must be 0 to 359, the test images",
    "--evaluate {run} --epochs 1 1 1 --patience 2": r"--evaluate does not train; leave out --epochs, --patience",
    "--evaluate {run} --batch-size 5 --seed 3": r"--evaluate does not train; leave out --batch-size, --seed",
    "--predict {bad}/digit.png --evaluate {run} --ratio 0.1": r"--predict takes image files; leave out --ratio",
    "--predict {bad}/digit.png --evaluate {run} --save-maps": r"--predict takes image files; leave out --save-maps",
    "--predict {bad}/digit.png --evaluate {run} --model deep2024": r"holds a mozafari2018, not a deep2024",
    "--evaluate {run} --model nonsense": r"unknown model 'nonsense'; there are ",
    "--evaluate {bad}/bare": r"bare does not say which images its network was trained on",
    "--predict {bad}/digit.png --evaluate {bad}/bare": r"bare does not say which images",
    "--evaluate {run} --save-maps -1": r"--save-maps must be 0 or more, not -1",
    NEW + "--after {bad}/missing": r"no checkpoint at .*missing/checkpoints/last.safetensors",
    NEW + "--after {bad}/run": r"--after .*/run: that is a network, but no run",
    "--resume {run} --after {run}": r"--resume goes on with the settings that .*; leave out --after",
    # resuming
    "--resume {bad}/missing": r"no checkpoint at .*missing/checkpoints/last.safetensors",
    "--resume latest --output {bad}/folder": r"there is no run in .*folder yet",
    "--resume {bad}/run": r"last.safetensors holds a network, but no run to go on with",
    "--resume {run} --epochs 2 13 6": r"leave out --epochs 2 13 6 \(the run has 2 12 5\)",
    "--resume {run} --epochs 2 12 4": r"leave out --epochs 2 12 4 \(the run has 2 12 5\)",
    "--resume {run} --init-from {run}": r"--resume goes on with the settings that .*; leave out --init-from",
    "--resume {run} --epochs 2 12 6 --seed 1": r"leave out --seed 1 \(the run has 0\)",
    # other weights
    NEW + "--init-from {bad}/missing": r"no checkpoint at .*missing",
    NEW + "--init-from {bad}/text.png": r"text.png is damaged",
    NEW + "--init-from {run} --set encoder.time_steps=20": r"another encoder: time_steps 15, not 20",
    NEW + "--init-from {run} --set s1.kernel=7 s2.kernel=5 s3.kernel=3": r"holds a mozafari2018; no stage fits one of",
    "--evaluate {run} --init-from {run}": r"--evaluate does not train; leave out --init-from",
    "--evaluate {run} --noise fog=1": r"no noise is called 'fog'; there are: gaussian=X, salt-pepper=X",
    "--evaluate {run} --noise gaussian=2": r"gaussian noise needs .*, 0 to 1, not '2'",
    NEW + "--noise gaussian=0.1": r"train.* leave out --noise",
    NEW + "--raw": r"leave out --raw",
    "--resume {run} --seed 1": r"leave out --seed 1 \(the run has 0\)",
    "--resume {run} --model deep2024": r"leave out --model deep2024 \(the run has mozafari2018\)",
    "--resume {run} --name other": r"leave out --name other \(the run has None\)",
    "--resume {run} --save-every -1": r"--save-every must be 0 or more, not -1",
    # images
    "--predict {bad}/missing.png --evaluate {run}": r"no image at .*missing.png",
    "--predict {bad}/folder --evaluate {run}": r"no images at .*folder",
    "--predict {bad}/*.bmp --evaluate {run}": r"no images at .*\*.bmp",
    "--predict {bad}/empty --evaluate {run}": r"empty cannot be read as an image; give a PNG or JPEG file",
    "--predict {bad}/text.png --evaluate {run}": r"text.png cannot be read as an image; give a PNG or JPEG file",
    "--predict {bad}/truncated.png --evaluate {run}": r"truncated.png cannot be read as an image",
    "--predict {bad}/digit.png --output {bad}/folder": r"there is no run in .*folder yet",
    "--predict": r"--predict: expected at least one argument",
}  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_gets_one_line(words, bad, trained, tmp_path, monkeypatch, capsys):
    """Before anything is computed, and without a trace of it in what was there or in the output folder."""

    def fail(*_):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fail)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(S1C1, "encode", lambda *_: pytest.fail("encoded images first"))
    monkeypatch.chdir(tmp_path)
    before = contents(bad), contents(trained)
    line = refuse(words.format(bad=bad, run=trained, out=tmp_path / "runs"), capsys)
    assert re.search(MISTAKES[words], line), line
    assert (contents(bad), contents(trained)) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["code", "older_code.pt"])
def test_no_code_of_a_file_is_executed(name, bad, capsys):
    refuse(f"--evaluate {bad}/{name}", capsys)
    assert not (bad / "executed").exists()


def test_the_event_backend_on_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    words = f"--model mozafari2018 --dataset digits --device cuda --backend event --output {tmp_path}"
    assert "the event backend runs on a CPU, not on cuda; use the torch backend there" in refuse(words, capsys)
    assert not list(tmp_path.iterdir())


def test_two_processes_in_one_run(trained, capsys):
    with lock_folder(trained):
        line = refuse(f"--resume {trained} --epochs 2 12 6", capsys)
    assert "another process is training in" in line


def test_a_run_in_a_folder_that_has_become_read_only(trained, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert str(trained) in refuse(f"--resume {trained} --epochs 2 12 6", capsys)


def test_an_error_of_the_disk_gets_one_line(monkeypatch, capsys):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/events.out")

    monkeypatch.setattr(train, "train", fail)
    assert (
        refuse("--model mozafari2018", capsys)
        == "train.py: cannot read or write runs/events.out: No space left on device\n"
    )


def test_an_error_of_the_disk_stays_one_line(capsys):
    assert report_error("sweep.py", OSError(errno.ENOENT, "gone", "one\nline")) == 2
    assert capsys.readouterr().err == "sweep.py: cannot read or write one\\nline: gone\n"


def test_another_number_of_classes(trained, tmp_path, monkeypatch, capsys):
    labels = np.arange(52) % 26
    letters = np.zeros((52, 28, 28), np.uint8), labels, np.zeros((52, 28, 28), np.uint8), labels
    data = datasets.DataSet("emnist-letters", *letters, tuple(string.ascii_lowercase))
    monkeypatch.setattr(datasets, "load", lambda *_: data)
    line = refuse(f"--evaluate {trained} --dataset emnist-letters --output {tmp_path}", capsys)
    assert "tells 10 classes (digits) apart; emnist-letters has 26" in line
    assert not list(tmp_path.iterdir())
