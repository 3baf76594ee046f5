"""A user's own file on the command line: what it adds, what needs the flag again, and mistakes in it."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.command import FEW_DIGITS, SMALL, read_csv, results, run_evaluate, run_train, start
from support.pages import find_example
from support.refusals import assert_refuses, refuses
from support.registries import forgetting
from support.run_folders import (
    assert_read_alike,
    load_best,
    load_last,
    outcome,
    read_args,
    read_features,
    read_log,
    same,
)

import evaluate
import sweep
import train
from engine.compiled import announcements
from engine.plugins import PLUGINS, import_plugin
from engine.progress import COLUMNS
from imagesets import load
from models import build_model
from network_trainer import NetworkTrainer
from report.report import FIGURES
from run_folder import FORMAT
from training.settings import TrainSettings
from training.trained import load_network
from utils import ROOT

OWN = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure

from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from imagesets import DataSet, dataset
from network_trainer import NetworkTrainer
from report.report import figure
from s1c1 import Encoder


@dataclass(frozen=True)
class Plugged(STDP):
    name: ClassVar[str] = "plugged"

    span: int = 3


@dataclass(frozen=True)
class Ink(Encoder, name="ink"):
    share: float = 0.5
    time_steps: int = 1

    fitted: ClassVar[tuple[str, ...]] = ("lightest",)

    def fit(self, images):
        return {"lightest": torch.tensor(images.max())}

    def encode(self, images):
        return (images[:, None] < self.share * self.state["lightest"].item()).astype("uint8")


class Plug(NetworkTrainer, name="plug"):
    epochs = (1, 1)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(4, 5, threshold=5, rule=STDP(winners=2, radius=1)),
            "c1": Pool(8),
            "s2": SpikingConv(num_classes, 3, rule=RSTDP()),
        }


@dataset("squares")
def read_squares(name, data_dir, image_size):
    images = np.zeros((72, 20, 20), np.uint8)
    images[::2, 5:15, 5:15] = 255
    images[1::2, 2:18, 2:18] = 255
    images[:, 0, 0] = range(72)
    return DataSet("squares", images, np.arange(72) % 2, class_names=("small", "large"), notes=("drawn here",))


@figure("Nothing")
def nothing(report, caption):
    yield "", Figure(figsize=(1, 1))
"""


SQUARES = "--model plug --dataset squares --image-size 30 30 --threads 1"  # learned by the plugin's network


@pytest.fixture
def own(tmp_path):
    """A file with a network, a rule, an encoder, a data set and a figure."""
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_run_with_a_plugin(own, tmp_path, undrawn):
    words = SMALL.replace("mozafari2018", "plug") + f" --encoder ink --set s1.rule=stdp --dry-run --plugin {own}"
    run = run_train(f"{words} --name run", tmp_path)
    run_train(f"--resume {run} --plugin {own}", tmp_path)
    flags = read_args(run)["flags"]
    assert flags["plugin"] == [f"own.py {hashlib.sha256(OWN.encode()).hexdigest()}"]
    PLUGINS.clear()
    assert_refuses(train.main, f"--resume {run}", f"--plugin {own}")
    assert_refuses(evaluate.main, f"{run}", f"--plugin {own}")
    assert "no file" in assert_refuses(evaluate.main, f"{run} --plugin {run / 'own.py'}", run / "own.py")
    assert "no file" not in assert_refuses(evaluate.main, f"{run} --plugin {run / 'log.txt'}", "log.txt")
    run_train(f"--resume {run} --plugin {own}", tmp_path)
    again = run_evaluate(f"{run} --dry-run --threads 1 --name again --plugin {own}", tmp_path)
    assert results(again)["test"] == results(run)["test"]["best"]
    imported = f"import own; network = load_network({str(run)!r}, plugin='own.py'); print(network.class_names)"
    code = f"import sys; sys.path.append('.'); from training.trained import load_network; {imported}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert (done.stdout, done.returncode) == (f"{tuple(map(str, range(10)))}\n", 0), done.stderr
    own.write_text(OWN + "# changed")
    assert_refuses(train.main, f"--resume {run} --plugin {own}", "--plugin")
    own.unlink()
    PLUGINS.clear()
    assert f"{own}" not in assert_refuses(train.main, f"--resume {run}", "--plugin own.py")  # it was moved


