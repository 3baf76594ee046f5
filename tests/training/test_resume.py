"""An interruption changes nothing: signals, kills and a full disk, before, during and after the training."""

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import torch
from support.command import CORES, MACHINE, SMALL, contents, results, run_evaluate, run_train, save_pictures, start
from support.refusals import assert_refused, assert_refuses, refuses
from support.run_folders import curves, events_of, load_last, only_run, outcome, read_log, same
from support.tiers import slow_except

import train
from imagesets import load
from models import build_model
from report import emergence, figures
from report.page import write_training_page
from run_folder import find_run
from training.recorders.checkpoints import Checkpoints
from training.recorders.maps import Maps
from training.recorders.moments import read_moments
from training.run import Run
from training.trained import load_network
from utils import ROOT, lock_folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The outcome of flags without an interruption; each is run once."""
    known = {}

    def run(words):
        if words not in known:
            known[words] = outcome(run_train(words, tmp_path_factory.mktemp("undisturbed")))
        return known[words]

    return run


def assert_same(found, expected):
    for what, value in expected.items():
        assert same(found[what], value), f"{what} differ"


LONG = "--epochs 1 1 2"  # s1, s2, s3: batches 1-3, 4-6, 7-12
FEW = f"{LONG} --batch-size 15 --labels 20 --augment copies=2 turn=5"  # batches 1-10, 11-20, 21-24
POINTS = "--batch-size 5 --epochs 0 0 1 --tensorboard"
STOPS = {  # words of a run, the batches before each stop, and words of the resume
    "in another phase, on more threads": (LONG, [5], f"--threads {min(2, CORES)}"),
    "before the last epoch's row": (LONG, [12], ""),
    "after each batch": (LONG, [1] * 11, ""),
    "while branches vote": (f"--model majority2024 {LONG}", [7], ""),
    "between turns": ("--model deepr2024_greedy --epochs 1 1 1 2", [10], ""),
    "before few labels": (FEW, [2], ""),
    "with few labels and copies": (FEW, [21], ""),
    "before labels spread": (f"{FEW} --spread", [20], ""),
    "with spread labels, on more threads": (f"{FEW} --spread", [24], f"--threads {min(2, CORES)}"),
    "in an added epoch": ("--epochs 1 1 1 --converge 0.155", [5], ""),
    "between two points of TensorBoard": (POINTS, [5], ""),
}
# Random networks with branches are interrupted in tests/engine/test_random_networks.py.
FAST_STOPS = "with spread labels, on more threads", "in an added epoch"


@pytest.mark.parametrize("name", slow_except(FAST_STOPS, STOPS))
def test_an_interruption_changes_nothing(name, tmp_path, undrawn, undisturbed, stop_after, monkeypatch, capsys):
    """Moved copies are then on the disk, not in memory."""
    words, stops, more = STOPS[name]
    expected = undisturbed(f"{SMALL} {words}")
    monkeypatch.setattr("engine.packed.MAX_IN_MEMORY", 0)
    stop_after(stops[0])
    run = run_train(f"{SMALL} {words}", tmp_path, 130)
    assert f"python train.py --resume {shlex.quote(str(run))}" in capsys.readouterr().out
    for batches in stops[1:]:
        stop_after(batches)
        run_train(f"--resume {run} {more}", tmp_path, 130)
    assert not (run / "results.json").exists()
    stop_after(None)
    run_train(f"--resume latest {more}", tmp_path)
    assert list(tmp_path.iterdir()) == [run]
    assert_same(outcome(run), expected)
    assert not list(run.glob("**/.*"))


def test_a_resumed_run_warns_if_the_code_has_changed(tmp_path, undrawn, stop_after, monkeypatch, capsys):
    stop_after(1)
    run_train(f"{SMALL} --epochs 1 0 0", tmp_path, 130)
    warning = "warning: the program's code has changed"
    run_train("--resume latest", tmp_path, 130)
    assert warning not in capsys.readouterr().out
    stop_after(None)
    monkeypatch.setattr("training.changes.digest_code", lambda: "0" * 64)
    run_train("--resume latest", tmp_path)
    assert warning in capsys.readouterr().out


def test_an_interrupted_run_keeps_all_moments_of_its_features(tmp_path, undrawn, stop_after, monkeypatch):
    """Of each layer that fires, in its first epoch, at the end of the batch that reaches the moment."""
    monkeypatch.setattr(emergence, "MOMENTS", (0, 40, 100, 120, 1000))
    words = f"{SMALL} --epochs 2 1 1 --tensorboard"
    found = []
    for name, stops in (("whole", [None]), ("stopped", [1, 1, 5, 1, None])):
        for number, batches in enumerate(stops):
            stop_after(batches)
            start(f"--resume {tmp_path / name}" if number else f"{words} --name {name}", tmp_path)
        found.append(read_moments(load_last(tmp_path / name).kept["Moments"]))
        assert [*curves(tmp_path / name)["emergence/s1", "filters/s1"]] == [0, 50, 100, 138]
    (whole, convergences), stopped = found
    assert {layer: sorted(kept) for layer, kept in whole.items()} == {name: [0, 50, 100, 138] for name in ("s1", "s2")}
    assert same(stopped[0], whole)
    assert stopped[1] == convergences
    assert [images for images, _ in convergences["s2"]] == [0, 50, 100, 138]
    first = build_model("mozafari2018", num_classes=10).stages
    weight = first["s2"].weight.numpy().astype(np.float64)
    assert convergences["s2"][0][1] == pytest.approx((weight * (1 - weight)).mean())  # of all features
    assert torch.equal(whole["s1"][0], first["s1"].weight[:30])
    assert not torch.equal(whole["s1"][50], whole["s1"][100])
    stop_after(None)
    assert not load_last(run_train(f"{SMALL} --epochs 1 0 0 --no-figures", tmp_path)).kept


@pytest.mark.slow
def test_the_points_within_an_epoch(undrawn, undisturbed):
    """28 batches of 5 images have 10 points, each the outcome of one batch."""
    found = undisturbed(f"{SMALL} {POINTS}")["curves"]
    accuracy, loss = (found["train_within_epochs", f"{part}/by_images"] for part in ("accuracy", "loss"))
    assert list(accuracy) == [15, 30, 45, 60, 70, 85, 100, 115, 125, 138]
    for step, value in list(accuracy.items())[:-1]:
        assert 0 <= value + loss[step] <= 1.000001
        assert 5 * value == pytest.approx(round(5 * value), abs=1e-5)  # of 5 images


def test_a_kill_loses_no_maps(tmp_path, undrawn, monkeypatch):
    """While the maps of an epoch are drawn: they are there after the resume."""
    words = f"{SMALL} --epochs 1 1 1 --map-index 0 --map-every 1"
    plain = Maps.record_epoch

    def kill(self, step):
        if len(self.run.progress.history) == 2:
            raise KeyboardInterrupt
        plain(self, step)

    monkeypatch.setattr(figures, "DPI", 20)
    with mock.patch.object(Maps, "record_epoch", kill):
        run_train(words, tmp_path, 130)
    run = run_train("--resume latest", tmp_path)
    found = sorted(path.name for path in (run / "maps").iterdir())
    assert found == ["0001-s1-epoch1", "0002-s2-epoch1", "0003-s3-epoch1", "end"]


def test_a_kill_doubles_no_curve_in_tensorboard(tmp_path, undrawn):
    """After the epoch's events, but before its checkpoint: the epoch is done again, and shown once."""
    save = Run.save

    def kill(self, name="last.safetensors", state=None):
        if len(self.progress.history) == 3:
            raise KeyboardInterrupt
        save(self, name, state)

    with mock.patch.object(Run, "save", kill):
        run_train(f"{SMALL} --epochs 1 1 2 --tensorboard", tmp_path, 130)
    run_train("--resume latest", tmp_path)
    folder = run_train("--resume latest", tmp_path)  # a finished run, which ends again
    found = curves(folder)
    for stage, run, steps in (("s1", ".", [1]), ("s2", ".", [2]), ("s3", "train", [1, 2])):
        assert list(found[run, f"stages/{stage}/convergence"]) == steps
    assert list(found["validation", "accuracy/by_epoch"]) == [1, 2]
    assert list(found["train_within_epochs", "loss/by_images"]) == [50, 100, 138, 188, 238, 276]
    assert list(found[".", "test/accuracy"]) == [5]
    weights = events_of(folder)["train"].Histograms("stages/s3/weights")
    assert [event.step for event in weights] == [1, 2]


