"""``sweep.py``: the runs are those of train.py, wherever they run; none is done twice; the report."""

import csv
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command import read_csv
from support.refusals import assert_refuses

import sweep
import train
from report.sweep_report import mean_curve
from training.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--dataset", "digits", "--ratio", "0.1", "--batch-size", "50", "--epochs", "1", "1", "2", "--no-figures"]
NAME = "mozafari2018-digits-seed{}"


def state(folder):
    return load_checkpoint(folder / "checkpoints" / "last.safetensors").state


def same_run(one, other):
    """The same weights to the bit, the same history but for the seconds, the same scores."""
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    histories = [[{**row, "seconds": 0} for row in read_csv(folder / "metrics.csv")] for folder in (one, other)]
    assert histories[0] == histories[1]
    assert (one / "predictions.csv").read_text() == (other / "predictions.csv").read_text()


def train_alone(output, model):
    """The folder of a run by train.py alone, of seed 1."""
    words = ["--model", model, "--seed", "1", "--threads", "1", "--name", f"alone-{model}", "--output", str(output)]
    assert train.main([*words, *FLAGS]) == 0
    return output / f"alone-{model}"


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    return train_alone(tmp_path_factory.mktemp("alone"), "mozafari2018")


def refuse(capsys, *words):
    """Start and expect one line on stderr and nothing else; returns it."""
    assert sweep.main(list(words)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("sweep.py: ")
    return err


def test_an_interrupted_run_goes_on_and_a_finished_one_is_left_alone(tmp_path, alone, capsys, monkeypatch):
    """Stopped in the middle of an epoch and resumed by the sweep, a run is the one that was never stopped."""
    folder = tmp_path / NAME.format(1)

    def stopped(run, progress):
        run.save()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.run.Run.batch", stopped)
        words = ["--model", "mozafari2018", "--seed", "1", "--threads", "1", "--name", folder.name]
        assert train.main([*words, "--output", str(tmp_path), *FLAGS]) == 130
    assert not (folder / "results.json").exists()
    capsys.readouterr()
    words = ["--model", "mozafari2018", "--seeds", "1", "--output", str(tmp_path), *FLAGS]
    assert "was begun with other --batch-size;" in refuse(capsys, *words, "--batch-size", "60")
    assert sweep.main(words) == 0
    same_run(alone, folder)
    assert "1/1  mozafari2018-digits-seed1: " in capsys.readouterr().out
    before = (folder / "results.json").stat().st_mtime_ns
    assert sweep.main(words) == 0
    assert "1 runs, 1 of them finished" in capsys.readouterr().out
    assert (folder / "results.json").stat().st_mtime_ns == before


def test_a_failed_run_is_reported_at_the_end(tmp_path, capsys):
    words = ["--model", "mozafari2018", "--dataset", "digits", "--val-split", "1436", "--no-figures", "--output"]
    assert sweep.main([*words, str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("failed: mozafari2018-digits-seed0: train.py: --val-split: holding out 1436 of 1437")
    assert "--val-split" in (tmp_path / f"{NAME.format(0)}.error.txt").read_text()


def test_asked_to_stop_runs_end_and_the_command_to_go_on_is_told(tmp_path, capsys, monkeypatch):
    """A run that has not begun does not begin; the next start forgets that it was asked."""
    words = ["--model", "mozafari2018", "--output", str(tmp_path), *FLAGS]
    stop = tmp_path / sweep.STOP
    stop.touch()
    assert not sweep.wait_for(tmp_path / "run", 1, stop)
    assert sweep.train_one("train.py", [], tmp_path, tmp_path / "run", stop, 1, False) == "stopped"
    monkeypatch.setattr(sweep, "train_one", lambda *_: "stopped")
    assert sweep.main(words) == 130
    assert f"go on with\n    python sweep.py {' '.join(words)}" in capsys.readouterr().err
    assert not stop.exists()


def test_a_dask_cluster_of_two_workers(tmp_path, alone, monkeypatch):
    """The same command, with an address: both runs are done there, and are those of train.py alone.

    s1 and s2 of the second are trained by the first: it has the same epochs, to the very seconds.
    """
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which its workers add
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
    )
    with cluster:
        words = ["--model", "mozafari2018", "mozafari2018_margin", "--seeds", "1", "--output", str(tmp_path), *FLAGS]
        where = ["--cluster", "dask", "--scheduler", cluster.scheduler_address]
        command = [sys.executable, ROOT / "sweep.py", *words, *where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 runs, 0 of them finished; on the dask cluster; 1 begin behind 2 epochs that others train" in done.stdout
    assert "; s1 s2 from mozafari2018-digits-seed1\n" in done.stdout
    first, second = tmp_path / NAME.format(1), tmp_path / "mozafari2018_margin-digits-seed1"
    same_run(alone, first)
    same_run(train_alone(tmp_path, "mozafari2018_margin"), second)
    assert read_csv(first / "metrics.csv")[:2] == read_csv(second / "metrics.csv")[:2]
    assert "| mozafari2018_margin | digits |  | 1 |" in (tmp_path / "sweep.md").read_text()
    assert not list(tmp_path.glob(".*"))


def shared(words):
    """{run: (the run that it begins behind, epochs)} of a sweep."""
    runs = sweep.looked_into(sweep.plan(*sweep.make_parser().parse_known_args([*words.split(), "--output", "x"])))
    found = sweep.what_is_shared(list(runs))
    return {run.name: (Path(other).name, epochs) for run, (other, epochs) in found.items()}


def test_each_stage_is_trained_once():
    """Each run begins behind the first that trains the most for it, which may itself begin behind another."""
    digits = "--dataset digits --model"
    assert shared(f"{digits} mozafari2018 deep2024 deepr2024 --seeds 0 1") == {
        f"{run}-digits-seed{seed}": (f"{other}-digits-seed{seed}", epochs)
        for seed in (0, 1)
        for run, other, epochs in (("deep2024", "mozafari2018", 2), ("deepr2024", "deep2024", 6))
    }
    assert shared(f"{digits} deep2024 --epochs 1 2 3 9 --grid s2.rule.winners 4 8 --grid s4.kernel 3 5 7") == {
        f"deep2024-digits-s2.rule.winners-{winners}-s4.kernel-{kernel}-seed0": (
            (f"deep2024-digits-s2.rule.winners-{winners}-s4.kernel-3-seed0", 6)
            if kernel > 3
            else ("deep2024-digits-s2.rule.winners-4-s4.kernel-3-seed0", 1)
        )
        for winners in (4, 8)
        for kernel in (3, 5, 7)
        if (winners, kernel) != (4, 3)
    }
    words = f"{digits} mozafari2018 --grid s3.kernel 3 5"
    assert len(shared(words)) == 1
    for alone in ("--epochs 0 0 5", "--tensorboard", "--save-maps --map-every 1", "--init-from y"):
        assert not shared(f"{words} {alone}")


def test_a_run_waits_for_the_epochs_of_another(tmp_path, monkeypatch):
    """Until they are in its checkpoint, or it has ended, or gives no sign; then it is trained alone."""
    folder, found = tmp_path / "run", []
    (folder / "checkpoints").mkdir(parents=True)
    stop = tmp_path / sweep.STOP

    def wait():
        found.append(sweep.wait_for(folder, 2, stop))

    def write(rows):
        (folder / "metrics.csv").write_text("epoch\n" * (rows + 1))

    with sweep.alive(folder):
        thread = threading.Thread(target=wait)
        thread.start()
        write(2)
        time.sleep(0.2)
        assert thread.is_alive()  # the checkpoint is older, here: not there
        (folder / "checkpoints" / "last.safetensors").touch()
        thread.join()
        write(1)
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        assert thread.is_alive()
    thread.join()
    monkeypatch.setattr(sweep, "SILENCE", 0.2)
    wait()
    assert found == [True, False, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--output x", "name the networks with --model"),
        ("--model mozafari2018", "say with --output where"),
        ("--model mozafari2018 deep2024 --epochs 1 1 1 --output x", "--epochs takes 4 numbers for deep2024, one for"),
        ("--model mozafari2018 --grid s1.threshold 8 -1 --output x", "s1.threshold=-1: a threshold must be a number"),
        ("--model mozafari2018 --after y --output x", "--after is each run's own; leave it out: the sweep makes it"),
        ("--model mozafari2018 --grid s1.threshold --output x", "--grid takes a setting and its values"),
        ("--model mozafari2018 --seed 3 --output x", "--seed is each run's own; leave it out"),
        ("--model mozafari2018 --seeds 0 0 --output x", "two of the runs would be called mozafari2018-mnist-seed0"),
        ("--model mozafari2018 --ratio 2 --output x", "--ratio must be above 0 and at most 1"),
        ("--model mozafari2018 --frob 2 --output x", "unrecognized arguments: --frob 2"),
        ("--model mozafari2018 --output x --scheduler tcp://h:1", "say which with --cluster dask"),
        ("--report nowhere", "--report nowhere"),
        ("--report . --ratio 1", "--report reads what runs have left; leave out all but --output"),
    ],
)
def test_refused_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refuse(capsys, *words.split())
    assert not list(tmp_path.iterdir())


def test_every_combination_is_a_run_of_its_own(monkeypatch, tmp_path):
    """Two networks × two data sets × 3 · 2 settings × two seeds; each command names its own."""
    monkeypatch.setattr(sweep, "parse", lambda words: train.parse([w for w in words if "=" not in w and w != "--set"]))
    words = "--model mozafari2018 deep2024 --dataset digits mnist --seeds 3 4 --grid s1.threshold 8 10 12"
    words += f" --grid s3.rule.reward 0.1,-0.2 0.3,-0.4 --set s1.rule.winners=3 --ratio 0.5 --output {tmp_path}"
    runs = sweep.plan(*sweep.make_parser().parse_known_args(words.split()))
    assert len({run.folder for run in runs}) == len(runs) == 48
    assert runs[0].folder.name == "mozafari2018-digits-s1.threshold-8-s3.rule.reward-0.1-0.2-seed3"
    settings = ["--set", "s1.rule.winners=3", "s1.threshold=8", "s3.rule.reward=0.1,-0.2", "--ratio", "0.5"]
    assert " ".join(settings) in " ".join(runs[0].words)
    assert [run.epochs for run in (runs[0], runs[-1])] == [686, 110]


# ---------------------------------------------------------------------------------------------------------------------
# The report


def made_up_run(folder, model, seed, threshold, accuracies, finished=True, **fields):
    (folder / "checkpoints").mkdir(parents=True)
    fields = {"s2.threshold": threshold, **fields}
    flags = {"model": model, "dataset": "digits", "seed": seed, "epochs": [1, 2], "set": fields, "name": folder.name}
    (folder / "args.json").write_text(json.dumps({"command_line": "train.py", "flags": flags}))
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("phase", "train_accuracy", "val_accuracy"))
        writer.writerow(("s1", "", ""))
        writer.writerows(("s3", 0.1, accuracy) for accuracy in accuracies)
    if finished:
        best = {"accuracy": accuracies[-1], "loss": 1 - accuracies[-1], "silent": 0.0}
        (folder / "results.json").write_text(json.dumps({"test": {"best": best}}))
    return folder


def report(folder):
    """Report on the runs in a folder; returns sweep.md and the rows of sweep.csv and runs.csv."""
    assert sweep.main(["--report", str(folder)]) == 0
    return (folder / "sweep.md").read_text(), *(read_csv(folder / name) for name in ("sweep.csv", "runs.csv"))


def test_the_report_by_hand(tmp_path):
    """Means and deviations over seeds, by hand; an unfinished run is named; a folder without a run is left out."""
    made_up_run(tmp_path / "a", "m", 0, 8, [0.5, 0.80])
    made_up_run(tmp_path / "b", "m", 1, 8, [0.5, 0.84])
    made_up_run(tmp_path / "c", "m", 0, 9, [0.7, 0.90])
    made_up_run(tmp_path / "d", "m", 1, 9, [0.7], finished=False)
    (tmp_path / "else").mkdir()
    text, (first, second), runs = report(tmp_path)
    assert "| m | digits | s2.threshold=8 | 2 | 82.00 ± 2.83 | 18.00 ± 2.83 | 0.00 ± 0.00 |" in text
    assert "| m | digits | s2.threshold=9 | 1 of 2 | 90.00 | 10.00 | 0.00 |" in text
    assert "Not finished: d." in text
    assert float(first["accuracy_mean"]) == pytest.approx(0.82)
    assert float(first["accuracy_deviation"]) == pytest.approx(np.std([0.8, 0.84], ddof=1))
    assert (second["accuracy_mean"], second["accuracy_deviation"]) == ("0.9", "")
    assert [row["run"] for row in runs] == ["a", "b", "c", "d"]
    assert (tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["args.json", "results.json", "metrics.csv"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"flags": 1, "test": 1}', b"val\n1\n", b"\xff\0", "half"])
def test_a_damaged_run_is_named_and_the_others_are_reported(tmp_path, name, content):
    for seed, folder in enumerate("abc"):
        made_up_run(tmp_path / folder, "m", seed, 8, [0.5, 0.8])
    damaged = tmp_path / "b" / name
    if content is None:
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:-20] if content == "half" else content)
    text, (row,), runs = report(tmp_path)
    if (name, content) == ("results.json", None):
        assert "Not finished: b." in text
        assert [run["finished"] for run in runs] == ["True", "False", "True"]
    else:
        assert re.search(rf"^b: damaged, {name} ", text, re.MULTILINE)
        assert [run["run"] for run in runs] == ["a", "c"]
    assert (row["seeds"], row["accuracy_mean"]) == ("2", "0.8")


