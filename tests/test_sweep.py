"""``sweep.py``: the runs are those of train.py, wherever they run; no phase is trained twice; the report."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from support.command import (
    FEW_DIGITS,
    NO_REFERENCES,
    TRAINED,
    contents,
    dont_draw,
    read_csv,
    read_few_digits,
    results,
    run_evaluate,
    run_train,
    train_here,
)
from support.refusals import assert_refuses
from support.refusals import read_table as read_words
from support.run_folders import load_last, outcome, read_args, same
from support.tiers import slow_except

import sweep
from engine.augmentation import Augmentation
from engine.plugins import PLUGINS
from network_trainer import MODELS, NetworkTrainer
from report.evaluation import Evaluation
from report.results import describe_balance
from report.sweep_report import NONE, SCORE_COLUMNS, SweptRun, choose_settings, describe_choice, read_runs
from run_folder import FORMAT, RunFolder
from training.parsing import read_pairs
from training.plan import read_augmentation
from training.settings import SweepSettings
from utils import ROOT, try_lock, unlock

FLAGS = f"--dataset {FEW_DIGITS} --batch-size 50 --epochs 1 1 2 --no-figures {NO_REFERENCES}"
NETWORKS = "mozafari2018", "mozafari2018_margin"  # with the same s1 and s2


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """{network: the folder of its run by train.py alone, with seed 1}."""
    output = tmp_path_factory.mktemp("alone")
    return {name: run_train(f"--model {name} --seed 1 --threads 1 {FLAGS}", output) for name in NETWORKS}


def assert_same_run(one, other):
    """The same weights to the bit, the same history but for the seconds, the same scores."""
    assert same(outcome(one), outcome(other))
    first, second = ({**results(run), "seconds": 0, "peak_memory_mb": 0, "next": None} for run in (one, other))
    flags = [found.pop("flags") for found in (first, second)]
    assert first == second
    assert {name for name in flags[0] if flags[0][name] != flags[1][name]} <= {"output", "name"}


@pytest.fixture
def here(monkeypatch, request):
    """Jobs run in this process, one after another. Returns a list: (run, phase) of each epoch that they train.

    They measure no ROC curves, unless a test compares them with those of train.py alone. After the batches that
    ``stop_after`` counts, a job stops as by Ctrl-C.
    """
    trained, plain = Trained(), NetworkTrainer.steps

    def train_one(run, *more):
        trained.run = Path(run).name
        return train_here(run, *more)

    def steps(*args, **kwargs):
        for step in plain(*args, **kwargs):
            trained.stop_after -= step.kind == "batch"
            if step.kind == "batch" and trained.stop_after == 0:
                signal.raise_signal(signal.SIGINT)
            if step.kind == "epoch":
                trained.append((trained.run, step.phase.name))
            yield step

    if "alone" not in request.fixturenames:
        dont_draw(monkeypatch)
    monkeypatch.setattr(sweep, "train_one", train_one)
    monkeypatch.setattr(NetworkTrainer, "steps", steps)
    return trained


class Trained(list):
    stop_after = 0


def words(output, more=""):
    """The command line of a sweep with seed 1."""
    return f"--model {' '.join(NETWORKS)} --seeds 1 --output {output} {FLAGS} --jobs 1 {more}"


def run_sweep(words, code=0):
    """Run sweep.py, which must end with this exit code."""
    assert sweep.main(shlex.split(words)) == code, words


def read_report(folder):
    return (folder / "sweep.md").read_text()


def run_of(output, network):
    """The folder of the network's run."""
    return next(output.glob(f"{network}-*-seed1"))


@pytest.mark.parametrize("batches", slow_except([2], [2, 8]))
def test_a_sweep_that_was_stopped_continues(tmp_path, alone, here, batches, capsys):
    """One of its two runs, of four epochs each, is stopped in its first phase, or in its last."""
    here.stop_after = batches
    run_sweep(words(tmp_path), 130)
    assert len(here) < 8
    command = capsys.readouterr().err.splitlines()[-1].strip()
    assert command.startswith("python sweep.py ")
    run_sweep(command.removeprefix("python sweep.py "))
    assert len(here) == 8
    for name in NETWORKS:
        assert_same_run(alone[name], run_of(tmp_path, name))


def test_if_a_run_fails_the_others_are_trained(tmp_path, alone, here, monkeypatch, capsys):
    train_one = sweep.train_one

    def fail(run, *more):
        Path(f"{run}.error.txt").touch()
        error = Path(run).name, 2, "first line\ntrain.py: no memory\n"
        return train_one(run, *more) if NETWORKS[1] in run else error

    monkeypatch.setattr(sweep, "train_one", fail)
    run_sweep(words(tmp_path), 1)
    assert re.match(rf"failed: {NETWORKS[0]}-.*: train.py: no memory", capsys.readouterr().err)
    (errors,) = tmp_path.glob("*.error.txt")
    assert errors.read_text() == "first line\ntrain.py: no memory\n"
    assert len(here) == 4
    assert_same_run(alone[NETWORKS[1]], run_of(tmp_path, NETWORKS[1]))


def test_a_sweep_replaces_dry_runs(tmp_path, here):
    """Also the same sweep twice, with and without --dry-run, whose report names its dry runs."""
    run_sweep(words(tmp_path, "--dry-run --no-test"))
    assert "**Dry runs**" in read_report(tmp_path)
    run_sweep(words(tmp_path, "--no-test"))
    assert "**Dry runs**" not in read_report(tmp_path)
    assert [results(run_of(tmp_path, name))["finished"] for name in NETWORKS] == [[1, 1, 2]] * 2
    assert_refuses(sweep.main, words(tmp_path, "--dry-run --no-test"), "--dry-run")


def test_a_second_sweep_in_the_same_folder_is_refused(tmp_path, here, monkeypatch):
    def start_another(run, *more):
        assert (tmp_path / ".lock").exists()
        assert_refuses(sweep.main, words(tmp_path), tmp_path)
        return run, 130, ""

    monkeypatch.setattr(sweep, "train_one", start_another)
    run_sweep(words(tmp_path), 130)


def test_a_damaged_run_is_reported_and_kept(tmp_path, here):
    """Damage that a resumed run repairs is not reported."""
    few = words(tmp_path, "--epochs 0 0 1")
    run_sweep(few)
    first, second = (run_of(tmp_path, name) for name in NETWORKS)
    (second / "results.json").write_text("")
    run_sweep(few)
    assert results(second)["test"]["best"]
    (first / "metrics.csv").write_text("epoch\n1\n")
    assert_refuses(sweep.main, few, first)


