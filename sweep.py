"""Train many networks: names × data sets × settings × seeds, and report on them: ``python sweep.py --help``.

Each run is ``train.py`` in a process of its own, in a folder of its own that is named after what it trains, so that the
same command goes on where it was stopped. Everything it needs to know about a run lies in its folder, on the disk that
all machines of a cluster see. Phases that several runs train alike are trained by the first of them; the others wait
for it and begin behind them (``train.py --after``, see ``training/shared.py``).
"""

import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
from tqdm import tqdm

from errors import InputError, report_error
from models import model_class
from report.sweep_report import is_run, read_run, write_sweep_report
from train import build, choose_encoder, choose_epochs, is_finished, load_data
from training.encoders import encoder_config
from training.log import replace_unprintable
from training.settings import FILES, LEARNING, NOT_AFTER, SweepSettings, TrainSettings, flag, spell
from training.shared import count_alike, leading_phases
from utils import ROOT, find_temporaries

STOP = ".stop"  # while it lies in the output folder, no run begins, and those that train save and end
# Flags of train.py that each run gets from those of the sweep.
OURS = {"seed": "--seeds", "name": "--output", "after": "the sweep"}
# What a run writes before its first checkpoint: a folder without one is begun anew.
FIRST_FILES = {"checkpoints", "args.json", "summary.txt", "log.txt", "metrics.csv"}
# Flags in which the runs of one setting may differ: the seed, and flags that change no number of the result.
IGNORED = {
    "seed", "name", "output", "device", "threads", "backend", "data_dir", "figures", "tensorboard", "save_maps",
    "map_index", "map_every", "save_every",
}  # fmt: skip
SILENCE = 60  # seconds after which a run that gives no sign is taken to be trained no more


def main(argv=None):
    replace_unprintable()
    argv = sys.argv[1:] if argv is None else argv
    try:
        known = SweepSettings.parse(argv)
        more = list(known.run_flags)
        return report(known, more) if known.report else sweep(known, more, argv)
    except (InputError, OSError) as error:
        return report_error("sweep.py", error)
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        return 130


# ---------------------------------------------------------------------------------------------------------------------
# What is to be run


@dataclass(frozen=True)
class Planned:
    """A run: its folder, its command's flags, what these say, the epochs of each phase, and what it may share."""

    folder: Path
    words: list
    settings: TrainSettings
    phases: tuple
    leading: list = field(default_factory=list)  # see ``leading_phases``

    @property
    def epochs(self):
        return sum(self.phases)

    @property
    def finished(self):
        return is_finished(self.folder, self.settings.figures)

    @property
    def begun(self):
        return (self.folder / "checkpoints" / "last.safetensors").is_file()


def plan(known, more):
    """The runs of the command. Errors: InputError for what train.py would refuse, and for what does not go together."""
    if not known.model:
        raise InputError("name the networks with --model; python train.py --list-models prints them")
    if not known.output:
        raise InputError("say with --output where the runs are to go; the same folder again goes on with them")
    if known.threads < 1 or known.jobs < 0:
        raise InputError(f"--threads must be 1 or more and --jobs 0 or more, not {known.threads} and {known.jobs}")
    for key, *values in known.grid:
        if not values or "=" in key:
            raise InputError(f"--grid takes a setting and its values, as in --grid s2.threshold 8 10 12; not {key}")
    axes = [[f"{key}={value}" for value in values] for key, *values in known.grid]
    combinations = itertools.product(known.model, known.dataset, itertools.product(*axes), known.seeds)
    runs = [_planned(known, more, *combination) for combination in combinations]
    names = [run.folder.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"two of the runs would be called {twice}; leave one out, or give it another --output")
    return runs


def _planned(known, more, model, dataset, point, seed):
    network = model_class(model)
    output = Path(known.output).resolve()
    name = "-".join(_plain(part) for part in (network.name, dataset, *point, f"seed{seed}"))
    settings = [*spell(known.set).split(), *point]
    words = [
        *("--model", network.name, "--dataset", dataset, "--seed", str(seed)),
        *(["--epochs", *map(str, known.epochs)] if known.epochs else []),
        *(["--set", *settings] if settings else []),
        *more,
        *("--threads", str(known.threads), "--output", str(output), "--name", name),
    ]
    given = TrainSettings.parse(["--model", network.name, *more])
    for taken, ours in OURS.items():
        if taken in given.given:
            given.refuse(taken, f"is each run's own; leave it out: {ours} makes it")
    wanted = TrainSettings.parse(words)
    if wanted.command != "train":
        wanted.refuse(wanted.command, "does not train; a sweep does")
    return Planned(output / name, words, wanted, wanted.epochs or tuple(network.epochs))


