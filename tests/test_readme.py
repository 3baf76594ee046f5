"""The commands, examples, links, tables and figures of the README and of docs/, and the tutorial, on a few images."""

import contextlib
import csv
import functools
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image
from support.command import dont_draw, read_csv, results, train_here
from support.pages import EXAMPLE, EXAMPLES, find_example
from support.registries import forgetting

import evaluate
import imagesets
import models
import SpykeTorch
import sweep
import train
import training
from engine.progress import COLUMNS
from engine.rules import RULES
from report import figures
from run_folder import RunFolder
from utils import ROOT

README = (ROOT / "README.md").read_text()
DOCS = "spyketorch", "using", "extending", "did_my_layer_learn", "outputs", "method", "engine", "background"
DOCS += "learning", "hyperparameters", "other_libraries"
CHANGES = ROOT / "CHANGELOG.md"
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in DOCS)]
OTHER_PAGES = sorted(page for folder in ("data", "results", "benchmarks") for page in ROOT.glob(f"{folder}/**/*.md"))
TEXT = "\n".join(page.read_text() for page in PAGES)
ALL_TEXT = TEXT + "\n".join(page.read_text() for page in OTHER_PAGES)
DECLARATIONS = "\n".join(code for code in EXAMPLES if re.search(r"^(class |@)", code, re.MULTILINE))


def commands(*programs, text=ALL_TEXT):
    """(program, words) of each command in a block, marked or indented, in the order of the text."""
    blocks = re.findall(r"^ {4}.*|(?s:```bash\n.*?```)", text.replace("\\\n", ""), re.MULTILINE)
    found = [match for block in blocks for match in re.findall(rf"python ({'|'.join(programs)})\.py (.*)", block)]
    return [(program, shlex.split(words, comments=True)) for program, words in found]


COMMANDS = commands("train", "evaluate")
FEW = {"train": 30, "validation": 10, "test": 10}  # images of a dry run
FLAGS = "--image-size 28 28 --model multiscale2026"  # a row of the table of data/README.md
load = functools.cache(imagesets.load)  # to read MNIST takes longer than to learn from a few images


def load_few(name):
    """Load 40 training images and 40 test images."""
    data = load(name)
    parts = "train_images", "train_labels", "test_images", "test_labels"
    return replace(data, **{part: getattr(data, part)[:40] for part in parts})


def save_pictures(folder):
    """Save digits as pictures, each in the folder of its class."""
    data = load_few("digits")
    for number, (image, label) in enumerate(zip(data.train_images, data.train_labels, strict=True)):
        (folder / str(int(label))).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image).squeeze()).save(folder / str(int(label)) / f"{number}.png")


def fill_in(sheet):
    """Write the class of each image into its row: the name of its folder."""
    rows = read_csv(sheet)
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"class": Path(row["image"]).parent.name} for row in rows)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, pytestconfig):
    """The folder of the runs of all commands, in the order of the pages: later commands use earlier runs.

    Without --slow, of those of the README and those whose features the examples read.
    """
    folder = tmp_path_factory.mktemp("runs")
    own = tmp_path_factory.mktemp("own") / "mine.py"  # all that the examples declare
    own.write_text(DECLARATIONS)
    save_pictures(own.parent / "pictures")
    replaced = {"^runs/": f"{folder}/", "^mine.py$": own, "^folder:PATH$": f"folder:{own.parent / 'pictures'}"}
    replaced |= {"^PICTURE.png$": "images/example-digit.png", "^100$": "20"}  # labels
    with pytest.MonkeyPatch.context() as patch, forgetting():
        patch.chdir(ROOT)
        patch.setattr("training.data.DRY_RUN_IMAGES", FEW)
        patch.setattr(RunFolder, "is_dry_run", False)  # so that "latest" means these runs
        patch.setattr(imagesets, "load", load)
        patch.setattr(figures, "DPI", 20)
        quick = commands("train", "evaluate", text=README)
        quick += [(program, words) for program, words in COMMANDS if "--save-features" in words]
        for program, words in COMMANDS if pytestconfig.getoption("--slow") else quick:
            command = shlex.split(shlex.join(words).replace(" FLAGS", f" {FLAGS}"))
            for word, other in replaced.items():
                command = [re.sub(word, str(other), each) for each in command]
            shorter = [] if {"--predict", "--nir"} & {*command} else ["--dry-run"]
            if "s1.rule=decay" in command:
                shorter += ["--epochs", "0", "1", "1"]  # a slow test trains s1: kernels of a new file are not kept
            if program == "train" and {"multiscale2026", "--augment"} & {*command}:
                shorter += ["--augment", "copies=1", "shift=1"]  # fewer than its own copies
            main = {"train": train, "evaluate": evaluate}[program].main
            with contextlib.redirect_stdout(io.StringIO()) as printed, patch.context() as hurry:
                if "first" not in command:  # whose folder docs/outputs.md describes
                    dont_draw(hurry)
                assert main([*command, *shorter, "--output", str(folder)]) == 0, command
            assert printed.getvalue()
            if "--ask" in command:
                fill_in(folder / "ask" / "ask.csv")
    return folder