def test_a_data_set_and_a_figure_of_a_plugin(own, tmp_path):
    FIGURES.clear()
    words = f"--model plug --dataset squares --image-size 30 32 --plugin {own} --device cpu --threads 1"
    run = run_train(words, tmp_path)
    assert (run / "figures" / "nothing.png").is_file()
    log = read_log(run)
    assert "drawn here" in log
    assert "12 of 72 images are held out" in log
    content = load_best(run)
    assert content.image_size == (30, 32)
    assert content.record.class_names == ["small", "large"]
    data = load("squares", image_size=(30, 32))
    assert content.record.fingerprint == data.fingerprint != load("squares").fingerprint
    assert_read_alike(run, tmp_path, data.test_images, data.test_labels, own)
    assert_refuses(train.main, f"--model plug --dataset circles --plugin {own}", "squares")


FAULTY = """
@after_epoch
def raising(network, row):
    row["phase"] = 1 / 0


@after_epoch
def arrays(network, row):
    return np.zeros(2)


@after_epoch
def infinite(network, row):
    return [float("inf")]


@after_epoch
def nested(network, row):
    values = []
    for _ in range(100):
        values = [values]
    return values


@after_epoch
def pairs(network, row):
    return [(row["phase"], row["epoch"])]
"""


def test_values_after_each_epoch(tmp_path):
    """The example of docs/extending.md, beside functions that fail."""
    own = tmp_path / "values.py"
    own.write_text(find_example("@after_epoch") + FAULTY)
    FIGURES.clear()
    run = run_train(f"{SMALL} --dry-run --no-test --plugin {own}", tmp_path)
    rows = load_last(run).progress.history
    assert [row["values"]["pairs"] for row in rows] == [[["s1", 1]], [["s2", 1]], [["s3", 1]]]
    assert all(row["values"].keys() == {"weights", "pairs"} for row in rows)
    written = json.loads((run / "values.json").read_text())
    assert [(row["step"], row["phase"], row["epoch"]) for row in written] == [(1, "s1", 1), (2, "s2", 1), (3, "s3", 1)]
    assert [row["values"] for row in written] == [row["values"] for row in rows]
    first, second, third = (row["values"]["weights"] for row in rows)
    assert {layer: sum(counts) for layer, counts in first.items()} == {"s1": 4500, "s2": 67500, "s3": 1250000}
    assert [layer for layer in first if first[layer] != second[layer]] == ["s2"]
    assert [layer for layer in first if second[layer] != third[layer]] == ["s3"]
    log = read_log(run)
    faults = [
        f"raising of this epoch: {own}, line ",
        "arrays of this epoch: TypeError",
        "infinite of this epoch: Value",
        "nested of this epoch: at most",
    ]
    assert [log.count(fault) for fault in faults] == [3, 3, 3, 3]
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert drawn == {f"weight_histograms_{layer}.png" for layer in first}
    assert read_csv(run / "metrics.csv")[0].keys() == {*COLUMNS}


@pytest.mark.parametrize(
    ("example", "flags", "batches"),
    [
        ("add_state", "--epochs 2 1 1 --set s1.rule=homeostatic s1.rule.strength=0.5", 4),  # in the second epoch of s1
        ("TargetTimes", "--model targets --epochs 1 1 3 --set s3.threshold=120 --save-maps 1", 8),  # in s3
    ],
)
def test_a_phase_of_ones_own_is_resumed(example, flags, batches, tmp_path, undrawn, stop_after):
    """Those of docs/extending.md, and what reads their runs."""
    own = tmp_path / "own.py"
    own.write_text(find_example(example))
    words = f"{SMALL} {flags} --plugin {own}"
    run = run_train(f"{words} --name whole", tmp_path)
    whole = outcome(run)
    assert whole["last weights"].get("phases.0.s1_wins", torch.ones(1)).sum() > 0
    data = load(str(FEW_DIGITS))
    assert_read_alike(run, tmp_path / "read", data.test_images, data.test_labels, plugin=own)
    stop_after(batches)
    stopped = run_train(f"{words} --name stopped", tmp_path, 130)
    stop_after(None)
    run_train(f"--resume {stopped} --plugin {own}", tmp_path)
    assert same(whole, outcome(stopped))