def test_a_finished_run_is_reported_and_not_changed(trained, tmp_path, capsys):
    before = contents(trained)
    run_train(f"--resume {trained}", tmp_path)
    out = capsys.readouterr().out
    assert str(trained) in out
    assert "--epochs 2 4 6" in out
    assert contents(trained) == before


@pytest.mark.parametrize("before", slow_except(["1 1 1"], ["1 1 1", "1 1 0"]))
def test_a_finished_run_that_is_lengthened(before, tmp_path, undrawn, undisturbed, stop_after):
    """It becomes the run that had these epochs from the beginning, and keeps its results until then."""
    run = run_train(f"{SMALL} --epochs {before}", tmp_path)
    old = results(run)
    with mock.patch.object(train, "learn", side_effect=KeyboardInterrupt):  # killed before the first batch
        run_train("--resume latest --epochs 1 1 2", tmp_path, 130)
    stop_after(1)
    run_train("--resume latest", tmp_path, 130)
    assert results(run) == old
    stop_after(None)
    run_train("--resume latest", tmp_path)
    assert_same(outcome(run), undisturbed(f"{SMALL} --epochs 1 1 2"))
    assert results(run)["test_reads"] == 2
    assert results(run)["flags"]["epochs"] == [1, 1, 2]


EPOCHS = ["null", "[]", "5", '[2, 4, "x"]', "[2, 4, null]", "[2, 4, 5.5]", "[2, 4, 1e999]", "[2, 4, -1]"]
DAMAGED = [None, "", "[]", "{}", '{"flags": 3}', "\x80", *(f'{{"flags": {{"epochs": {epochs}}}}}' for epochs in EPOCHS)]