def test_a_refused_readout_has_no_accuracy(tmp_path):
    """A readout that did not fit into the memory does not end the report."""
    for seed, readout in enumerate(({"test": {"accuracy": 0.9}}, {"refused": "not enough memory"})):
        folder = made_up_run(tmp_path / str(seed), "m", seed, 8, [0.5])
        (folder / "results.json").write_text(json.dumps({"readout": readout}))
    _, _, runs = report(tmp_path)
    assert [run["readout"] for run in runs] == ["0.9", ""]


def test_what_all_runs_have_is_no_setting(tmp_path, recwarn):
    """Of a long --set only the fields that differ are named, and the curves keep their room beside the legend."""
    common = {f"s{stage}.rule.winners": stage for stage in range(1, 9)}
    for value, reward in ((8, [0.1, -0.2]), (9, [0.3, -0.4])):
        made_up_run(tmp_path / "few" / str(value), "m", 0, value, [0.5, 0.6], **common, **{"s9.rule.reward": reward})
        many = {f"s{stage}.out_channels": value for stage in range(1, 9)}
        made_up_run(tmp_path / "many" / str(value), "m", 0, value, [0.5, 0.6], **many)
    text, *_ = report(tmp_path / "few")
    assert "| m | digits | s2.threshold=8, s9.rule.reward=0.1 -0.2 | 1 |" in text
    assert "winners" not in text
    report(tmp_path / "many")
    assert not [warning for warning in recwarn if "constrained_layout" in str(warning.message)]


def test_a_curve_ends_where_the_longest_run_does():
    mean, deviation = mean_curve([[0.2, 0.4, 0.9], [0.4, 0.8]])
    np.testing.assert_allclose(mean, [30, 60, 90])
    np.testing.assert_allclose(deviation, [np.sqrt(200), np.sqrt(800), 0])


def test_report_of_single_runs(tmp_path, capsys):
    one, two = (str(made_up_run(tmp_path / name, "m", 0, name, [0.5])) for name in ("a", "b"))
    assert_refuses(sweep.main, ["--report", one], "--output", capsys)
    assert sweep.main(["--report", one, "--output", str(tmp_path / "one")]) == 0
    assert "s2" not in (tmp_path / "one" / "sweep.md").read_text()
    assert sweep.main(["--report", one, two, one, "--output", str(tmp_path / "two")]) == 0
    assert len(read_csv(tmp_path / "two" / "runs.csv")) == 2