def _plain(text):
    """A part of a folder's name: letters, digits, and what else a --name may hold."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")


def check_begun(run):
    """Errors: InputError if the run's folder holds something else, or the same run with other flags."""
    if not run.folder.exists():
        return
    written = {path.name for path in run.folder.iterdir()} - {path.name for path in find_temporaries(run.folder)}
    if not run.begun:
        if written - FIRST_FILES:
            raise InputError(f"{run.folder} is no run of train.py; use another --output")
        return
    record = read_run(run.folder)
    if not record.command_line:
        raise InputError(f"{run.folder} is damaged: {record.damage}; delete it to train it again", path=run.folder)
    command = shlex.split(record.command_line)[1:]
    before, now = (each.that_change(LEARNING, FILES) for each in (TrainSettings.parse(command), run.settings))
    flags = TrainSettings.flags()
    other = [flag(flags[name]) for name in now.keys() - {"output", "name"} if now[name] != before[name]]
    if other:
        raise InputError(f"{run.folder} was begun with other {', '.join(other)}; use another --output for other flags")


def looked_into(runs):
    """The runs with the epochs of each phase, and what they may share, as their networks have it.

    Errors: InputError for what train.py would refuse of networks, data sets and settings.
    """
    names = dict.fromkeys(run.settings.dataset for run in runs)
    data = {name: load_data(replace(runs[0].settings, dataset=name)) for name in names}  # downloaded once, not by all
    kinds = itertools.groupby(runs, lambda run: (run.settings.model, run.settings.dataset, run.settings.set))
    for (name, dataset, _), members in kinds:
        network, members = model_class(name), list(members)
        encoder = choose_encoder(network, members[0].settings, data[dataset])
        model = build(network, encoder, data[dataset], members[0].settings)
        epochs = choose_epochs(model, members[0].settings)
        for run in members:
            leading = leading_phases(model, encoder_config(encoder), run.settings, epochs)
            yield replace(run, phases=epochs, leading=leading)


def what_is_shared(runs):
    """What runs that have not begun can leave to others: {folder: (folder of the other, how many of its epochs)}.

    The other is the first of those before it that train as many phases alike as any does.
    """
    if any(getattr(runs[0].settings, name) for name in NOT_AFTER):  # flags that all runs have
        return {}
    found = {}
    for place, run in enumerate(runs):
        alike = [count_alike(run.leading, other.leading) for other in runs[:place]]
        most = max(alike, default=0)
        if not run.begun and (epochs := sum(run.phases[:most])):
            found[run.folder] = str(runs[alike.index(most)].folder), epochs
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Running


def train_one(program, words, here, folder, stop, threads, fresh, other=None, epochs=0):
    """One run, in a process of its own, until it ends or the file ``stop`` is there. Returns how it ended.

    That is "done", "stopped", or what went wrong. ``here``: the folder from which relative paths among the words
    count. ``other``: the run behind whose first ``epochs`` this one can begin; it waits until they are over. A
    cluster's worker knows nothing of this repository but its path, so this function gets by on the standard library.
    """
    folder, stop = Path(folder), Path(stop)
    with alive(folder):
        if other and wait_for(Path(other), epochs, stop):
            words = [*words, "--after", other]
        return "stopped" if stop.exists() else _train(program, words, here, folder, stop, threads, fresh)


def _train(program, words, here, folder, stop, threads, fresh):
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    error_file = folder.with_name(f"{folder.name}.error.txt")
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, program, *words], stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL,
            cwd=here, env=environment,
        )  # fmt: skip
        asked = False
        while process.poll() is None:
            if stop.exists() and not asked:
                process.terminate()
                asked = True
            time.sleep(0.1)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    if process.returncode == 0:
        error_file.unlink(missing_ok=True)
        return "done"
    if asked or process.returncode == 130 or stop.exists():
        return "stopped"
    error_file.write_text(text, encoding="utf-8")
    lines = text.strip().splitlines() or [f"ended by signal {-process.returncode}"]
    return f"{lines[-1].strip()} (see {error_file})"