def test_every_command_runs(runs):
    """They train, list, resume, evaluate and predict. The folder of a run has the files that docs/outputs.md lists."""
    words = {word for program, words in COMMANDS for word in (program, *words)}
    assert {"--model", "--list-models", "--summary", "--resume", "evaluate", "--predict", "--save-maps"} <= words
    (listed,) = re.findall(r"\|file\|.*\n\|-.*\n((?:\|.*\n)+)", TEXT)
    names = re.findall(r"^\|`([^`]+)`", listed, re.MULTILINE)
    assert {name.rstrip("/") for name in names} == {path.name for path in (runs / "first").iterdir()}


@pytest.mark.slow
def test_the_network_of_the_own_file_learns(tmp_path, monkeypatch):
    """The commands of docs/extending.md, with a file of all examples of the page."""
    own = tmp_path / "mine.py"
    own.write_text(DECLARATIONS)
    scores = {}
    dont_draw(monkeypatch)
    for command in (words for program, words in COMMANDS if program == "train" and "mine.py" in words):
        if "targets" in command:  # on MNIST; tests/training/test_plugins.py has a shorter run
            continue
        name = command[command.index("--dataset") + 1]
        name = "homeostatic" if "s1.rule=homeostatic" in command else name
        words = [re.sub("^mine.py$", str(own), word) for word in command]
        assert train.main([*words, "--output", str(tmp_path), "--name", name]) == 0
        scores[name] = results(tmp_path / name)["test"]["last"]["accuracy"]
    assert scores["bars"] > 0.9
    for name in ("digits", "homeostatic"):
        assert scores[name] > 0.6  # chance: 0.1
        last = [row for row in read_csv(tmp_path / name / "metrics.csv") if row["phase"] == "s1"][-1]
        assert float(last["convergence"]) < 0.05
        assert int(last["dead_features"]) <= 1


@pytest.mark.slow
def test_spike_times_of_your_own_are_learned(capsys):
    """To the accuracy that the comment of the example names; other processors may round otherwise."""
    example = find_example("LatencyDataset(times")
    exec(example, {})
    named = float(re.search(r"# ([\d.]+)$", example.strip())[1])
    assert float(capsys.readouterr().out) == pytest.approx(named, abs=0.1)


def test_the_columns_of_metrics_csv():
    lines = [f"|`{name}`|{column.about}|" for name, column in COLUMNS.items()]
    assert "\n".join(lines) in (ROOT / "docs" / "outputs.md").read_text()


@pytest.mark.slow
def test_every_sweep_runs(tmp_path, tmp_path_factory, monkeypatch):
    """With one seed, two values of each setting, a few digits and no figures, one after another in this process."""
    own = tmp_path_factory.mktemp("own") / "mine.py"
    own.write_text(DECLARATIONS)
    found = commands("sweep", text=ALL_TEXT.replace("$SLURM_ARRAY_TASK_ID", "3").replace("task*", "task3"))
    assert {"--grid", "--set", "--seeds", "--test", "--report"} <= {word for _, command in found for word in command}

    monkeypatch.setattr(sweep, "train_one", train_here)
    monkeypatch.setattr("training.data.DRY_RUN_IMAGES", FEW)
    for _, command in found:
        quick = shlex.join(command).replace("multiscale2026", "mozafari2018")
        fewer = re.sub(r"(--seeds \S+|--labels \S+ \S+|--grid \S+ \S+ \S+)[^-]*", r"\1 ", quick)
        words = shlex.split(fewer)
        words = [re.sub("^runs/", f"{tmp_path}/", re.sub("^mine.py$", str(own), word)) for word in words]
        shorter = ["--jobs", "1", "--dataset", "digits", "--dry-run", "--no-figures"]
        with forgetting():
            assert sweep.main(words if {"--test", "--report"} & {*words} else [*words, *shorter]) == 0
    runs = {folder.name: list(folder.glob("*/checkpoints")) for folder in tmp_path.iterdir()}
    counts = {name: len(found) for name, found in runs.items()}
    assert counts == {
        **{"features": 1, "decision": 2, "rules": 2, "sweep": 4, "curve": 2, "decay": 2, "paper": 3},
        **{"task3": 1, "all": 0, "which": 4},
    }


