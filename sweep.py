"""Train all combinations of networks, data sets, settings and seeds, and report on them: ``python sweep.py --help``.

Each run is ``train.py`` in its own process and in its own folder, whose name contains the combination. Therefore the
same command continues a sweep that was stopped.
"""

import sys
from pathlib import Path

from errors import InputError, warn
from training.command import command_line, prepare_start, print_output

if __name__ == "__main__":
    prepare_start()

import hashlib
import importlib.util
import itertools
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import joblib
from tqdm import tqdm

from imagesets import DataSet
from models import model_class
from report.sweep_report import choose_settings, read_runs, write_sweep_report
from run_folder import RunFolder, is_run, list_runs
from training.checkpoint import load_checkpoint
from training.data import check_unchanged, load_data
from training.log import RunLog
from training.parsing import COMMAND, FILES, FIXED, HARMLESS, LEARNING, LOCATION, ROUNDING, make_parser
from training.plan import Plan, prepare_machine
from training.settings import MAX_NAME, EvaluateSettings, SweepSettings, TrainSettings
from training.stopping import Stopped, StopRequest, handle_signals, stop_now
from utils import ROOT, join_words, lock_folder, write_text

WAIT = 0.1  # seconds between two looks at a process
# Runs in one row of the report may differ in these settings
IGNORED = TrainSettings.names(ROUNDING, FILES, LOCATION, HARMLESS)
# Settings of train.py that the sweep sets for each run: {name: the setting of the sweep that they follow from}
SET_BY_SWEEP = {
    "model": "model",
    "dataset": "dataset",
    "seed": "seeds",
    "threads": "threads",
    "output": "output",
    "name": "output",
    "labels": "labels",
}
DEFAULT = "default"  # a value of --grid: that of the network
Job = tuple[str, list[str], list[str]]  # the first three arguments of ``train_one``


@command_line
def main(words: list[str]) -> int:
    """Train, test or report, as the words of a command line request. Returns the exit code."""
    settings = SweepSettings.parse(words)
    if settings.report:
        return report_runs(settings)
    return test(settings) if settings.test else sweep(settings)


@dataclass(frozen=True)
class PlannedRun:
    """A run of the sweep.

    ``words``: the command line of train.py. ``learned``: what determines the result: the settings without those that
    are in the declaration of the network and of the encoder, and these.
    """

    folder: RunFolder
    words: list[str]
    settings: TrainSettings
    data: DataSet
    learned: tuple

    @property
    def replaces(self) -> bool:
        """Whether a dry run is in its place, which train.py replaces."""
        return self.folder.is_dry_run and not self.settings.dry_run


def plan_runs(sweep: SweepSettings) -> list[PlannedRun]:
    """Return the runs of a sweep. Raises InputError for settings that train.py refuses, and for unusable folders."""
    common = TrainSettings.parse([*sweep.run_flags, "--model", sweep.model[0]])
    check_flags(sweep, common)
    if is_run(sweep.folder):
        sweep.refuse("output", f"{sweep.output} is a run; name another folder")
    if not sweep.scheduler:
        prepare_machine(replace(common, threads=sweep.threads))
    data = {name: load_data(replace(common, dataset=name)) for name in sweep.dataset}  # downloads each once
    for path in list_runs(sweep.folder):
        before = RunFolder(path).record
        for images in data.values():
            if before.get("fingerprint") == images.fingerprint and before["dataset"] != images.name:
                advice = f"name them {before['dataset']} again, or use another --output"
                raise InputError(f"{path} was trained on the images of {images.name}: {advice}")
    axes = [[(name, value.strip()) for value in values] for name, *values in sweep.grid]
    points = list(itertools.product(*axes))
    runs: list[PlannedRun] = []
    for combination in itertools.product(sweep.model, sweep.dataset, points, sweep.labels or [None], sweep.seeds):
        run = plan_run(sweep, data, *combination)
        if any(run.folder == other.folder for other in runs):
            raise InputError(f"two runs would have the folder {run.folder.path}; use two sweeps")
        same = [other.settings.name for other in runs if run.learned == other.learned]
        if same:
            print_output(f"{run.settings.name} would learn the same as {same[0]}, which is trained once")
            continue
        check_folder(run)
        runs.append(run)
    return runs