def test_a_finished_run_whose_side_files_are_damaged(trained, tmp_path, capsys):
    """It is still finished, and its page can be written."""
    run = shutil.copytree(trained, tmp_path / "run")
    network = load_network(run)
    for content in DAMAGED:
        for name in ("args.json", "summary.txt"):
            (run / name).unlink(missing_ok=True)
            if content is not None:
                (run / name).write_text(content, encoding="latin-1")
        before = contents(run)
        run_train(f"--resume {run}", tmp_path)
        assert "is finished" in capsys.readouterr().out
        assert contents(run) == before
        results = run / "results.json"
        results.write_text('{"flags": {}, "versions": 3, "operations": 3}' if content is None else content, "latin-1")
        page = write_training_page(run, network.model, "some title", [])
        assert "some title" in page.read_text()
        shutil.copy(trained / "results.json", results)


def test_the_latest_run_has_the_newest_checkpoint(tmp_path):
    for age, name in enumerate(("old", "new")):
        place = tmp_path / name / "checkpoints" / "last.safetensors"
        place.parent.mkdir(parents=True)
        place.touch()
        os.utime(place, (age, age))
    assert find_run("latest", tmp_path).name == "new"


def test_latest_is_no_dry_run(trained, tmp_path, undrawn, capsys):
    """And evaluate.py names the run, but not where a program reads its answers."""
    run_train(f"{SMALL} --dry-run --name tried", tmp_path)
    with refuses("tried"):
        find_run("latest", tmp_path)
    run = shutil.copytree(trained, tmp_path / "old")
    os.utime(run / "checkpoints" / "last.safetensors", (0, 0))
    capsys.readouterr()
    run_train("--resume latest", tmp_path)
    assert capsys.readouterr().out.startswith(f"{run} is finished")
    (picture,) = save_pictures(tmp_path, load("digits").test_images[:1])
    words = f"{MACHINE} --predict {picture} --json"
    run_evaluate(f"latest {words}", tmp_path)
    out, err = capsys.readouterr()
    assert str(run) in err.splitlines()[0]
    run_evaluate(f"{run} {words}", tmp_path)
    assert capsys.readouterr() == (out, "")