def test_a_recorder_is_resumed(tmp_path, undrawn, stop_after):
    """That of docs/extending.md, whose file a new dry run replaces."""
    own, whole, stopped = (tmp_path / name for name in ("changes.py", "whole", "stopped"))
    own.write_text(find_example("(Recorder"))
    words = f"{SMALL} --epochs 2 1 1 --no-figures --plugin {own}"
    run_train(f"{words} --name whole", tmp_path)
    for number, batches in enumerate((1, 3, 2, None)):
        stop_after(batches)
        start(f"--resume {stopped} --plugin {own}" if number else f"{words} --name stopped", tmp_path)
    rows = read_csv(whole / "weight_changes.csv")
    assert [(row["phase"], row["layer"]) for row in rows] == [(name, name) for name in ("s1", "s2", "s3")]
    assert rows == read_csv(stopped / "weight_changes.csv")
    network, first = load_network(whole, plugin=own).model, build_model("mozafari2018", num_classes=10)
    for name, layer in first.named_layers():
        change = (network.stages[name].weight - layer.weight).abs().mean()
        assert float(rows.pop(0)["mean change"]) == pytest.approx(float(change), rel=1e-5)
    stop_after(None)
    for _ in range(2):
        run_train(f"{words} --dry-run --name dry", tmp_path)


RECORDER = """
import torch
from training.recorders.recorder import Recorder

class Mine(Recorder, every_run=True):
    def record_batch(self, step):
        self.kept["sum"] = torch.zeros(2)
"""
RECORDERS = {  # a change of a plugin with a recorder: what the line is about
    "'Log' is declared twice": ("Mine", "Log"),
    "record_batches": ("record_batch", "record_batches"),
    "('metrics.csv',)": ("def", "files = ('metrics.csv',)\n    def"),
    "('results.json',)": ("def", "files = ('results.json',)\n    def"),
    "a tuple": ("def", "files = 'mine.csv'\n    def"),
    "tuples": ("torch.zeros(2)", "(1, 2)"),
}


@pytest.mark.parametrize("about", RECORDERS)
def test_a_recorder_that_is_refused(about, tmp_path, undrawn, capsys):
    """When it is imported, or when the first checkpoint would contain what it keeps."""
    own = tmp_path / "mine.py"
    own.write_text(RECORDER.replace(*RECORDERS[about]))
    line = fail(f"{SMALL} --epochs 1 0 0 --plugin {own}", tmp_path / "runs", capsys)
    assert "Mine" in line or "Log" in line
    assert about in line
    assert (tmp_path / "runs").exists() == (about == "tuples")


def test_a_recorder_that_is_missing_at_a_resume(tmp_path, undrawn, stop_after):
    own, recorder = tmp_path / "mine.py", tmp_path / "beside.py"
    own.write_text("import beside")
    recorder.write_text(RECORDER)
    stop_after(2)
    with forgetting():
        run = run_train(f"{SMALL} --plugin {own}", tmp_path, 130)
    sys.modules.pop("beside")
    recorder.write_text("")
    assert_refuses(train.main, f"--resume {run} --plugin {own}", "Mine")
    sys.modules.pop("beside")


def test_no_other_source_imports_a_file(own, tmp_path):
    own.write_text("raise SystemExit('imported')")
    toml, args = tmp_path / "c.toml", tmp_path / "args.json"
    toml.write_text(f'model = "mozafari2018"\nplugin = "{own}"')
    args.write_text(json.dumps({"format": FORMAT, "flags": {"model": "mozafari2018", "plugin": [f"{own} 123"]}}))
    assert_refuses(train.main, f"--config {toml}", "plugin")
    assert TrainSettings.parse(["--config", str(args)]).plugin == ()