def check_flags(sweep: SweepSettings, common: TrainSettings) -> None:
    """Raise InputError for flags of train.py that the sweep sets itself, and for commands. common: their settings."""
    in_words = vars(make_parser(TrainSettings).parse_args(sweep.run_flags))
    for name in TrainSettings.names(COMMAND):
        if name in in_words and name not in ("config", "traceback"):
            common.refuse(name, "is a command for a single run")
    for name, own in SET_BY_SWEEP.items():
        in_config = name in common.given and own not in sweep.given
        if in_config or name in in_words:
            common.refuse(name, f"is set by the sweep for each run; use --{own}")
    flags = {setting.flag: setting for setting in TrainSettings.declared().values()}
    for name, *values in sweep.grid:
        if "." in name:
            continue
        flag = flags.get(f"--{name}")
        if own := SET_BY_SWEEP.get(name):
            sweep.refuse("grid", f"cannot set {name}: use --{own}")
        if flag is None or flag.type is bool or flag.affects != LEARNING or name == "set":
            sweep.refuse("grid", f"{name} is no flag of train.py with a value on which learning depends")
        if flag.name in in_words or (name == "epochs" and sweep.epochs):
            sweep.refuse("grid", f"{name} is also given by {flag.flag}; leave one of them out")
        for value in values:
            words = split_value(sweep, value)
            if not words or any(word.startswith("--") for word in words):
                sweep.refuse("grid", f"{name} needs values without other flags, not {value!r}")


def split_value(sweep: SweepSettings, value: str) -> list[str]:
    """Return the words of a value of --grid. Raises InputError if a quote has no end."""
    try:
        return shlex.split(value)
    except ValueError as error:
        sweep.refuse("grid", f"cannot read {value!r}: {error}")


def plan_run(
    sweep: SweepSettings,
    data: Mapping[str, DataSet],
    model: str,
    dataset: str,
    point: Sequence[tuple[str, str]],
    labels: int | float | None,
    seed: int,
) -> PlannedRun:
    """Return a run. Raises InputError for settings that train.py refuses.

    data: by the values of --dataset. point: the names of --grid with a value each. labels: the value of train.py's
    --labels.
    """
    given = [] if labels is None else [labels]
    of_labels = [f"labels{number}" for number in given]
    of_point = [f"{name}={value}" for name, value in point]
    parts = (model_class(model).name, data[dataset].name, *of_point, *of_labels, f"seed{seed}")
    # characters that a file name should not contain become a dash; the sign of a negative number stays
    name = "-".join(re.sub(r"[^A-Za-z0-9._]+?(?=-[\w.])|[^A-Za-z0-9._]+", "-", part).strip("-.") for part in parts)
    if len(name) > MAX_NAME:
        end = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}-seed{seed}"
        name = name[: MAX_NAME - len(end)] + end
    output = sweep.folder
    words = [*sweep.run_flags, "--model", model, "--dataset", dataset, "--seed", str(seed)]
    changes = {name: value for name, value in point if value != DEFAULT}
    fields = [f"{name}={value}" for name, value in changes.items() if "." in name]
    more = {"labels": given, "epochs": sweep.epochs, "set": [*sweep.set, *fields], "figures": sweep.figure_formats}
    more |= {name: split_value(sweep, value) for name, value in changes.items() if "." not in name}
    for flag, values in more.items():
        if values:
            words += [f"--{flag}", *map(str, values)]
    words += ["--output", str(output), "--name", name]
    plan = Plan.new(TrainSettings.parse(words), data[dataset], fits=False)
    learned = replace(plan.settings, name=None, set=()), plan.model.declaration, plan.encoder
    return PlannedRun(RunFolder(output / name), words, plan.settings, data[dataset], learned)


def check_folder(run: PlannedRun) -> None:
    """Raise InputError if something else than this run, on its data set, or a dry run is in its place."""
    path = run.folder.path
    if not os.path.lexists(path) or run.replaces:
        return
    if not run.folder.last.is_file():
        raise InputError(f"{path} is not a run; move it, or use another --output")
    (found,) = read_runs([path])
    if found.damage:
        raise InputError(f"{found.damage}; use another --output, or delete the folder {path} to train it again")
    before = TrainSettings.from_dict(found.flags)
    fixed = run.settings.select(*FIXED)
    del fixed["dataset"]  # of which the images are compared
    changed = [run.settings.declared()[name].flag for name in fixed if fixed[name] != getattr(before, name)]
    if changed == ["--no-test"] and not before.test:
        command = join_words(["python", "sweep.py", "--test", str(path.parent)])
        raise InputError(f"{path} was trained with --no-test: add it, or test the finished runs by {command}")
    if changed:
        raise InputError(f"{path} was begun with another {' '.join(changed)}; use another --output")
    if found.fingerprint:  # damaged runs lack it
        check_unchanged(found.fingerprint, run.data, "restore the images, or use another --output")