def test_the_latest_run_that_another_process_trains(trained, tmp_path):
    """The refusal names it, and the flag that chooses another."""
    run = shutil.copytree(trained, tmp_path / "of-another-job")
    words = f"--epochs 2 4 6 --output {tmp_path}"
    with lock_folder(run):
        line = assert_refuses(train.main, f"--resume latest {words}", run)
        assert "--resume RUN" in line
        assert "--resume RUN" not in assert_refuses(train.main, f"--resume {run} {words}", run)


@pytest.mark.unix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_gives_its_exit_code(number, code, tmp_path, undrawn, monkeypatch, capsys):
    plain = Checkpoints.record

    def record(self, step):
        os.kill(os.getpid(), number)
        plain(self, step)

    monkeypatch.setattr(Checkpoints, "record", record)
    run_train(f"{SMALL} --epochs 1 1 1", tmp_path, code)
    assert "stopped and saved; continue with" in capsys.readouterr().out


def popen(*words):
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.unix
def test_the_command(tmp_path, undrawn, undisturbed):
    """The real thing, its output not a terminal: Ctrl-C, then the command that it prints."""
    words = f"{SMALL} --epochs 1 1 2"
    with popen(sys.executable, "train.py", *words.split(), "--no-figures", "--output", tmp_path) as process:
        lines = [process.stdout.readline()]
        while lines[-1].split()[1:3] != ["STDP", "epoch"]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    assert lines[0].startswith("run folder  ")
    assert lines[-1].split()[:4] == ["s1", "STDP", "epoch", "1/1"]
    assert process.returncode == 130
    assert err == "\nstopping after this batch; press Ctrl-C again to stop immediately\n"
    *_, told, command = out.splitlines()
    assert told == "stopped and saved; continue with"
    python, *command = shlex.split(command)
    assert python == "python"

    with popen(sys.executable, *command) as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert not set("\r\x1b") & set(out)  # no bars
    after, lines = out, out.splitlines()
    assert lines[0].startswith("resuming  ")
    assert sum(line.split()[:3] == ["s3", "R-STDP", "epoch"] for line in lines) == 2
    run = only_run(tmp_path)
    assert f"see {run}" in lines
    log = read_log(run)
    assert log.startswith("run folder  ")
    assert log.endswith(f"{told}\n    python {shlex.join(command)}\n{after}")
    assert_same(outcome(run), undisturbed(words))


@pytest.mark.slow
def test_a_process_that_is_killed(tmp_path, undrawn, undisturbed):
    """SIGKILL in the second phase."""
    words = f"{SMALL} --epochs 1 1 2 --save-every 0"
    with popen(sys.executable, "train.py", *words.split(), "--no-figures", "--output", tmp_path) as process:
        while process.stdout.readline().split()[:3] != ["s1", "STDP", "epoch"]:
            assert process.poll() is None
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    run = run_train("--resume latest", tmp_path)
    assert_same(outcome(run), undisturbed(f"{SMALL} --epochs 1 1 2"))
    assert not list(run.glob("**/.*"))


WORDS = f"{SMALL} --epochs 0 0 1"


def fill_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "index.html")