def test_two_plugins_with_a_network_of_one_name(own, tmp_path):
    second = tmp_path / "second" / own.name
    second.parent.mkdir()
    second.write_text(OWN)
    assert_refuses(train.main, f"--plugin {own} {second} --list-models", second)


def test_files_beside_a_plugin(own, tmp_path, undrawn):
    """The plugin imports a file beside it; utils.py is another.

    They are found after all others; a run continues if they have changed, but not if the plugin has.
    """
    text = OWN.replace("float = 0.5", "float = LIGHT")
    own.write_text(f"from helped_by import LIGHT\nfrom utils import ROOT\n{text}")
    (tmp_path / "helped_by.py").write_text("LIGHT = 0.5")
    (tmp_path / "utils.py").write_text("")
    run = run_train(f"{SQUARES} --encoder ink --dry-run --plugin {own}", tmp_path)
    resume = f"--resume {run} --plugin {own}"
    assert sys.path[-1] == str(tmp_path)
    (tmp_path / "helped_by.py").write_text("LIGHT = 0.5\n")
    run_train(resume, tmp_path)
    own.write_text(f"{own.read_text()}\n")
    assert_refuses(train.main, resume, "--plugin")
    sys.modules.pop("helped_by")


def test_only_kernels_of_an_encoder_are_announced_as_such(own, tmp_path, undrawn, monkeypatch):
    """The encoder of the plugin has none, but its maps are packed by a kernel."""
    allocate = NetworkTrainer.allocate

    def compile_and_allocate(*args):
        while announcements:
            announcements.pop()()
        return allocate(*args)

    monkeypatch.setattr(NetworkTrainer, "allocate", compile_and_allocate)
    run = run_train(f"{SQUARES} --encoder ink --dry-run --plugin {own}", tmp_path)
    _, first, *_ = read_log(run).split("\ncompiling")
    assert "encoder" not in first.splitlines()[0]
    assert "compiling the kernels of s2, " in read_log(run)


def test_a_plugin_that_has_changed_since_the_training_is_noted(own, tmp_path, undrawn, capsys):
    run = run_train(f"{SQUARES} --encoder ink --dry-run --plugin {own}", tmp_path)
    capsys.readouterr()
    for is_changed in (False, True):
        run_evaluate(f"{run} --no-figures --threads 1 --plugin {own}", tmp_path / "out")
        load_network(run, plugin=own)
        lines = capsys.readouterr().err.splitlines()
        assert [line.startswith(f"{own.name} has changed") for line in lines] == [True, True] * is_changed
        own.write_text(f"{own.read_text()}\n")
    with refuses("3"):
        load_network(run, plugin=3)


UNUSABLE = [
    "x = (", "x = '\0é'", "x = missing", "raise SystemExit", "raise GeneratorExit", OWN.replace('"plug"', '"deep2024"'),
    OWN.replace('"plugged"', '"stdp"'), OWN.replace('"squares"', '"digits"'), OWN.replace("def nothing", "def history"),
]  # fmt: skip


def test_a_file_that_cannot_be_imported(own):
    for text in UNUSABLE:
        own.write_bytes(text.encode("latin-1"))
        with forgetting():
            assert_refuses(train.main, f"--plugin {own} --list-models", own)
    own.unlink()
    assert_refuses(train.main, f"--plugin {own} --list-models", own)


def test_a_mistake_in_a_network(own, tmp_path):
    own.write_text(OWN.replace("winners=2", "winner=2"))
    about = f"{own}, line {1 + OWN.partition('winners=2')[0].count(chr(10))}"
    words = f"--model plug --plugin {own} --dataset digits --output {tmp_path / 'runs'}"
    for main in (train.main, sweep.main):
        assert_refuses(main, words, about)
    assert_refuses(train.main, f"--list-models --plugin {own}", about)