def find_broken_links(text, folder, page=None):
    """Return the links of a page that lead nowhere: to no file, or to no heading of the file or of this page."""
    broken = []
    for path, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", text):
        target = folder / path if path else page
        if not target.exists():
            broken.append(path)
        elif anchor:
            plain = re.sub(r"```.*?```", "", target.read_text(), flags=re.DOTALL)
            headings = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
            if anchor not in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]:
                broken.append(f"{path}#{anchor}")
    return broken


def test_every_link_leads_somewhere(notebook):
    pages = *PAGES, *OTHER_PAGES, CHANGES
    assert {page: broken for page in pages if (broken := find_broken_links(page.read_text(), page.parent, page))} == {}
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert find_broken_links(text, PATH.parent) == []


def test_the_names_that_must_be_free_in_another_program():
    text = re.search(r"These names must be free: ([^.]+)\.", TEXT)[1]
    listed = re.findall(r"`(\w+)`", text)
    assert listed == sorted(training.NAMES)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 240
    assert len(README.split()) <= 1900


def test_the_method_has_as_many_lines_as_the_pages_name():
    lines = len((ROOT / "tutorial" / "one_file.py").read_text().splitlines())
    named = re.findall(r"\[(\d+)\s+lines\]\((?:\.\./)?tutorial/one_file\.py\)", TEXT)
    assert {*map(int, named)} == {lines}


def test_the_version_is_that_of_the_newest_changes():
    """And so is its date."""
    version, day = re.search(r"^## (\S+), (.*)$", CHANGES.read_text(), re.MULTILINE).groups()
    released = datetime.strptime(day, "%d %B %Y").date()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {version}\ndate-released: {released}\n" in citation
    assert SpykeTorch.__version__ == version
    assert f"version = {{{version}}}" in TEXT


def test_the_tables_are_those_of_the_logs():
    """``results/scripts/collect.py`` would write the same tables."""
    collect = runpy.run_path(str(ROOT / "results" / "scripts" / "collect.py"))
    for page, tables in collect["make_tables"]().items():
        text = page.read_text()
        assert all(table in text for table in tables.values()), page
    for path, text in collect["make_files"]().items():
        assert path.read_text() == text, path