@contextmanager
def alive(folder):
    """Meanwhile a file beside the run's folder changes its time every second, for all who wait to see."""
    sign, over = _sign(folder), threading.Event()

    def give():
        again = True
        while again:
            with suppress(OSError):  # a full disk: then nobody waits for this run
                sign.touch()
            again = not over.wait(1.0)

    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sign.unlink(missing_ok=True)


def _sign(folder):
    return folder.with_name(f".{folder.name}.alive")


def wait_for(folder, epochs, stop):
    """Whether the run in the folder has so many epochs behind it. Waits while it is trained and nobody says stop."""
    last, changed = None, time.monotonic()
    while not stop.exists() and time.monotonic() - changed < SILENCE:
        if _epochs_saved(folder) >= epochs:
            return True
        time.sleep(0.1)
        now = _changed(_sign(folder))
        if last and not now:  # it has ended
            return _epochs_saved(folder) >= epochs
        if now != last:
            last, changed = now, time.monotonic()
    return False


def _epochs_saved(folder):
    """Epochs in the run's checkpoint: those of metrics.csv, which is written just before it."""
    counted, saved = (_changed(folder / name) for name in ("metrics.csv", "checkpoints/last.safetensors"))
    return _epochs_done(folder) if counted and saved and saved >= counted else 0


def _changed(path):
    try:
        return path.stat().st_mtime_ns
    except OSError:  # not there
        return None