def fail(words, output, capsys):
    """Run train.py, which must end with one line on stderr; return it."""
    run_train(words, output, 2)
    (line,) = capsys.readouterr().err.splitlines()
    return line


RULE = """
@dataclass(frozen=True)
class Faulty(RSTDP):
    name: ClassVar[str] = "faulty"

    def METHOD(self, *given):
        """
FAULTS = {  # what is at the end of a plugin, whose last line raises an exception
    "a module": "raise RuntimeError('several\\nlines')",
    "an exception without a text": "class Odd(BaseException): __str__ = None\nraise Odd",
    "epochs": "class Other(Plug, name='other'): epochs = 1.5, 1",
    "no epochs": "class Other(Plug, name='other'): epochs = None",
    "an encoder's name": "class Other(Plug, name='other'): encoder = 's1c1'",
    "build": "Plug.build = lambda self, num_classes: {}['mine']",
    "an encoder": "Ink.__post_init__ = lambda self: int('mine')",
    "encode": "Ink.encode = lambda self, images: 1 / 0",
    "a data set": "DATASETS['squares'] = lambda *_: sys.exit(0)",
    **{method: RULE.replace("METHOD", method) + "raise StopIteration" for method in ("first_rates", "schedule")},
    **{method: RULE.replace("METHOD", method) + "assert False" for method in ("draw_left_out", "plasticity")},
    "adapt": RULE.replace("METHOD", "adapt") + "sys.exit()",
}


@pytest.mark.parametrize("what", FAULTS)
def test_an_exception_of_a_plugin_is_one_line_with_its_place(what, own, tmp_path, capsys):
    text = f"import sys\nfrom imagesets.data_set import DATASETS\n{OWN}\n{FAULTS[what]}"
    own.write_text(text)
    rule = "faulty" if "faulty" in text else "rstdp"
    line = fail(f"{SQUARES} --set s2.rule={rule} --encoder ink --dry-run --plugin {own}", tmp_path, capsys)
    assert line.startswith(f"train.py: {own}, line {text.count(chr(10)) + 1}: ")


OWN_PHASE = """
from engine.phases import Phase


class Own(Phase):
    def learn(self, *given):
        return super().learn(*given)


Plug.build_phases = lambda self: [Own(phase.stages, phase.rules) for phase in NetworkTrainer.build_phases(self)]
"""


def test_an_error_of_the_program_below_a_plugin_keeps_its_traceback(own, tmp_path, monkeypatch, capsys):
    """During the training; the line also says what to do if the plugin has caused it."""
    own.write_text(OWN + OWN_PHASE)
    monkeypatch.setattr("engine.phases.is_finite", lambda weight: 1 / 0)
    run_train(f"{SQUARES} --dry-run --plugin {own}", tmp_path, 2)
    *traceback, line = capsys.readouterr().err.splitlines()
    assert traceback[0].startswith("Traceback")
    assert "phases.py" in str(traceback)
    assert str(own) in line
    assert "another --name" in line
    assert "--traceback" not in line


@pytest.mark.parametrize("fault", ["0 * images", "1 / 0"])
def test_what_to_do_after_a_repair(fault, own, tmp_path, capsys):
    """The run has the SHA-256 of the plugin, so a repaired one needs a new run; both lines name another --name."""
    own.write_text(OWN.replace("return (images", f"return {fault} + (images"))
    line = fail(f"{SQUARES} --encoder ink --dry-run --plugin {own} --name bad", tmp_path, capsys)
    assert "another --name" in line
    assert f"delete {tmp_path / 'bad'}" in line
    assert ("--traceback" in line) == (fault == "1 / 0")
    own.write_text(OWN)
    line = assert_refuses(train.main, f"--resume {tmp_path / 'bad'} --plugin {own}", own.name)
    assert "another --name" in line