def test_a_sweep_is_continued_with_other_code_but_not_on_other_data(tmp_path, here, monkeypatch):
    """The report names the code. A run whose checkpoint is damaged is planned, although its data are unknown: train.py
    reports the damage."""
    data = shutil.copy(FEW_DIGITS, tmp_path / "d.npz")
    words = f"--model control2026 --dataset {data} --epochs 1 --no-figures {NO_REFERENCES} --jobs 1"
    words += f" --output {tmp_path / 'runs'} --seeds 0"
    run_sweep(words)
    monkeypatch.setattr("training.changes.digest_code", lambda: "01234567" * 8)
    run_sweep(f"{words} 1")
    text = read_report(tmp_path / "runs")
    assert "different code" in text
    (new,) = [line for line in read_list(text) if "code=01234567:" in line]
    assert new.endswith(": control2026-d.npz-seed1")
    reverse("x_train", data)
    line = assert_refuses(sweep.main, f"{words} 1 2", "d.npz")
    assert len(set(re.findall(r"\b[0-9a-f]{16}\b", line))) == 2
    monkeypatch.setattr(RunFolder, "record", {})
    assert len(sweep.plan_runs(SweepSettings.parse(f"{words} 1 2".split()))) == 3


def test_each_seed_starts_from_the_run_of_this_seed(tmp_path, here):
    """A decision rule on trained features; none or several runs of a seed are refused, and one that is not finished."""
    features, decisions = tmp_path / "features", tmp_path / "decisions"
    words = f"--model mozafari2018 --dataset {FEW_DIGITS} --no-figures {NO_REFERENCES} --jobs 1 --seeds"
    run_sweep(f"{words} 1 2 --epochs 1 0 0 --output {features}")
    begun = f"--init-from {features} --epochs 0 0 1 --set s3.rule=margin --output"
    run_sweep(f"{words} 1 2 {begun} {decisions}")
    weights = []
    for before, after in zip(sorted(features.glob("*-seed*")), sorted(decisions.glob("*-seed*")), strict=True):
        states = [load_last(run).state for run in (before, after)]
        weights.append(states[0]["stages.s1.weight"])
        assert torch.equal(weights[-1], states[1]["stages.s1.weight"])
        assert before.name in read_args(after)["init_from"]["checkpoint"]
    assert not torch.equal(*weights)
    (row,) = read_table(read_report(decisions)).values()
    assert row["seeds"] == "2"
    refused = tmp_path / "refused"
    assert_refuses(sweep.main, f"{words} 1 3 {begun} {refused}", "seed 3")
    shutil.copytree(before, features / "another")
    assert "another" in assert_refuses(sweep.main, f"{words} 1 2 {begun} {refused}", before.name)
    shutil.rmtree(before)
    (features / "another" / "results.json").unlink()
    assert_refuses(sweep.main, f"{words} 1 2 {begun} {refused}", features / "another")


@pytest.mark.unix
@pytest.mark.parametrize(
    ("text", "code"), [("", 0), ("raise SystemExit(3)", 3), ("os.kill(os.getpid(), 15)", -15), ("time.sleep(60)", 143)]
)
def test_the_exit_code_of_a_run(text, code, tmp_path):
    """A run that fails by its own error has failed, also if the sweep is stopped meanwhile."""
    program = tmp_path / "program.py"
    program.write_text(f"import os, time\nopen('started', 'w')\nos.write(2, b'message')\n{text}")
    command = [sys.executable, str(program)]
    started = tmp_path / "started"
    arguments = "x/run", command, [], str(tmp_path), 1
    assert sweep.train_one(*arguments, lambda: "sleep" in text and started.exists()) == ("run", code, "message")
    assert sweep.train_one(*arguments, lambda: True) == ("run", 130, "")


@pytest.mark.parametrize("name", ["run", ".run.new"])
def test_a_task_waits_for_a_run_that_goes_on_and_then_resumes_it(name, tmp_path):
    """As after its worker was killed: the run has begun, or is beginning."""
    folder = tmp_path / name
    folder.mkdir()
    commands = [[sys.executable, "-c", f"open({text!r}, 'w')"] for text in ("start", "resume")]
    arguments = str(tmp_path / "run"), *commands, str(tmp_path), 1
    lock = try_lock(tmp_path / "run")
    with ThreadPoolExecutor() as pool:
        assert sweep.train_one(*arguments, lambda: True) == ("run", 130, "")
        task = pool.submit(sweep.train_one, *arguments)
        time.sleep(0.3)
        assert not task.done()
        assert not (tmp_path / "start").exists()
        folder.rename(tmp_path / "run")
        unlock(lock)
    assert task.result() == ("run", 0, "")
    assert (tmp_path / "resume").exists()
    assert not (tmp_path / "start").exists()


def test_ctrl_c_stops_the_sweep(tmp_path, monkeypatch):
    """No further job starts."""
    started = []

    def stop_one(*arguments):
        started.append(arguments)
        if len(started) == 1:
            signal.raise_signal(signal.SIGINT)
        return plain(*arguments)

    plain = sweep.train_one
    monkeypatch.setattr(sweep, "train_one", stop_one)
    run_sweep(words(tmp_path), 130)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def cluster(monkeypatch):
    """The words that name a cluster of two local workers, and the processes that may be killed."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which dask adds
    with mock.patch.dict(os.environ):  # too
        distributed = pytest.importorskip("distributed")
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as dask:
            yield f"--scheduler {dask.scheduler_address}", [*dask.workers.values()]


def begin(output, more):
    """Start a sweep in its own process, and wait until its first runs have begun. Returns the process."""
    command = [sys.executable, ROOT / "sweep.py", *words(output, more).split()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(list(output.glob("*/log.txt"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.unix
@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_cluster_of_two_workers(killed, cluster, tmp_path, alone):
    """The same command, with an address: the jobs run there, and the runs are those of train.py alone.

    Also if the workers are killed: Dask repeats their tasks, while their train.py goes on.
    """
    where, workers = cluster
    process = begin(tmp_path, where)
    for worker in workers if killed else ():
        os.kill(worker.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    first, second = (run_of(tmp_path, name) for name in NETWORKS)
    assert_same_run(alone[NETWORKS[0]], first)
    assert_same_run(alone[NETWORKS[1]], second)
    assert f"| mozafari2018_margin | {FEW_DIGITS.name} |  | 1 |" in read_report(tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.unix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_sweep_on_a_cluster(number, cluster, tmp_path):
    """The runs that train go on, the others do not begin. The sweep prints the command that continues it."""
    where, _ = cluster
    process = begin(tmp_path, f"{where} --seeds 1 2 3")
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.splitlines()[-1].strip().startswith("python sweep.py")
    begun = {path.parent for path in tmp_path.glob("*/log.txt")}
    assert len(begun) == 2
    for run in begun:
        while not (run / "results.json").exists():
            time.sleep(0.1)
    time.sleep(3)  # in which a further run would begin
    assert {path.parent for path in tmp_path.glob("*/args.json")} == begun


# What is trained


def plan(words):
    return sweep.plan_runs(SweepSettings.parse([*words.split(), "--output", "x"]))


def test_every_combination_is_a_separate_run():
    """Two networks × 2 · 2 settings × two seeds; each command names its own."""
    words = "--model mozafari2018 deep2024 --dataset digits --seeds 3 4 --grid s1.threshold 8 10 --ratio 0.5"
    runs = plan(f"{words} --grid s3.first_weights 0.5,0.1 0.6,0.1 --set s1.rule.winners=3 s3.kernel=3")
    assert len({run.settings.name for run in runs}) == len(runs) == 16
    assert runs[0].settings.name == "mozafari2018-digits-s1.threshold-8-s3.first_weights-0.5-0.1-seed3"
    fields = {"s1.rule.winners": 3, "s3.kernel": 3, "s1.threshold": 8, "s3.first_weights": (0.5, 0.1)}
    assert (read_pairs(runs[0].settings.set), runs[0].settings.ratio, runs[0].settings.seed) == (fields, 0.5, 3)
    assert [run.settings.epochs for run in (runs[0], runs[-1])] == [(2, 4, 680), (2, 4, 4, 100)]


@pytest.mark.parametrize(
    "grid",
    ["s2.threshold 10 10.0", "encoder.threshold 50 49 50.0", "s2.threshold 10 default", "augment none default"],
)
def test_settings_by_which_runs_learn_the_same_are_trained_once(grid, capsys):
    name, *values = grid.split()
    runs = plan(f"--model mozafari2018 --dataset digits --seeds 0 1 --grid {grid}")
    assert len(runs) == 2 * (len(values) - 1)
    text = capsys.readouterr().out
    assert f"{name}-{values[0]}-seed0" in text
    assert f"{name}-{values[-1]}-seed0" in text


def test_a_grid_of_flags_gives_each_run_its_words():
    """A value of several words is in quotes; "default" is the network's own."""
    words = "--model multiscale2026 --dataset digits --output x --val-split 100 --grid s1.threshold default 14"
    flags = ["--grid", "augment", "none", "copies=2 turn=8", "default", "--grid", "batch-size", "100"]
    runs = sweep.plan_runs(SweepSettings.parse([*words.split(), *flags]))
    own = MODELS["multiscale2026"].augmentation
    copies = [str(Augmentation(copies=2, turn=8)), str(own), "none"]
    assert sorted(str(read_augmentation(run.settings.augment)) for run in runs) == sorted(copies * 2)
    assert {run.settings.batch_size for run in runs} == {100}
    assert sorted(run.settings.set for run in runs) == [()] * 3 + [("s1.threshold=14",)] * 3
    assert len({run.folder.path for run in runs}) == 6