def send(number):
    return lambda *_, **__: os.kill(os.getpid(), number)


PLACES = [  # (function, what disturbs it, the exit code, how often the test images are read in all)
    ("testing.write_json", fill_disk, 2, 2), ("testing.write_page", send(signal.SIGTERM), 143, 2),
    ("testing.write_page", fill_disk, 2, 2), ("testing.draw_figures", send(signal.SIGINT), 130, 2),
    ("run.RunLog", send(signal.SIGTERM), 143, 1),
]  # fmt: skip


@pytest.mark.unix
@pytest.mark.parametrize(("place", "disturb", "code", "reads"), slow_except(PLACES[:3], PLACES))
def test_after_a_disturbance_outside_the_training_a_command_completes_the_run(
    place, disturb, code, reads, tmp_path, undrawn, undisturbed, capsys
):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with mock.patch(f"training.{place}", disturb):
        run = run_train(WORDS, tmp_path, code)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    out, err = capsys.readouterr()
    assert (err if code == 2 else out).splitlines()[-1].strip().endswith(f"python train.py --resume {run}")
    if code == 2:
        assert_refused("train.py", code, "", err, "index.html")
        assert "Errno" not in err
    run_train(f"--resume {run}", tmp_path)
    assert results(run)["test_reads"] == reads
    assert (run / "index.html").is_file()
    assert_same(outcome(run), undisturbed(WORDS))


@pytest.mark.parametrize("kind", slow_except(["epoch"], ["epoch", "end"]))
def test_an_interruption_at_the_end_of_a_phase(kind, tmp_path, undrawn, undisturbed):
    """What is wrong after the phase is found once."""
    plain = Checkpoints.record

    def record(self, step):
        self.run.stop.asked = step.kind == kind
        plain(self, step)

    with mock.patch.object(Checkpoints, "record", record):
        run_train(WORDS, tmp_path, 130)
    run = run_train("--resume latest", tmp_path)
    texts = results(run)["diagnosis"]
    assert sum(text.startswith("s3: ") for text in texts) == 1
    assert_same(outcome(run), undisturbed(WORDS))


@pytest.mark.unix
def test_a_signal_before_the_run_has_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "load_data", lambda _: os.kill(os.getpid(), signal.SIGINT))
    run_train(WORDS, tmp_path, 130)
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_can_be_resumed_as_soon_as_it_begins(tmp_path):
    with mock.patch.multiple(train, learn=mock.DEFAULT, finish=mock.DEFAULT):
        progress = load_last(run_train(WORDS, tmp_path)).progress
    assert progress.phase == progress.batch == 0


def test_a_disk_that_is_full_during_the_training(tmp_path, undrawn, capsys):
    """The checkpoint before is as it was."""
    plain, saves = os.replace, []

    def full(source, target):
        saves.append(target)
        if len(saves) > 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(source, target)

    with mock.patch.object(os, "replace", full):
        run = run_train(f"{WORDS} --save-every 0", tmp_path, 2)
    assert_refused("train.py", 2, "", capsys.readouterr().err, saves[-1])
    assert load_last(run).progress.phase == 2
    assert not list(run.glob("**/.*"))
    run_train(f"--resume {run}", tmp_path)


def test_the_page_exists_while_the_run_trains(tmp_path, undrawn):
    with mock.patch.object(train, "finish"):
        page = (run_train(WORDS, tmp_path) / "index.html").read_text()
    assert "epoch 1 of s3" in page
    assert "--resume" in page


@pytest.mark.unix
@pytest.mark.slow
@pytest.mark.parametrize("module", ["numpy", "numba"])
@pytest.mark.parametrize("command", ["train.py", "evaluate.py", "sweep.py"])
def test_ctrl_c_while_modules_are_imported(command, module, tmp_path):
    (tmp_path / f"{module}.py").write_text("import os\nos.kill(os.getpid(), 2)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, ROOT / command], capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