def train_one(
    run: str, start: list[str], resume: list[str], here: str, threads: int, is_stopped: Callable[[], bool] = bool
) -> tuple[str, int, str]:
    """Run train.py in its own process until it ends, or until ``is_stopped()``, which stops it after its batch.

    A worker of a cluster cannot import this repository, so this function and those that it calls use only the standard
    library and filelock. If a worker was killed, its train.py may go on while another worker, also on another machine,
    has the same run: it is waited for.

    Args:
        run: the folder of the run.
        start: the program and the command line of a new run.
        resume: those that continue the run, if its folder exists.
        here: the folder in which relative paths begin.
        threads: number of threads of the process.

    Returns the name of the run, the exit code (130 or 143: it was stopped), and what it has written on stderr.
    """
    folder = Path(run)
    while is_locked(folder) and not is_stopped():
        time.sleep(WAIT)
    if is_stopped():
        return folder.name, 130, ""
    words = resume if folder.is_dir() else start
    # Windows ends a process at once, unless it has its own group, which gets Ctrl-Break in place of a signal
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    end = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
    stopped = 128 + getattr(signal, "SIGBREAK", signal.SIGTERM), -signal.SIGTERM
    with tempfile.TemporaryFile() as errors:
        null = subprocess.DEVNULL
        env = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(
            words, stdin=null, stdout=null, stderr=errors, cwd=here, env=env, creationflags=group
        )
        is_asked = False
        while process.poll() is None:
            if is_stopped() and not is_asked:
                process.send_signal(end)
                is_asked = True
            time.sleep(WAIT)
        errors.seek(0)
        text = errors.read().decode("utf-8", "replace")
    code = 143 if is_asked and process.returncode in stopped else process.returncode
    return folder.name, code, text


def is_locked(folder: Path) -> bool:
    """Return whether a process has locked a folder by ``utils.try_lock``."""
    from filelock import FileLock, Timeout

    folder = folder.resolve()
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        if os.path.lexists(lock.lock_file):
            lock.acquire(timeout=0)
            lock.release()
    except (Timeout, BlockingIOError):
        return True
    except OSError:  # the file system has no locks
        pass
    return False


def sweep(settings: SweepSettings) -> int:
    """Train all unfinished runs, and write the report. Returns the exit code."""
    output = settings.folder
    if settings.scheduler and not importlib.util.find_spec("distributed"):
        settings.refuse("scheduler", f"needs a package: {sys.executable} -m pip install distributed")
    runs = plan_runs(settings)
    output.mkdir(parents=True, exist_ok=True)
    with lock_folder(output, inside=True):  # the folder beside it may belong to others
        program = [sys.executable, str(ROOT / "train.py"), "--threads", str(settings.threads)]
        jobs = []
        for run in runs:
            if run.replaces or not run.folder.is_finished:
                then = run.words
                if not run.replaces:  # the images may be in another place
                    then = [*run.folder.resume_words, "--dataset", run.settings.data_name]
                jobs.append((str(run.folder.path), [*program, *run.words], [*program, *then]))
        note = f"{len(runs)} runs, {len(runs) - len(jobs)} of them finished"
        return run_jobs(settings, jobs, note, [run.folder.path for run in runs], runs[0].settings.figures)


def test(settings: SweepSettings) -> int:
    """Test the finished runs of ``--test`` that are untested, and write the report. Returns the exit code."""
    output = settings.folder
    paths = list_runs(output)
    if not paths:
        settings.refuse("test", f"{settings.test} is not a folder of runs")
    flags = EvaluateSettings.parse([str(output), *settings.run_flags])  # imports the plugins
    if len(flags.run) > 1:
        settings.refuse("test", f"takes one folder of runs; leave out {' '.join(flags.run[1:])}")
    if useless := flags.given - {"run", "plugin", "data_dir", "device", "backend", "figures", "traceback"}:
        names = sorted(EvaluateSettings.declared()[name].flag for name in useless)
        settings.refuse("test", f"tests runs on their own data; leave out {' '.join(names)}")
    with lock_folder(output, inside=True):
        swept = read_runs(paths)
        unfinished = sum(not run.is_finished for run in swept)
        draw = flags.figures and swept[0].flags.get("figures", True)
        options = ["--threads", str(settings.threads), "--output", str(output)]
        if "dataset" in settings.given:  # they were moved
            options += ["--dataset", *settings.dataset]
        if not draw:
            options.append("--no-figures")
        elif settings.figure_formats:
            options += ["--figures", *settings.figure_formats]
        jobs: list[Job] = []
        chosen = swept
        if settings.best:
            chosen = [run for choice in choose_settings(swept, IGNORED) for run in choice.runs]
            if not chosen:
                settings.refuse("best", "needs finished runs of the same code and images, with a validation accuracy")
            names = ", ".join(run.folder.name for run in chosen)
            print_output(f"only the best by validation accuracy is tested: {names}")
        for path in (run.folder for run in chosen if run.scores.get("tests") == 0):
            if "scores" in RunFolder(path).results:  # the reason why there are none
                print_output(f"not tested, because its network has no decision stage: {path.name}")
                continue
            if not jobs:
                load_checkpoint(RunFolder(path).best)  # a missing --plugin is refused once
            words = [sys.executable, str(ROOT / "evaluate.py"), str(path), *settings.run_flags, *options]
            jobs.append((str(path), words, words))
        tested = sum(run.scores.get("tests", 0) > 0 for run in swept)
        note = f"{len(paths)} runs, {tested} of them tested, {unfinished} not finished"
        code = run_jobs(settings, jobs, note, paths, draw)
        changed = [run.folder.name for run in read_runs([Path(job[0]) for job in jobs]) if not run.scores["tests"]]
        if code == 0 and changed:
            warn(f"the data set has changed since the training, so these runs are still untested: {', '.join(changed)}")
        return code or int(bool(changed))