def test_validation_images_choose_among_settings():
    """By hand: a has 91 % in the mean of two seeds with an error of 1 point, b 90.5 and is faster, c has 88."""
    runs = []
    for model, accuracies, hours in (("a", (0.9, 0.92), 0.2), ("b", (0.905, 0.905), 0.1), ("c", (0.88, 0.88), 0.01)):
        for seed, accuracy in enumerate(accuracies):
            flags = {"model": model, "dataset": "few", "seed": seed}
            scores = {"validation": accuracy, "error": 0.01, "hours": hours, "tests": 0}
            scores |= {"for reference, nearest, validation %": 0.95, "for reference, other, test %": 0.99}
            runs.append(SweptRun(Path(f"{model}{seed}"), flags, scores, is_finished=True))
    (choice,) = choose_settings(runs, ())
    assert [run.folder.name for run in choice.runs] == ["a0", "a1"]
    assert (choice.best[0], [model for model, _, _ in choice.near]) == ("a", ["b", "a"])
    assert (choice.error, choice.simple) == (0.01, (0.95, "nearest"))
    *lines, command = describe_choice(Path("x"), [choice])
    assert "nearest" in "".join(lines)
    assert [line for line in lines if "the best" in line] == [line for line in lines if line.startswith("* a,")]
    assert command.endswith("python sweep.py --test x --best")
    assert choose_settings([*runs, replace(runs[0], code="other")], ()) == []


def test_only_the_runs_of_the_best_setting_are_tested(tmp_path, here):
    run_sweep(f"{begin_untested(tmp_path, '0 1')} --grid s1.threshold default 1000")
    run_sweep(f"--test {tmp_path} --best")
    rows = read_csv(tmp_path / "runs.csv")
    tested = {row["run"] for row in rows if row["tests"] == "1"}
    best = max(rows, key=lambda row: float(row["validation"]))["setting"]
    assert tested == {row["run"] for row in rows if row["setting"] == best}
    assert len(tested) == 2
    assert_refuses(sweep.main, f"--report {tmp_path} --best", "--best")


@pytest.mark.parametrize("model", ["mozafari2018", "kheradpisheh2018"])  # of which a readout alone learns from labels
def test_a_sweep_takes_several_numbers_of_labels(model):
    runs = plan(f"--model {model} --dataset digits --labels 20 0.5 --seeds 1 2")
    names = [run.settings.name.removeprefix(f"{model}-digits-") for run in runs]
    assert names == ["labels20-seed1", "labels20-seed2", "labels0.5-seed1", "labels0.5-seed2"]
    assert [run.settings.labels for run in runs] == [20, 20, 0.5, 0.5]


def test_a_long_name_of_a_run_is_shortened():
    """Runs that differ at the end of their names keep different names, which end with the seed."""
    values = [f"0.{'0' * 60}{digit},0.1" for digit in (1, 2)]
    grid = " ".join(f"--grid s{stage}.first_weights {' '.join(values)}" for stage in (1, 2, 3))
    names = {run.settings.name for run in plan(f"--model mozafari2018 --dataset digits --seeds 3 {grid}")}
    assert len(names) == 8
    assert {len(name) for name in names} == {200}
    assert all(name.endswith("-seed3") for name in names)


# The test


def reverse(part, path):
    """Save the few digits with the images of a part in the opposite order."""
    few = read_few_digits()
    np.savez(path, **few | {part: few[part][::-1]})


def begin_untested(output, seeds, data=FEW_DIGITS):
    """The words of a sweep that is not tested."""
    words = f"--model mozafari2018 --dataset {data} --epochs 0 0 1 --no-figures {NO_REFERENCES} --jobs 1"
    return f"{words} --output {output} --no-test --seeds {seeds}"


def test_a_sweep_is_tested_once(tmp_path, here, capsys):
    """The scores are those of runs that are tested when they are trained; later runs are tested by the same command."""
    output, alone = tmp_path / "runs", tmp_path / "alone"
    words = begin_untested(output, "0 1")
    run_sweep(words)
    assert "test %" not in read_report(output)
    assert_refuses(sweep.main, words.replace("--no-test ", ""), f"--test {output}")

    run_sweep(f"--test {output} --jobs 1")
    run_sweep(begin_untested(alone, "0 1").replace("--no-test ", ""))
    runs = sorted(output.glob("*-seed[01]"))
    for run, other in zip(runs, sorted(alone.glob("*-seed[01]")), strict=True):
        (folder,) = output.glob(f"{run.name}-evaluation-*")
        assert results(folder)["test"] == results(other)["test"]["best"]
        assert results(run)["validation"]["best"] == results(other)["validation"]["best"]
        assert same(load_last(run).state, load_last(other).state)
    tables = [read_table(read_report(folder))[""] for folder in (output, alone)]
    assert [(table["test %"], table["tests"]) for table in tables] == [(tables[1]["test %"], "1 ± 0")] * 2

    run_sweep(begin_untested(output, "0 1 2"))
    assert "| 0.6667 ± 0.5774 |" in read_report(output)
    run_sweep(f"--test {output}")
    run_sweep(f"--test {output}")
    assert len(list(output.glob("*-evaluation-*"))) == 3
    printed = capsys.readouterr().out
    assert "2/2" in printed
    assert "2 of them tested" in printed
    assert "not tested" not in printed
    text, rows = report(output)
    assert "different code" not in text
    assert read_table(text)[""]["seeds"] == "3"
    assert all(row["accuracy"] for row in rows)
    assert [row["tests"] for row in rows] == ["1", "1", "1"]