def sweep(known, more, argv):
    runs = plan(known, more)
    if known.scheduler and not known.cluster:
        raise InputError("--scheduler is the address of a cluster; say which with --cluster dask or --cluster ray")
    for run in runs:
        check_begun(run)
    runs = list(looked_into(runs))
    begun_first = sorted(runs, key=lambda run: not run.begun)
    shared = what_is_shared(begun_first)
    output = Path(known.output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    stop = output / STOP
    stop.unlink(missing_ok=True)
    waiting = [run for run in begun_first if not run.finished]
    jobs = known.jobs or max(1, joblib.cpu_count() // known.threads)
    jobs = -1 if known.cluster and not known.jobs else min(jobs, max(1, len(waiting)))
    place = f"on the {known.cluster} cluster" if known.cluster else f"{jobs} at a time"
    spared = sum(epochs for _, epochs in shared.values())
    print(
        f"{len(runs)} runs, {len(runs) - len(waiting)} of them finished; {place}"
        + (f"; {len(shared)} begin behind {spared} epochs that others train for them" if shared else ""), flush=True,
    )  # fmt: skip
    with backend(known), stopping(stop) as asked, ProgressLine(runs, spared):
        ends = joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(
            joblib.delayed(train_one)(
                str(ROOT / "train.py"), _words(run, known.threads), os.getcwd(), str(run.folder), str(stop),
                known.threads, run.folder.exists() and not run.begun, *shared.get(run.folder, (None, 0)),
            )
            for run in waiting
        )  # fmt: skip
    stop.unlink(missing_ok=True)
    failed = [(run, end) for run, end in zip(waiting, ends, strict=True) if end not in ("done", "stopped")]
    for run, end in failed:
        print(f"failed: {run.folder.name}: {end}", file=sys.stderr)
    if asked or "stopped" in ends:
        print(f"stopped; go on with\n    {shlex.join(['python', 'sweep.py', *argv])}", file=sys.stderr)
        return 130
    if len(failed) < len(runs):
        write_sweep_report(output, [read_run(run.folder) for run in runs if run.begun], IGNORED)
        print(f"see {output / 'sweep.md'}")
    return 1 if failed else 0


def _words(run, threads):
    return ["--resume", str(run.folder), "--threads", str(threads)] if run.begun else run.words


@contextmanager
def backend(known):
    """Where joblib runs what it is given. Errors: InputError without the packages, or without a cluster."""
    if known.cluster is None:
        with joblib.parallel_config("threading"):  # which start the processes and wait for them
            yield
        return
    try:
        if known.cluster == "dask":
            import distributed
        else:
            import ray
            from ray.util.joblib import register_ray
    except ImportError as error:
        package = {"dask": "distributed", "ray": "ray"}[known.cluster]
        raise InputError(f"--cluster {known.cluster} needs another package: pip install {package}") from error
    if known.cluster == "ray":
        try:
            if known.scheduler:  # Ray itself would try for minutes
                host, _, port = known.scheduler.rpartition("/")[2].rpartition(":")
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address=known.scheduler or "auto", log_to_driver=False, logging_level="WARNING")
        except (OSError, ValueError, RuntimeError) as error:
            place = f"at {known.scheduler}" if known.scheduler else "here"
            raise InputError(f"no Ray cluster answers {place}") from error
        register_ray()
        with joblib.parallel_config("ray"):
            yield
        return
    if not known.scheduler:
        raise InputError("--cluster dask needs --scheduler, an address such as tcp://10.0.0.1:8786")
    try:
        client = distributed.Client(known.scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {known.scheduler}") from error
    with client, joblib.parallel_config("dask"):
        yield


@contextmanager
def stopping(stop):
    """Meanwhile Ctrl-C and SIGTERM make the file ``stop``; a second Ctrl-C stops at once. Yields [] if none did."""
    asked = []

    def note(number, frame):
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)
        stop.touch()
        print("\nstopping: runs save where they are; Ctrl-C again stops at once", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ProgressLine(threading.Thread):
    """One line for all runs, from what they write: epochs done, runs finished. A finished run gets a line above.

    ``spared``: epochs that runs begin behind, because others train them.
    """

    def __init__(self, runs, spared):
        super().__init__(daemon=True)
        self.runs, self.spared, self._over = runs, spared, threading.Event()
        self._told = {run for run in range(len(runs)) if runs[run].finished}

    def __enter__(self):
        total, live = sum(run.epochs for run in self.runs), sys.stdout.isatty()
        self._bar = tqdm(
            total=total, disable=not live, leave=False, file=sys.stdout, dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} epochs [{remaining} left]",
        )  # fmt: skip
        self.start()

    def __exit__(self, *_):
        self._over.set()
        self.join()
        self._look()
        self._bar.close()

    def run(self):
        while not self._over.wait(1.0):
            self._look()

    def _look(self):
        for place, run in enumerate(self.runs):
            if place not in self._told and run.finished:
                self._told.add(place)
                line = f"{len(self._told)}/{len(self.runs)}  {read_run(run.folder).describe()}"
                tqdm.write(line) if sys.stdout.isatty() else print(line, flush=True)
        done = sum(run.epochs if run.finished else _epochs_done(run.folder) for run in self.runs)
        shared = f", {self.spared} of the epochs shared" if self.spared else ""
        self._bar.set_description_str(f"{len(self._told)} of {len(self.runs)} runs{shared}", refresh=False)
        self._bar.n = done
        self._bar.refresh()


def _epochs_done(folder):
    try:
        return (folder / "metrics.csv").read_bytes().count(b"\n") - 1
    except OSError:  # not yet
        return 0


# ---------------------------------------------------------------------------------------------------------------------


def report(known, more):
    """Report on the runs named, or on those in the folders named."""
    if known.model or known.grid or known.epochs or more:
        raise InputError("--report reads what runs have left; leave out all but --output")
    named = [Path(name) for name in known.report]
    folders = []
    for path in named:
        if not path.is_dir():
            raise InputError(f"--report {path} is not a folder", flag="--report", path=path)
        folders += [path] if is_run(path) else sorted(each for each in path.iterdir() if is_run(each))
    if not folders:
        raise InputError(f"--report: there is no run in {' '.join(known.report)}", flag="--report")
    if not known.output and (len(named) > 1 or folders == named):
        raise InputError("--report of single runs needs --output, where the report is written", flag="--output")
    output = Path(known.output or named[0])
    output.mkdir(parents=True, exist_ok=True)
    print(write_sweep_report(output, [read_run(folder) for folder in dict.fromkeys(folders)], IGNORED), end="")
    print(f"see {output / 'sweep.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