def test_the_readme_shows_the_end_of_its_log():
    (printed,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    log = ROOT / "results" / "times" / "quick2026-seed0.log"
    assert {*printed.splitlines()} <= {*log.read_text().splitlines()}


def test_every_experiment_is_a_complete_row():
    lines = (ROOT / "results" / "experiments.tsv").read_text().splitlines()
    rows = list(csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t", strict=True))
    assert rows
    numbers = "before", "after", "standard_error"
    for row in rows:
        assert len(row) == 11
        assert all(text for name, text in row.items() if name not in numbers), row
        assert re.fullmatch(r"20\d\d-\d\d-\d\d [0-9a-f]{7}", f"{row['date']} {row['commit']}"), row
        assert np.isfinite([float(row[name] or 0) for name in numbers]).all(), row
        assert row["kept"] in ("yes", "no"), row
        log = row["log"]
        assert re.fullmatch(r"[0-9a-f]{7}:\S+", log) or (ROOT / "results" / log).is_file(), row


def test_every_quoted_number_has_a_source():
    rows = read_csv(ROOT / "results" / "quoted.csv")
    assert rows
    for row in rows:
        assert len(row) == 8
        assert float(row["value"]) > 0
        assert "](https://" in row["source"], row
        assert row["confirmed"] in ("abstract", "paper", "public log", "from memory of the paper"), row


def test_every_run_of_the_results_has_a_command():
    """The scripts list it, so that they train it again."""
    scripts = {"run_all": "runs", "data": "runs/data"}
    for script, folder in scripts.items():
        words = ["bash", ROOT / "results" / "scripts" / f"{script}.sh"]
        listed = subprocess.run(words, env=os.environ | {"LIST": "1"}, capture_output=True, text=True, check=True)
        logs = {path.stem for path in (ROOT / "results" / folder).glob("*.log")}
        assert logs <= {*listed.stdout.split()}


def test_a_time_comes_only_from_a_whole_log(tmp_path):
    """Of each of its parts, and of a single commit; the parts of a resumed run add up."""
    read_times = runpy.run_path(str(ROOT / "results" / "scripts" / "collect.py"))["read_times"]
    log = tmp_path / "run.log"
    part = [
        *("$ python train.py --model mozafari2018", "# commit 1234567", "# load average at the start 0.10, 0.20, 0.30"),
        *("# processor Some CPU with 2 cores", "test       best  accuracy 92.74 %"),
        "whole command: 90.5 s, processor: 88.0 s of the program and 1.5 s of the system",
        "# load average at the end 1.00, 0.50, 0.40",
    ]
    log.write_text("\n".join(part * 2))
    assert read_times(log) == (181, 179, "Some CPU", "1234567", "0.10 to 1.00")
    for number in (0, 1, 2, 3, 5, 6):
        log.write_text("\n".join(part + part[:number] + part[number + 1 :]))
        assert read_times(log) is None
    log.write_text("\n".join(part).replace("1234567", "7654321") + "\n" + "\n".join(part))
    assert read_times(log) is None


def test_the_python_examples_run(runs, monkeypatch):
    """The network of the example is there once it is declared, the library example learns, and the rule does."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which an example adds
    monkeypatch.setattr(imagesets, "load", load_few)
    monkeypatch.setattr("engine.lengths.MAX_PRESENTATIONS", 0)
    namespace = {}
    saved = min(path.name for path in (runs / "first" / "maps" / "end").glob("*.npz"))  # few images, taken evenly
    for block in EXAMPLE.findall(TEXT):
        code = re.sub(r"\[:\d+00\]", "[:20]", block).replace("00003_label-0.npz", saved)
        exec(re.sub(r'(?<=")(runs/|(?=mine\.safetensors"))', f"{runs}/", code), namespace)
    assert models.MODELS["shallow"] is namespace["Shallow"]
    namespace["maps"].close()
    shallow = namespace["Shallow"](in_channels=6, num_classes=10)
    assert [phase.name for phase in shallow.phases] == ["s1", "s2"]
    assert len(shallow.epochs) == len(shallow.phases)

    first = 15 - namespace["fired"].sum(1)
    assert torch.equal(first, namespace["layer"].fire(namespace["latency"]).double())

    rule = namespace["DecaySTDP"](winners=1, radius=0, decay=0.1)
    times = np.array([0, 4, 5, 15])  # of the inputs; the winner's is 4
    rates = rule.plasticity().window(times, 4, 0.5, -0.25)
    np.testing.assert_array_equal(rates, [0.5, 0.5, -0.25, -0.25])
    np.testing.assert_allclose(rule.plasticity().change(0.25, rates), 0.1875 * rates - 0.025)
    plain = replace(rule, stabilize=False)
    np.testing.assert_allclose(plain.plasticity().change(0.25, rates), rates - 0.025)


PATH = ROOT / "tutorial" / "tutorial.ipynb"
LINES = "convergence", "winners per image", "dead features"  # of a layer that learned


@pytest.fixture
def notebook():
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.slow
def test_it_runs(notebook, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    (parameters,) = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", ())]
    parameters.source = "IMAGES, EPOCHS = 300, 1"
    folder = {"metadata": {"path": str(PATH.parent)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=folder).execute()  # raises a cell's error
    printed = "".join(output["text"] for output in code_cells(notebook)[-2].outputs)
    rows = [line.split("  ")[0] for line in printed.splitlines()[1:7]]
    assert rows == [f"{stage} {line}" for stage in ("s1", "s2") for line in LINES]
    assert re.search(r"^accuracy, %( +\d+\.\d ± \d+\.\d){3}$", printed, re.MULTILINE)  # of three variants


@pytest.mark.slow
def test_its_commands_run(notebook, tmp_path, monkeypatch):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = commands("train", text=text)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("training.data.DRY_RUN_IMAGES", FEW)
    dont_draw(monkeypatch)
    for _, words in found:
        assert train.main([*words, "--dry-run", "--output", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"recent", "stdp", "not-trained"}


def test_its_rule_strengthens_recent_inputs_only():
    models.import_plugin(PATH.parent / "recent.py")
    rule = RULES["recent"](winners=1, radius=0)
    times = np.array([2, 3, 4, 5, 15])  # of the inputs; the winner's is 4
    np.testing.assert_array_equal(rule.plasticity().window(times, 4, 1.0, -0.75), [-0.75, 1, 1, -0.75, -0.75])
    np.testing.assert_allclose(rule.plasticity().change(0.25, 0.004), 0.00075)
    assert RULES["recent"](winners=1, radius=0, stabilize=False).plasticity().change(0.25, 0.004) == 0.004


def test_its_outputs_are_kept(notebook):
    """So that it can be read without being run; small, and without paths of a machine."""
    assert PATH.stat().st_size < 1_000_000
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [kind for cell in cells for output in cell.outputs for kind in output.get("data", ())]
    assert kinds.count("image/png") >= 8
    assert str(PATH.parent.parent) not in PATH.read_text()


FIGURES = """
Long-Term-Potentiation RSTDP decision latency_map memory_layout networks networks-2026 screening snn_illustration weight
winners
"""


def test_the_figures_are_in_the_repository():
    for name in FIGURES.split():
        path = ROOT / "images" / f"{name}.png"
        assert path.stat().st_size < 300_000
        with Image.open(path) as image:
            assert 1200 <= image.width <= 1600
            pixels = np.asarray(image.convert("L"))
        frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (frame == 255).all()  # a white background, and nothing runs over the edge
        assert (pixels < 128).mean() > 0.01  # not blank