@pytest.mark.slow
def test_the_tests_of_a_run(tmp_path, here):
    """They are those of its best weights on its whole data: by any command, in the folder of the runs or above.

    Weights that have changed since are untested.
    """
    output = tmp_path / "runs"
    run_sweep(begin_untested(output, "0"))
    (run,) = output.glob("*-seed0")
    before = contents(run)

    def count():
        text, (row,) = report(output)
        assert ("test %" in text) == (row["tests"] != "0")
        return row["tests"]

    for words in (run / "checkpoints" / "last.safetensors", f"{run} --dry-run", f"{run} --dataset digits"):
        run_evaluate(f"{words} --no-figures", output)
    assert count() == "0"
    run_evaluate(f"{run} {TRAINED} --no-figures", output)
    assert count() == "1"
    run_sweep(f"--test {output}")
    assert count() == "1"
    run_evaluate(f"{run} --no-figures --name mine", tmp_path)
    assert count() == "2"
    assert contents(run) == before
    run_train(f"--resume {run} --epochs 0 0 2", output)
    is_better = results(run)["best_epoch"]["epoch"] == 2
    assert count() == ("0" if is_better else "2")


@pytest.mark.slow
def test_a_sweep_whose_images_were_moved(tmp_path, here):
    """It is continued and tested by the name of the images, wherever they are, and never trained by another name."""
    output, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    data = shutil.copy(FEW_DIGITS, tmp_path / "few.npz")
    run_sweep(begin_untested(output, "0", data))
    (run,) = output.glob("*-seed0")
    elsewhere.mkdir()
    renamed = data.rename(elsewhere / "moved.npz")
    line = assert_refuses(sweep.main, begin_untested(output, "0", renamed), run)
    assert "name them few.npz" in line
    moved = renamed.rename(elsewhere / "few.npz")
    (run / "results.json").unlink()
    here.clear()
    run_sweep(begin_untested(output, "0", moved))
    assert here == []  # only what comes after the training
    run_sweep(f"--test {output} --dataset {moved}")
    assert [row["tests"] for row in report(output)[1]] == ["1"]


@pytest.mark.slow
def test_the_test_of_unfinished_runs_and_of_changed_data(tmp_path, here, capsys):
    """A run that is not finished is not tested; one whose data have changed stays untested, and is named."""
    data, output = shutil.copy(FEW_DIGITS, tmp_path / "few.npz"), tmp_path / "runs"
    run_sweep(begin_untested(output, "0 1", data))
    first, second = sorted(output.glob("*-seed*"))
    whole = (first / "results.json").read_text()
    (first / "results.json").unlink()
    reverse("x_test", data)
    capsys.readouterr()
    run_sweep(f"--test {output}", 1)
    err = capsys.readouterr().err
    assert second.name in err
    assert first.name not in err
    shutil.copy(FEW_DIGITS, data)
    run_sweep(f"--test {output}")
    assert not (first / "results.json").exists()
    assert f"Not finished: {first.name}" in read_report(output)
    (first / "results.json").write_text(whole)
    run_sweep(f"--test {output}")
    assert [row["tests"] for row in report(output)[1]] == ["1", "1"]


@pytest.mark.slow
def test_networks_without_a_decision_are_tested_by_their_readout(tmp_path, here, capsys):
    """A readout that has read the test images is a test; a run without it is left out and named."""
    output = tmp_path / "runs"
    run_sweep(begin_untested(output, "0"))
    words = f"--model kheradpisheh2018 --dataset {FEW_DIGITS} --epochs 0 0 --no-figures {NO_REFERENCES} --name"
    for name in ("tested", "untested --no-test"):
        run_train(f"{words} {name}", output)
    before = contents(output / "tested"), contents(output / "untested")
    capsys.readouterr()
    run_sweep(f"--test {output}")
    out, err = capsys.readouterr()
    assert (contents(output / "tested"), contents(output / "untested")) == before
    assert [line.split(": ")[-1] for line in out.splitlines() if line.startswith("not tested")] == ["untested"]
    assert err == ""
    assert len(list(output.glob("*-evaluation-*"))) == 1  # of the network that decides
    rows = {row["run"]: row for row in report(output)[1]}
    assert (rows["tested"]["tests"], rows["untested"]["tests"]) == ("1", "0")
    assert rows["tested"]["accuracy"] == rows["tested"]["readout"] != ""  # by which other networks are compared with it
    assert rows["untested"]["accuracy"] == ""


@pytest.mark.slow
def test_the_test_of_runs_with_a_plugin(tmp_path, here):
    """A missing flag is refused once, before the first test."""
    own, output = tmp_path / "own.py", tmp_path / "runs"
    own.write_text("")
    run_sweep(f"{begin_untested(output, '0 1')} --plugin {own}")
    PLUGINS.clear()
    assert_refuses(sweep.main, f"--test {output}", "--plugin")
    run_sweep(f"--test {output} --plugin {own}")
    assert [row["tests"] for row in report(output)[1]] == ["1", "1"]