@pytest.mark.parametrize("method", ["schedule", "adapt", "first_rates"])
def test_rates_that_are_no_numbers(method, own, tmp_path, capsys):
    own.write_text(f"{OWN}{RULE.replace('METHOD', method)}return VALUES[0]\n\nVALUES = [None]")
    about = "s2.rule=faulty" if method == "first_rates" else f"Faulty.{method} must return"
    for value in (np.nan, np.full((2, 2), np.nan), np.full((2, 2), 1j), "mine", [[1], 2]):
        import_plugin(own)
        sys.modules[PLUGINS[own]].VALUES[0] = value
        line = fail(f"{SQUARES} --set s2.rule=faulty --dry-run --plugin {own}", tmp_path, capsys)
        assert about in line
        assert "--resume" not in line  # which would fail again


@pytest.mark.parametrize(
    ("command", "words"), [(train, "--list-models"), (evaluate, "latest"), (sweep, "--model plug --output runs")]
)
def test_the_traceback_of_a_plugin(command, words, own, capsys):
    own.write_text("raise RuntimeError('mine')")
    assert command.main([*words.split(), "--plugin", str(own), "--traceback"]) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Traceback")
    assert "--traceback" not in last  # it is printed
    assert f"{own}, line 1: RuntimeError: mine" in last


OWN_LEARNING = """
from engine.phases import Phase, list_winners


class Own(Phase):
    def add_state(self, network):
        self.register_buffer("log", torch.zeros(0, dtype=torch.int64))

    def METHOD


class OwnSTDP(STDP):
    name = "own"
    phase = Own


class OwnRSTDP(RSTDP):
    name = "own_rewarded"
    phase = Own
"""
FEATURES = """learn_features(self, *given):
        winners = super().learn_features(*given)
        """
DECISIONS = """learn_decisions(self, *given):
        learned = super().learn_decisions(*given)
        """
OWN_STAGE = """
from engine.stages import Stage


class Own(Stage):
    METHOD


Plug.build = lambda self, num_classes, build=Plug.build: {"o1": Own(), **build(self, num_classes)}
"""
OWN_ENCODER = """
@dataclass(frozen=True)
class Own(Ink, name="own"):
    METHOD
"""
WRONG = {  # the end of a plugin: what the line names: what stands in place of METHOD
    OWN_LEARNING: {
        "buffers of Own": [
            FEATURES + "self.log = torch.cat([self.log, list_winners(winners)])\n        return winners",
            FEATURES + "self.log = self.log.float()\n        return winners",
        ],
        "Own.learn_features": [
            FEATURES + f"return winners{wrong}"
            for wrong in (" is None", ".numpy()", " + 9", " - 9", ".float()", "[1:]", "[..., 0]", "[..., :3]")
        ],
        "Own.learn_decisions must return": [
            DECISIONS + f"return {wrong}"
            for wrong in ("None", "learned[0]", "(learned[0], None)", "(learned[0] + 999, learned[1])", "learned[::-1]")
        ],
        "learn_decisions of Own must have": ["learn_decisions(self, network, inputs, labels, epoch, rng): pass"],
    },
    OWN_STAGE: {
        "a method fire": ["fire = lambda self, latency: latency"],
        "must return (channels": ["shape = lambda self, maps: None; fire = lambda self, latency, time_steps: latency"],
        "must return uint8": [f"fire = lambda self, latency, time_steps: {wrong}" for wrong in ("latency[1:]", "3")],
    },
    OWN_ENCODER: {
        "polarity": ["channels = 2; polarity = (1,)", "polarity = (3,)"],
        "must return uint8": [
            "encode = lambda self, images: None",
            "encode = lambda self, images: images[:, None] * 0.5",
        ],
    },
    "\nMETHOD": {
        "own.rule": ["type('Dotted', (STDP,), {'name': 'own.rule', '__annotations__': {}})"],
        "a/b": ["class Slashed(Plug, name='a/b'): pass"],
        "mozafari2018": ["class Mine(Plug, name='MOZAFARI2018'): pass"],
        "DataSet": ["from imagesets.data_set import DATASETS; DATASETS['squares'] = lambda *_: None"],
    },
}