def run_jobs(settings: SweepSettings, jobs: list[Job], note: str, runs: list[Path], draw: bool) -> int:
    """Run commands, several at a time, and write the report on the runs. Returns the exit code.

    Args:
        jobs: the commands.
        note: a line for the log.
        runs: the folders of all runs of the report.
        draw: whether the report has learning curves.
    """
    output = settings.folder
    stop = StopRequest()
    log = RunLog()
    is_stopped = bool if settings.scheduler else lambda: stop.asked
    workers = {"backend": "threading"}  # they start processes
    if settings.scheduler:
        workers = {"backend": "dask", "scheduler_host": settings.scheduler}
    tasks = [joblib.delayed(train_one)(*job, os.getcwd(), settings.threads, is_stopped) for job in jobs]
    count = settings.jobs or (-1 if settings.scheduler else max(1, joblib.cpu_count() // settings.threads))
    log.info(f"{note}; {count} at a time" if count > 0 else f"{note}; on {settings.scheduler}")
    failed = {}
    codes = set()
    try:
        with joblib.parallel_config(**workers), handle_signals(stop_now if settings.scheduler else stop.note):
            run_all = joblib.Parallel(n_jobs=count, batch_size=1, pre_dispatch="all", return_as="generator_unordered")
            bar = tqdm(run_all(tasks), total=len(tasks), disable=None, leave=False, dynamic_ncols=True, file=sys.stdout)
            for number, (name, code, errors) in enumerate(bar, start=1):
                codes.add(code)
                path = output / f"{name}.error.txt"
                if code in (0, 130, 143):
                    path.unlink(missing_ok=True)
                else:
                    write_text(path, errors)
                    reason = [f"ended with code {code}", *errors.strip().splitlines()][-1]
                    failed[name] = f"{reason} (see {path})"
                if code == 0:
                    log.info(f"{number}/{len(tasks)}  {read_runs([output / name])[0].describe()}")
    except Stopped as stopped:
        codes.add(stopped.code)
    found = read_runs([path for path in runs if RunFolder(path).last.is_file()])
    for name, reason in failed.items():
        warn(f"failed: {name}: {reason}")
    if codes & {130, 143}:
        warn(f"stopped; continue with\n    python {settings.command_line}")
        return 130
    if found:
        _, chosen = write_sweep_report(output, found, IGNORED, settings.figure_formats, draw)
        log.info_all(chosen)
        log.info(f"see {output / 'sweep.md'}")
    return int(bool(failed))


def report_runs(settings: SweepSettings) -> int:
    """Report on the runs of ``--report``, or on the runs in its folders. Returns the exit code."""
    named = [Path(name) for name in settings.report]
    folders = []
    for path in named:
        if not path.is_dir():
            settings.refuse("report", f"{path} is not a folder")
        folders += [path] if is_run(path) else list_runs(path)
    if not folders:
        settings.refuse("report", f"{' '.join(settings.report)}: there is no run here")
    if not settings.output and (len(named) > 1 or folders == named):
        settings.refuse("output", "is missing: the folder in which the report on these runs is written")
    found = read_runs([*dict.fromkeys(folders)])
    if all(run.damage for run in found):
        raise InputError(f"no run here can be read; the first: {found[0].damage}")
    output = Path(settings.output or named[0])
    output.mkdir(parents=True, exist_ok=True)
    text, _ = write_sweep_report(output, found, IGNORED, settings.figure_formats)
    print_output(f"{text}see {output / 'sweep.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