def test_a_test_is_given_the_flags_of_its_sweep(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", 0, 8, [0.5], {"test": 0})
    record(run)
    (run / "results.json").write_text((run / "results.json").read_text().replace('"test": 0, ', ""))
    given = []

    def run_jobs(settings, jobs, *more):
        assert (tmp_path / ".lock").exists()
        given.extend(jobs)
        return 3

    monkeypatch.setattr(sweep, "run_jobs", run_jobs)
    monkeypatch.setattr(sweep, "load_checkpoint", lambda path: None)
    for words in ("", " --no-figures", " --figures svg", " --dataset digits"):
        run_sweep(f"--test {tmp_path}{words}", 3)
        _, start, resume = given.pop()
        assert start == resume
        assert shlex.join(start).endswith(f" --output {tmp_path}{words}")


def test_what_cannot_be_tested(tmp_path, here):
    run = make_run(tmp_path / "runs" / "one", 0, 8, [0.5])
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    table = f"""
missing     | --test {tmp_path / "missing"}
empty       | --test {tmp_path / "empty"}
{run} | --test {run} | --test {run.parent} {run}
model       | --test {run.parent} --model mozafari2018
--report    | --test {run.parent} --report {run.parent}
predict     | --test {run.parent} --predict x.png
name        | --test {run.parent} --name same
--nonsense  | --test {run.parent} --nonsense
--dry-run --save-maps --tensorboard | --test {run.parent} --tensorboard --save-maps 1 --dry-run
"""
    for about, words in read_words(table):
        assert_refuses(sweep.main, words, about)
    assert contents(tmp_path) == before


# The report


ERROR = "standard error of one run %"
DIFFERENCE = "difference (95 % interval)"
LAST_DIFFERENCE = "last epoch difference (95 % interval)"


def make_run(folder, seed, threshold, accuracies, results=None, flags=None, **fields):
    """A run's folder with the accuracies after each epoch; it is finished with the last if it has ``results``."""
    (folder / "checkpoints").mkdir(parents=True)
    fields = {"s2.threshold": threshold, **fields}
    words = [f"{name}={value}" for name, value in fields.items()]
    usual = {"model": "m", "dataset": "digits", "seed": seed, "epochs": [1, 2], "name": folder.name, "set": words}
    flags = usual | (flags or {})
    (folder / "args.json").write_text(json.dumps({"format": FORMAT, "flags": flags}))
    rows = "".join(f"s3,0.1,{accuracy}\n" for accuracy in accuracies)
    (folder / "metrics.csv").write_text(f"phase,train_accuracy,val_accuracy\ns1,,\n{rows}")
    if results is not None:
        best = {"accuracy": accuracies[-1], "loss": 1 - accuracies[-1], "silent": 0.0}
        content = {"test": {"best": best}, "flags": flags, "finished": flags["epochs"], **results}
        (folder / "results.json").write_text(json.dumps(content))
    return folder


def report(folder):
    """Report on the runs in a folder without curves; returns sweep.md and the rows of runs.csv.

    The cells of its first table are those of sweep.csv, rounded.
    """
    with mock.patch("report.sweep_report.save"):
        run_sweep(f"--report {folder}")
    text = read_report(folder)
    for cells, summary in zip(read_lines(text), read_csv(folder / "sweep.csv"), strict=True):
        for key in ("validation", "last", "balanced", "accuracy"):
            means = [f"{100 * float(summary[name]):.2f}" for name in (f"{key} mean", f"{key} sd") if summary.get(name)]
            assert cells.get(SCORE_COLUMNS[key], NONE) == (" ± ".join(means) or NONE)
    return text, read_csv(folder / "runs.csv")


def record(folder, code=None, data="", class_names=()):
    """Write which code has started a run into its args.json, and on which data it learns into its checkpoint."""
    args = read_args(folder)
    (folder / "args.json").write_text(json.dumps({**args, "code_sha256": code}))
    of_run = {"flags": args["flags"], "fingerprint": data, "class_names": class_names}
    metadata = {"checkpoint": json.dumps({"format": FORMAT, "run": of_run})}
    save_file({"none": np.zeros(1)}, folder / "checkpoints" / "last.safetensors", metadata)


def validate(accuracy, count=100, **more):
    """The part of results.json about 100 validation images of two classes of the same size."""
    half = count // 2
    of_class = {"support": [half, count - half], "recall": [accuracy, accuracy]}
    best = {"accuracy": accuracy, "count": count, "per_class": of_class, **more}
    return {"validation": {"best": best}, "best_epoch": {"accuracy": accuracy}}


def read_lines(text):
    """[{column: cell}] of the first table of a report."""
    table, *_ = text.split("\nMean ±")
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    columns, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def read_list(text):
    """The points of the lists of a report."""
    return [line for line in text.splitlines() if line.startswith("* ")]


def read_table(text):
    """{setting: {column: cell}} of the first table of a report."""
    return {row["setting"]: row for row in read_lines(text)}


def test_the_report_by_hand(tmp_path):
    """Means and deviations over seeds, by hand; an unfinished run is named; a folder without a run is left out.

    A readout that was refused for memory has no accuracy. The folder of a run begins with a dot until its first
    checkpoint exists, and keeps this name after a kill.
    """
    make_run(tmp_path / "a", 0, 8, [0.5, 0.80], {"readout": {"test": {"accuracy": 0.9}}})
    make_run(tmp_path / "b", 1, 8, [0.5, 0.84], {"readout": {"refused": "not enough memory"}})
    make_run(tmp_path / "c", 0, 9, [0.7, 0.90], {"seconds": {"phase s1": 30, "phase s2": 60.2}, "test_reads": 2})
    make_run(tmp_path / "d", 1, 9, [0.7])
    (tmp_path / "else").mkdir()
    (tmp_path / ".e.new" / "checkpoints").mkdir(parents=True)
    text, runs = report(tmp_path)
    first, second = read_table(text).values()
    assert [first[title] for title in ("seeds", "epochs", "last epoch %")] == ["2", "3 ± 0", "82.00 ± 2.83"]
    scores = ["82.00 ± 2.83", "18.00 ± 2.83", "0.00 ± 0.00"]
    assert [first[title] for title in ("test %", "wrong %", "silent %")] == scores
    assert [second[title] for title in ("seeds", "test %", "readout %", "time")] == ["1 of 2", "90.00", "–", "90 s"]
    assert (first["readout %"], first["tests"], second["tests"]) == ("90.00", "1 ± 0", "2")
    assert "Not finished: d." in text
    assert ".new" not in text
    assert [(row["run"], row["readout"]) for row in runs] == [("a", "0.9"), ("b", ""), ("c", ""), ("d", "")]
    run_sweep(f"--report {tmp_path}")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    run_sweep(f"--report {tmp_path} --figures svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    assert "(curves.png)" in text


def test_the_report_shows_the_features_of_the_first_layer_of_each_setting(tmp_path):
    """As its first run has drawn them; not of a run without figures. In index.html, names are escaped."""
    for name, seed, threshold in (("a", 0, 8), ("b", 1, 8), ("c", 0, "<9>"), ("d", 0, 10)):
        run = make_run(tmp_path / "runs" / name, seed, threshold, [0.5, 0.8], validate(0.9))
        for layer in ("s1", "s2") if name != "d" else ():
            (run / "figures").mkdir(exist_ok=True)
            (run / "figures" / f"features_{layer}.png").touch()
    run_sweep(f"--report {tmp_path / 'runs'} --output {tmp_path / 'report'}")
    pictures = ["curves.png", "../runs/a/figures/features_s1.png", "../runs/c/figures/features_s1.png"]
    text = read_report(tmp_path / "report")
    assert re.findall(r"!\[.*\]\((.*)\)", text) == pictures
    assert "![m, digits, s2.threshold=8: validation 90.00 ± 0.00 %](../runs/a" in text
    page = (tmp_path / "report" / "index.html").read_text()
    assert re.findall('src="(.*?)"', page) == pictures
    assert page.count("s2.threshold=&lt;9&gt;") == 4  # in the table, the choice, above the picture, and as its text


def test_runs_on_another_drive_are_reported(tmp_path, monkeypatch):
    """As on Windows, where no relative path leads from one drive to another."""

    def relpath(path, start):
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    run = make_run(tmp_path / "runs" / "a", 0, 8, [0.5, 0.8], validate(0.9))
    (run / "figures").mkdir(exist_ok=True)
    picture = run / "figures" / "features_s1.png"
    picture.touch()
    monkeypatch.setattr("report.sweep_report.os.path.relpath", relpath)
    run_sweep(f"--report {tmp_path / 'runs'} --output {tmp_path / 'report'}")
    assert f"({picture.resolve().as_uri()})" in read_report(tmp_path / "report")


def test_a_repeated_seed_counts_once(tmp_path):
    for name, seed, accuracy in (("a", 0, 0.9), ("b", 0, 0.9), ("c", 1, 0.94)):
        make_run(tmp_path / name, seed, 8, [0.5, accuracy], {})
    text, runs = report(tmp_path)
    assert [row["test %"] for row in read_table(text).values()] == ["92.00 ± 2.83"]
    assert "setting and seed: b." in text
    assert [row["run"] for row in runs] == ["a", "c"]


def test_a_setting_is_compared_by_validation_images(tmp_path):
    """By hand: t(0.975) is 12.706 with one degree of freedom; 50 of 100 images count as 52 of 104, ± 4.90 %."""
    make_run(tmp_path / "60", 0, 6, [0.6])  # is not finished
    for threshold, accuracies in {7: [0.5, 0.5], 8: [0.52, 0.54], 9: [0.4]}.items():
        for seed, accuracy in enumerate(accuracies):
            make_run(tmp_path / f"{threshold}{seed}", seed, threshold, [0.6, 0.7], validate(accuracy))
    text, runs = report(tmp_path)
    rows = read_table(text)
    first, second, third = (rows[f"s2.threshold={threshold}"] for threshold in (7, 8, 9))
    assert [*first][4:10] == ["epochs", "validation %", ERROR, DIFFERENCE, "last epoch %", LAST_DIFFERENCE]
    assert [first["validation %"], first[ERROR], first[DIFFERENCE]] == ["50.00 ± 0.00", "4.90", "–"]
    assert [second["validation %"], second[DIFFERENCE]] == ["53.00 ± 1.41", "+3.00, -9.71 to +15.71 (2)"]
    summary = {row["setting"]: row for row in read_csv(tmp_path / "sweep.csv")}
    of_second = [float(summary["s2.threshold=8"][f"difference {name}"]) for name in ("mean", "low", "high", "n")]
    assert of_second == pytest.approx([0.03, -0.0971, 0.1571, 2], abs=1e-4)
    assert [summary["s2.threshold=9"][f"difference {name}"] for name in ("low", "n")] == ["", "1"]
    assert summary["s2.threshold=7"]["difference n"] == ""
    assert [third["validation %"], third[DIFFERENCE]] == ["40.00", "-10.00 (1)"]
    assert "chose, unless a column names the last epoch" in text
    assert "three seeds" in text
    assert float(runs[1]["error"]) == pytest.approx(0.04903, abs=1e-5)


def test_settings_without_common_seeds_have_no_difference(tmp_path):
    make_run(tmp_path / "a", 0, 7, [0.6], validate(0.5))
    make_run(tmp_path / "b", 1, 8, [0.6], validate(0.6))
    assert "95 % interval" not in report(tmp_path)[0]


def test_test_accuracies_and_epochs_are_compared(tmp_path):
    """Paired by seed. By hand: differences of -5 and -1 points have t(0.975) · 2 = 25.41 around -3.

    One setting has trained 3 epochs, the other 5 and 6.
    """
    for threshold, runs in {7: ([0.8, 0.9], [0.7, 0.8]), 8: ([0.5] * 3 + [0.85], [0.5] * 4 + [0.79])}.items():
        for seed, accuracies in enumerate(runs):
            make_run(tmp_path / f"{threshold}{seed}", seed, threshold, accuracies, validate(0.9))
    text, runs = report(tmp_path)
    first, second = read_table(text).values()
    assert [first["test difference (95 % interval)"], first["epochs"]] == ["–", "3 ± 0"]
    assert second["test difference (95 % interval)"] == "-3.00, -28.41 to +22.41 (2)"
    assert second["epochs"] == "5.5 ± 0.7071"
    assert second["last epoch %"] == "82.00 ± 4.24"
    assert second[LAST_DIFFERENCE] == second["test difference (95 % interval)"]  # here, the last epoch is tested
    assert "difference of accuracies can be one of training" in text
    assert [run["epochs"] for run in runs] == ["3", "3", "5", "6"]


def test_references_have_a_table(tmp_path):
    """With a row for each data set: the numbers in prose were those of one run."""
    for seed, (dataset, accuracy) in enumerate([("digits", 0.7), ("digits", 0.8), ("letters", 0.4)]):
        references = {"validation": {"nearest neighbour": accuracy}, "test": {"nearest neighbour": accuracy - 0.1}}
        content = {"references": references, "diagnosis": ["for reference, nearest neighbour 70 %", "s2 is silent"]}
        make_run(tmp_path / f"run{seed}", seed, 8, [0.9], validate(0.9) | content, {"dataset": dataset})
    text, runs = report(tmp_path)
    _, table = text.split("References, ")
    assert "| nearest neighbour, validation % | nearest neighbour, test % |" in table
    assert "| m | digits |  | 2 | 75.00 ± 7.07 | 65.00 ± 7.07 |" in table
    assert "| m | letters |  | 1 | 40.00 | 30.00 |" in table
    assert "70 %" not in text
    assert "s2 is silent" in text
    assert float(runs[2]["for reference, nearest neighbour, test %"]) == pytest.approx(0.3)


def test_curves_are_means_with_deviations_and_single_seeds(tmp_path, monkeypatch):
    """By hand: of 50 and 70 %, the deviation is 14.14. A run may have fewer epochs."""
    saved = []
    monkeypatch.setattr("report.sweep_report.save", lambda figure, path: saved.append(figure))
    make_run(tmp_path / "a", 0, 8, [0.5, 0.8], {})
    make_run(tmp_path / "b", 1, 8, [0.7], {})
    run_sweep(f"--report {tmp_path}")
    (axes, _) = saved[0].axes
    assert [line.get_xdata().tolist() for line in axes.lines] == [[1, 2], [1, 2], [1]]
    assert [line.get_ydata().round().tolist() for line in axes.lines] == [[60, 80], [50, 80], [70]]
    (band,) = axes.collections
    assert band.get_datalim(axes.transData).intervaly == pytest.approx([45.86, 80], abs=0.01)


def test_a_line_end_in_a_path_breaks_no_row(tmp_path):
    make_run(tmp_path / "a", 0, 8, [0.5, 0.8], {}, {"dataset": "folder:a\nb", "init_from": "c\nd"})
    make_run(tmp_path / "b", 1, 8, [0.5, 0.8], {})
    text, _ = report(tmp_path)
    assert len(read_table(text)) == 2
    assert r"folder:a\nb" in text
    assert all("\n" not in cell for row in read_csv(tmp_path / "sweep.csv") for cell in row.values())


def test_rows_keep_the_order_of_the_last_report(tmp_path, monkeypatch, capsys):
    """As of a sweep whose names are not in alphabetical order; a run that is new comes last."""
    names = ["z", "b", "m"]
    for number, name in enumerate(names):
        record(make_run(tmp_path / name, 0, number, [0.5, 0.8], {}))
    run_sweep(f"--report {shlex.join(str(tmp_path / name) for name in names)} --output {tmp_path}")
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    for words, count in ("--threads 4", 2), ("--threads 9", 1), ("--threads 4 --jobs 7", 7):
        run_sweep(f"--test {tmp_path} {words}")
        assert f"; {count} at a time" in capsys.readouterr().out
    assert [row["run"] for row in read_csv(tmp_path / "runs.csv")] == names
    record(make_run(tmp_path / "a", 1, 9, [0.5, 0.8], {}))
    assert [row["run"] for row in report(tmp_path)[1]] == [*names, "a"]


def test_failed_and_dry_runs_are_named(tmp_path):
    make_run(tmp_path / "a", 0, 8, [0.5, 0.8], {})
    text, _ = report(tmp_path)
    assert "Failed" not in text
    assert "ry run" not in text
    (tmp_path / "b.error.txt").write_text("train.py: no memory")
    make_run(tmp_path / "c", 1, 8, [0.5, 0.8], {}, {"dry_run": True})
    text, _ = report(tmp_path)
    assert "b.error.txt" in text
    assert text.index("**Dry runs**") < text.index("| m |")


def test_settings_of_unequal_classes_are_also_compared_by_their_balanced_accuracy(tmp_path):
    """By hand: of two classes, 100 % and 50 or 70 %, so 75 and 85 %; t(0.975) is 12.706 with one degree of freedom.

    A setting with equal classes has no balanced accuracy.
    """
    for threshold, recalls in {7: (0.5, 0.5), 8: (0.7, 0.66)}.items():
        for seed, recall in enumerate(recalls):
            of_class = {"support": [90, 10], "recall": [1.0, recall]}
            scores = validate(0.9 + recall / 10, per_class=of_class)
            make_run(tmp_path / f"{threshold}{seed}", seed, threshold, [0.6], scores)
    make_run(tmp_path / "equal", 0, 9, [0.6], validate(0.9))
    text, runs = report(tmp_path)
    first, second, third = read_table(text).values()
    assert [row["balanced %"] for row in (first, second, third)] == ["75.00 ± 0.00", "84.00 ± 1.41", "–"]
    balanced = "balanced difference (95 % interval)"
    assert [*first][5:9] == ["validation %", ERROR, DIFFERENCE, "last epoch %"]
    assert [*first][10:12] == ["balanced %", balanced]
    assert [first[DIFFERENCE], first[balanced]] == ["–", "–"]
    assert second[DIFFERENCE] == "+1.80, -0.74 to +4.34 (2)"
    assert second[balanced] == "+9.00, -3.71 to +21.71 (2)"
    assert {"validation", "balanced"} <= {*runs[0]}
    assert not [name for name in runs[0] if "difference" in name]


def test_the_report_contains_what_the_runs_advise(tmp_path):
    """Texts with other measured numbers are listed once, those with other advice apart."""
    unlearned = "s{} has hardly learned (convergence {} of the features that have won): try --converge 0.01"
    threshold = "s2 is silent for {} % of the images; try --set s2.threshold={}"
    first = [unlearned.format(1, 0.14), unlearned.format(2, 0.15), threshold.format(60, 4)]
    second = [unlearned.format(1, "2.5e-01"), threshold.format(61, 4)]
    for seed, texts in enumerate([first, second, [threshold.format(60, 5)]]):
        dead = f"s2: {seed} of 250 features never won"
        make_run(tmp_path / f"run{seed}", seed, 8, [0.5], {"diagnosis": [dead, *texts]})
    text, _ = report(tmp_path)
    assert read_list(text) == [
        "* all runs: s2: 0 of 250 features never won",
        f"* run0, run1: {first[0]}", f"* run0: {first[1]}", f"* run0, run1: {first[2]}",
        f"* run2: {threshold.format(60, 5)}",
    ]  # fmt: skip


def test_advice_is_that_of_its_run(tmp_path):
    """Also of a run that has a text twice, of two phases with the same layer."""
    silent = "s3 is silent for {} % of the images"
    texts = [silent.format(41), silent.format(55)], []
    for seed, value in enumerate([4.1, 9.7]):
        diagnosis = [*texts[seed], f"try --set s2.threshold={value}"]
        make_run(tmp_path / f"run{seed}", seed, 8, [0.5], {"diagnosis": diagnosis})
    assert read_list(report(tmp_path)[0]) == [
        f"* run0: {silent.format(41)}",
        "* run0: try --set s2.threshold=4.1",
        "* run1: try --set s2.threshold=9.7",
    ]


def make_unequal_run(folder, seed, threshold, decisions):
    """The folder of a run with these decisions on 20 validation images of a, 3 of b, 2 of c and none of d."""
    labels = [0] * 20 + [1] * 3 + [2] * 2
    evaluation = Evaluation(torch.tensor(decisions), torch.zeros(25, 4), labels)
    text = [*describe_balance(evaluation.metrics, "abcd")]
    results = {**validate(0.8), "validation": {"best": evaluation.metrics}, "diagnosis": text}
    record(make_run(folder, seed, threshold, [0.5], results), class_names=[*"abcd"])
    return folder


def test_unequal_classes_are_named_once_for_runs_that_miss_the_same(tmp_path):
    """That is, with the classes of which a run classifies no image correctly."""
    some_b = [0] * 20 + [1, 0, 0] + [0, 0]
    some_c = [0] * 20 + [0, 0, 0] + [2, 0]
    for threshold, of_seed in {8: (some_b, some_c), 9: (some_b, [0] * 25)}.items():
        for seed, decisions in enumerate(of_seed):
            make_unequal_run(tmp_path / f"{threshold}{seed}", seed, threshold, decisions)
    lines = [line for line in read_list(report(tmp_path)[0]) if "no image" in line]
    missed = {line.partition(": ")[0]: line.partition(" of ")[2] for line in lines}
    assert missed == {"* 80, 90": '"c"', "* 81": '"b"', "* 91": '"b", "c"'}


def test_each_class_has_its_mean_over_the_seeds(tmp_path):
    """By hand: of 3 images of b, one and two are correctly classified; a class without images has no mean."""
    for seed, b in enumerate(([1, 0, 0], [1, 1, 0])):
        make_unequal_run(tmp_path / str(seed), seed, 8, [0] * 20 + b + [2] * 2)
    _, runs = report(tmp_path)
    (row,) = read_csv(tmp_path / "sweep.csv")
    mean, sd, count = (float(row[f"class b, validation {name}"]) for name in ("mean", "sd", "n"))
    assert (mean, sd, count) == pytest.approx((0.5, 0.2357, 2), abs=1e-4)
    assert [run["class c, validation"] for run in runs] == ["1.0", "1.0"]
    assert not [name for name in row if name.startswith(("class a, test", "class d"))]


def test_a_run_that_decides_for_one_class_says_so(tmp_path):
    """Silence is no decision."""
    cases = {"a, the largest class": [-1] + [0] * 24, "b": [-1] * 20 + [1] * 5, None: [0] * 24 + [1]}
    for seed, (text, decisions) in enumerate(cases.items()):
        (run,) = read_runs([make_unequal_run(tmp_path / f"run{seed}", seed, 8, decisions)])
        line = run.describe()
        assert line.endswith(f", every decision is {text}") == (text is not None)
        assert ("every decision" in line) == (text is not None)


def test_each_state_of_the_code_and_of_the_data_has_its_own_mean(tmp_path):
    """Also a run whose code is unknown."""
    old, new = "a" * 64, "b" * 64
    runs = [(0.70, old, "1" * 16), (0.72, old, "1" * 16), (0.80, new, "1" * 16), (0.90, new, "2" * 16), (0.6, None, "")]
    for seed, (accuracy, code, data) in enumerate(runs):
        record(make_run(tmp_path / f"run{seed}", seed, 8, [accuracy], validate(accuracy)), code, data)
    record(make_run(tmp_path / "run5", 5, 8, [0.84], validate(0.84)), new, "1" * 16)
    text, _ = report(tmp_path)
    rows = read_table(text)
    assert len(rows) == 4
    assert [row["test %"] for row in rows.values()] == ["71.00 ± 1.41", "82.00 ± 2.83", "90.00", "60.00"]
    lists = read_list(text)
    assert [line.partition(": ")[2] for line in lists] == [
        "run0, run1", "run2, run3, run5", "run4",  # the code
        "run0, run1, run2, run5", "run3", "run4",  # the data
    ]  # fmt: skip
    assert "code=aaaaaaaa:" in lists[0]
    assert "code=bbbbbbbb:" in lists[1]
    assert "unknown" in lists[2]
    assert "2" * 16 in lists[4]
    assert "unknown" in lists[5]


def test_other_data_of_the_same_name_are_not_compared(tmp_path):
    for seed, (data, accuracy) in enumerate([("1" * 16, 0.5), ("2" * 16, 0.9)]):
        record(make_run(tmp_path / f"run{seed}", 0, 8, [accuracy], validate(accuracy)), None, data)
    assert "95 % interval" not in report(tmp_path)[0]


HUGE = b'{"flags": {}, "test": {"best": {"accuracy": %s}}}' % (b"9" * 400)


CONTENTS = None, b"", b"[]", b'{"flags": 1, "test": 1}', b"val\n1\n", b"\xff\0", b"1," * 10**5, HUGE, "half"


@pytest.fixture
def three(tmp_path):
    """A folder with the runs a, b and c."""
    more = validate(0.7) | {"readout": {"test": {"accuracy": 0.6}}, "seconds": {"phase s3": 60}}
    for seed, name in enumerate("abc"):
        make_run(tmp_path / name, seed, 8, [0.5, 0.8], more)
    return tmp_path


@pytest.mark.parametrize("name", ["args.json", "results.json"])
def test_a_damaged_run_is_named_and_the_others_are_reported(three, name):
    damaged = three / "b" / name
    whole = damaged.read_bytes()
    for content in CONTENTS:
        damaged.unlink(missing_ok=True)
        if content is not None:
            damaged.write_bytes(whole[:-20] if content == "half" else content)
        text, runs = report(three)
        if name == "results.json":
            assert "Not finished: b." in text
            assert [run["finished"] for run in runs] == ["True", "False", "True"]
        else:
            assert f"\nb is not read: {damaged} is " in text
            assert_damaged(text, runs, "ac")
        assert "| 80.00 ± 0.00 |" in text


def assert_damaged(text, runs, whole):
    """Assert that only the runs ``whole`` of a, b and c are in the tables, and that a line names each of the others."""
    assert [run["run"] for run in runs] == [*whole]
    for name in {*"abc"} - {*whole}:
        assert f"\n{name} is not read: " in text
    assert "| 80.00" in text


def test_results_of_another_run_are_damaged(three):
    """Those of two seeds are swapped."""
    one, other = (three / name / "results.json" for name in "ab")
    results = one.read_bytes()
    other.rename(one)
    other.write_bytes(results)
    assert_damaged(*report(three), "c")


NUMBERS = {  # {where: (file, text before the number, the number)}
    "test": ("results.json", '"accuracy": ', "0.8"),
    "validation": ("results.json", '"accuracy": ', "0.7"),
    "readout": ("results.json", '"accuracy": ', "0.6"),
    "time": ("results.json", '"phase s3": ', "60"),
    "curve": ("metrics.csv", "s3,0.1,", "0.8"),
}


NO_NUMBERS = """
test NaN|test Infinity|test 1e308|test -0.1|test "0.9"|test [0.9]|validation NaN|readout 1.1|time NaN|time 1e308
curve nan|curve 1.1
"""


def test_an_accuracy_that_is_not_from_0_to_1_or_an_endless_time_is_damaged(three):
    for case in NO_NUMBERS.strip().replace("|", "\n").splitlines():
        where, number = case.split()
        name, before, whole = NUMBERS[where]
        file = three / "b" / name
        text = file.read_text()
        assert before + whole in text
        file.write_text(text.replace(before + whole, before + number))
        assert_damaged(*report(three), "ac")
        file.write_text(text)


def test_what_all_runs_have_is_no_setting(tmp_path, recwarn):
    """Of a long --set only the fields that differ are named, and the curves keep their room beside the legend."""
    common = {f"s{stage}.rule.winners": stage for stage in range(1, 9)}
    for value, reward in ((8, "0.1,-0.2"), (9, "0.3,-0.4")):
        make_run(tmp_path / "few" / str(value), 0, value, [0.5, 0.6], **common, **{"s9.rule.reward": reward})
        many = {f"s{stage}.out_channels": value for stage in range(1, 9)}
        make_run(tmp_path / "many" / str(value), 0, value, [0.5, 0.6], **many)
    text, *_ = report(tmp_path / "few")
    assert "| m | digits | s2.threshold=8, s9.rule.reward=0.1,-0.2 | 0 of 1 |" in text
    assert "winners" not in text
    run_sweep(f"--report {tmp_path / 'many'}")
    assert not [warning for warning in recwarn if "constrained_layout" in str(warning.message)]


def test_a_flag_that_a_run_does_not_have_is_no_setting(tmp_path):
    """One run has it, one has its default None, and one is older than the flag."""
    for seed, (name, flags) in enumerate((("white", {"ground": "white"}), ("none", {"ground": None}), ("old", {}))):
        make_run(tmp_path / name, seed, 8, [0.5, 0.8], {}, flags)
    text, _ = report(tmp_path)
    assert "| m | digits | ground=white | 1 |" in text
    assert "| m | digits |  | 2 |" in text


def test_report_of_single_runs(tmp_path):
    one, two = (make_run(tmp_path / name, 0, name, [0.5]) for name in ("a", "b"))
    assert_refuses(sweep.main, f"--report {one}", "--output")
    run_sweep(f"--report {one} --output {tmp_path / 'one'}")
    assert "s2" not in read_report(tmp_path / "one")
    run_sweep(f"--report {one} {two} {one} --output {tmp_path / 'two'}")
    assert len(read_csv(tmp_path / "two" / "runs.csv")) == 2