@pytest.mark.parametrize("kind", WRONG, ids=["phases", "stages", "encoders", "names"])
def test_what_a_plugin_gives_is_checked_where_it_comes_in(kind, own, tmp_path, undrawn, capsys):
    """One line names the file and what is wrong; a state that could not be loaded is refused in its first batch."""
    wrong = []
    for about, methods in WRONG[kind].items():
        for method in methods:
            own.write_text(OWN + kind.replace("METHOD", method))
            words = f"{SQUARES} --dry-run --plugin {own}"
            if kind == OWN_LEARNING:
                words += " --set s1.rule=own s2.rule=own_rewarded"
            with forgetting():
                code = start(f"{words} --encoder {'own' if kind == OWN_ENCODER else 'ink'}", tmp_path / "runs")
            lines = capsys.readouterr().err.splitlines()
            if code != 2 or len(lines) != 1 or about not in lines[0]:
                wrong.append(f"{method}: {code}, {lines}")
    assert not wrong, "\n".join(wrong)


CHANNELS = """
from engine.stages import Region, Stage


@dataclass(frozen=True)
class Twice(Stage):
    title = "twice"

    def shape(self, maps):
        ((channels, rows, columns),) = maps
        return 2 * channels, rows, columns

    def regions(self, below, shape_below, shape):
        ((_, rows, columns),) = below
        return [Region(slice(0, shape[0]), rows, columns)]

    def fire(self, latency, time_steps):
        return torch.cat([latency, latency.flip(3)], 1)


class Wide(NetworkTrainer, name="wide"):
    epochs = (1, 1, 1)

    def build(self, num_classes):
        first = SpikingConv(4, 5, threshold=5, rule=STDP(winners=2, radius=1))
        second = SpikingConv(5, 3, threshold=3, rule=STDP(winners=1, radius=1))
        return {"s1": first, "t1": Twice(), "c1": Pool(4), "s2": second, "s3": SpikingConv(2, 3, rule=RSTDP())}


@figure("On and off")
def switched(report, caption):
    yield "on/off", Figure(figsize=(1, 1))


@figure("Broken")
def broken(report, caption):
    raise InputError("broken")
"""


def test_no_picture_costs_a_result(own, tmp_path, monkeypatch):
    """Of a stage with other channels, features above it are not drawn; a page that cannot be drawn is a line."""
    monkeypatch.setattr("report.figures.DPI", 20)
    own.write_text(f"from errors import InputError\n{OWN}{CHANNELS}")
    words = f"{SQUARES} --model wide --save-maps 1 --no-references --plugin {own}"
    with forgetting():
        run = run_train(words, tmp_path)
    figures = {path.stem for path in (run / "figures").iterdir()}
    assert {"features_s1", "emergence_s1", "switched_on-off"} <= figures
    assert not {"features_s2", "emergence_s2"} & figures
    assert (run / "index.html").is_file()
    log = read_log(run)
    assert log.count("cannot be drawn") == 1
    assert f"the figure broken cannot be drawn: {own}, line" in log

    monkeypatch.setattr("report.report.FIGURES", {})
    own.write_text(own.read_text().replace("return [Region(slice", "return 1 / 0, [Region(slice"))
    second = run_train(f"{words} --tensorboard", tmp_path)
    assert results(second)["test"] == results(run)["test"]
    names, others = ({path.name for path in folder.glob("maps/end/*.npz")} for folder in (run, second))
    assert names == others != set()
    log = read_log(second)
    assert "index.html cannot be drawn" in log
    assert "the maps of image" in log


def test_labels_of_every_type(own, tmp_path, undrawn):
    """Images without a label have the label -1, also if those of the plugin are uint8."""
    unlabelled = "np.concatenate([images, images]), {0}, test_images=images, test_labels={0}, unlabelled=72,"
    for labels in ("np.arange(72, dtype=np.uint8) % 2", "[0, 1] * 36"):
        own.write_text(OWN.replace("images, np.arange(72) % 2,", unlabelled.format(labels)))
        with forgetting():
            run = run_train(f"{SQUARES} --no-figures --save-features --plugin {own}", tmp_path)
        assert {*read_features(run)["train"]["labels"].tolist()} == {-1, 0, 1}
