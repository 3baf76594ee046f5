"""Train all combinations of networks, data sets, settings and seeds, and report on them: ``python sweep.py --help``.

Each run is ``train.py`` in its own process and in its own folder, whose name contains the combination. Therefore the
same command continues a sweep that was stopped. If the first phases of several runs are the same, they are trained
once, as a *beginning* (a shared prefix): ``train.py`` in a hidden folder, which stops before the phase in which the
runs differ. Jobs run in waves: first the beginnings of one phase, then those of two phases, and so on, and finally the
runs. A job continues from the checkpoint of the longest beginning that fits.
"""

import itertools
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I and -P leave it out

from errors import InputError, check_environment, report_error

if __name__ == "__main__":
    check_environment()

import joblib
from tqdm import tqdm

from encoders import get_encoder_config
from models import PLUGINS, model_class
from report.sweep_report import is_run, read_run, write_sweep_report
from training.checkpoint import find_checkpoint, load_checkpoint
from training.data import Data, load_data
from training.initial import BEGINNING, identify_phases, initialize_from
from training.log import RunLog, replace_unprintable
from training.plan import check_run, describe, prepare_machine, resolve
from training.run import PHASES, is_finished
from training.settings import (
    EPOCH_FILES,
    FILES,
    FIXED,
    LEARNED,
    NOTHING,
    ROUNDING,
    SweepSettings,
    TrainSettings,
    make_parser,
    to_text,
)
from utils import ROOT, find_temporaries, lock_folder

STOP = ".stop"  # while this file is in the output folder, no job starts, and running jobs save and end
SHARED = ".shared"  # the folder of the beginnings in the output folder
# What train.py writes before its first checkpoint, and what is in the folder of the beginnings: the only files and
# folders that a sweep removes, apart from its own temporary files. They are paths in the folder; folders end with "/".
BEGUN = re.compile(r"(\.\d+\.)?(args\.json|summary\.txt)|checkpoints/(\.\d+\.last\.safetensors)?")
TRAINED = r"(\.\d+\.)?(args\.json|summary\.txt|log\.txt|metrics\.csv|index\.html)"
TRAINED = rf"({TRAINED}|checkpoints/((\.\d+\.)?(last|best)\.safetensors)?)?"
BEGINNINGS = re.compile(rf"[0-9a-f]{{16}}(\.error\.txt|/{TRAINED})")
REPORT = re.compile(r"\.\d+\.(sweep\.md|sweep\.csv|runs\.csv|curves\.png|grid\.png)")
IGNORED = TrainSettings.names(ROUNDING, EPOCH_FILES, FILES, NOTHING)  # runs in one row of the report may differ in them


def main(argv: list[str] | None = None) -> int:
    """Run a command line (default: ``sys.argv``). Returns the exit code."""
    replace_unprintable()
    try:
        settings = SweepSettings.parse(sys.argv[1:] if argv is None else argv)
        return report(settings) if settings.report else sweep(settings)
    except (InputError, OSError) as error:
        return report_error("sweep.py", error)
    except KeyboardInterrupt:
        print("stopped immediately", file=sys.stderr)
        return 130


@dataclass(frozen=True)
class Job:
    """A run of train.py, or a beginning: only the first ``phases`` of a run.

    ``words``: the command line. ``keys``: see ``identify_phases``; the last key of a beginning identifies it.
    ``learned``: everything that the weights depend on.
    """

    folder: Path
    words: list[str]
    settings: TrainSettings
    keys: list[str]
    learned: dict
    phases: int | None = None

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.safetensors"

    @property
    def error_file(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.error.txt")

    @property
    def is_finished(self) -> bool:
        if self.phases is None:
            return is_finished(self.folder, self.settings.figures)
        with suppress(InputError):  # the checkpoint is missing or damaged
            return load_checkpoint(self.last).progress.phase == self.phases
        return False


def plan_runs(sweep: SweepSettings) -> list[Job]:
    """Return the runs of a sweep. Raises InputError for settings that train.py refuses, and for unusable folders."""
    common = TrainSettings.parse([*sweep.run_flags, "--model", sweep.model[0]])
    if common.command != "train":
        common.refuse(common.command, "does not train")
    in_words = vars(make_parser(TrainSettings).parse_args(sweep.run_flags))
    for setting in sweep.flags().values():
        for name in setting.sets:
            in_config = name in common.given and setting.name not in sweep.given
            if in_config or name in in_words:
                common.refuse(name, f"is set by the sweep for each run; use {setting.flag}")
    output, runs = Path(sweep.output).resolve(), []
    if is_run(output):
        sweep.refuse("output", f"{output} is a run; name another folder")
    if not sweep.cluster:
        prepare_machine(replace(common, threads=sweep.threads))
    data = {name: load_data(replace(common, dataset=name)) for name in sweep.dataset}  # downloads each once
    axes = itertools.product(*([f"{field}={value}" for value in values] for field, *values in sweep.grid))
    for model, dataset, point, seed in itertools.product(sweep.model, sweep.dataset, list(axes), sweep.seeds):
        parts = (model_class(model).name, dataset, *point, f"seed{seed}")
        name = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-.") for part in parts)
        fields = [*to_text(sweep.set).split(), *point]
        words = [*sweep.run_flags, "--model", model, "--dataset", dataset, "--seed", str(seed)]
        words += ["--epochs", *map(str, sweep.epochs)] if sweep.epochs else []
        words += ["--set", *fields] if fields else []
        words += ["--threads", str(sweep.threads), "--output", str(output), "--name", name]
        settings, encoder, network = resolve(TrainSettings.parse(words), data[dataset])
        used = Data(settings, data[dataset])
        check_run(network, used, settings)
        describe(network, used.set, settings)
        if settings.init_from:
            initialize_from(find_checkpoint(settings.init_from, settings.output), network, encoder, used)
        keys = identify_phases(network, encoder, settings, used.set.fingerprint)
        rules = [(rule.name, type(rule)) for conv in network.convs() for rule in conv.rules]
        arguments = [conv.get_arguments() for conv in network.convs()]
        declared = f"{get_encoder_config(encoder)} {network} {arguments} {rules}"
        run = Job(output / name, words, settings, keys, settings.select(*LEARNED, ROUNDING) | {"set": declared})
        if twice := [each for each in runs if each.folder == run.folder or each.learned == run.learned]:
            message = f"two runs would learn the same, {twice[0].folder.name} and {name}; leave one of them out"
            raise InputError(message, flag="--grid")
        check_folder(run)
        runs.append(run)
    return runs


def check_folder(run: Job) -> None:
    """Raise InputError if the folder of a job contains other files, a damaged run, or a run with other settings."""
    check_kind(run.error_file, stat.S_ISREG)
    check_kind(run.folder, stat.S_ISDIR)
    if not run.last.is_file():  # then the files of the run are removed and it starts again
        files = sorted(run.folder.rglob("*"))
        foreign = [path for path in files if not is_one_of(BEGUN, path, run.folder)]
        if foreign:
            message = f"{foreign[0]} does not belong to a run that has just begun; move it, or use another --output"
            raise InputError(message, path=run.folder)
        if not {"args.json", "summary.txt"} & {path.name for path in files}:
            return
    elif run.phases is not None:  # its name covers its settings
        return
    record = read_run(run.folder)
    try:
        before = TrainSettings.from_dict(record.flags)
        now = run.settings.select(*FIXED) if run.phases is None else {"name": run.folder.name}
    except (ValueError, TypeError, AttributeError) as error:
        message = f"{run.folder} is damaged: {record.damage or 'args.json cannot be read'}; delete it to train it again"
        raise InputError(message, path=run.folder) from error
    changed = [TrainSettings.flags()[name] for name in now if now[name] != getattr(before, name)]
    flags = " ".join(setting.flag for setting in changed if setting.name != "output")
    if flags:
        raise InputError(f"{run.folder} was begun with another {flags}; use another --output", path=run.folder)


def check_kind(path: Path, is_kind: Callable[[int], bool]) -> None:
    """Raise InputError if there is something at the path, also a link, that is not of this kind (``stat.S_ISREG``)."""
    if os.path.lexists(path) and not is_kind(path.lstat().st_mode):
        kind = "folder" if is_kind is stat.S_ISDIR else "regular file"
        raise InputError(f"{path} must be a {kind}; remove it, or use another --output", path=path)


def is_one_of(pattern: re.Pattern, path: Path, folder: Path) -> bool:
    """Return whether a path in the folder matches the pattern, and is a regular file or a folder."""
    mode, name = path.lstat().st_mode, path.relative_to(folder).as_posix()
    if stat.S_ISDIR(mode):
        name += "/"
    return (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and pattern.fullmatch(name) is not None


def remove_files(folder: Path, pattern: re.Pattern) -> None:
    """Remove the files in the folder whose paths match the pattern, and the folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder contains comes before the folder
        if is_one_of(pattern, path, folder):
            with suppress(OSError):  # a folder with other files
                path.rmdir() if path.is_dir() else path.unlink()
    with suppress(OSError):
        folder.rmdir()


def plan_beginnings(runs: list[Job], folder: Path) -> list[Job]:
    """Return the beginnings that new runs have in common: the longest of each set of runs, in order of length."""
    settings = runs[0].settings
    if settings.init_from or any(settings.select(EPOCH_FILES).values()):  # each run trains all of its phases
        return []
    groups, longest = defaultdict(list), {}
    for run in runs:
        for phases, key in enumerate([] if run.last.is_file() else run.keys, start=1):
            groups[phases, key].append(run)
    for (phases, key), members in sorted(groups.items(), key=lambda item: item[0]):
        words = [*members[0].words, "--output", str(folder), "--name", key]
        if len(members) > 1 and any(members[0].settings.epochs[:phases]):
            place = {"folder": folder / key, "words": words, "keys": members[0].keys[:phases], "phases": phases}
            longest[tuple(run.folder for run in members)] = replace(members[0], **place)
    return sorted(longest.values(), key=lambda beginning: beginning.phases)


def train_one(program: str, words: list[str], here: str, folder: str, stop: str, variables: dict[str, str]) -> str:
    """Run train.py in its own process until it ends, or until the file ``stop`` exists.

    A worker of a cluster cannot import this repository, so this function uses only the standard library.

    Args:
        program, words: train.py and its command line.
        here: the folder in which relative paths begin.
        folder: the folder of the run.
        stop: the file that stops the run.
        variables: environment variables of the process.

    Returns "done", "stopped", or the last line of its error.
    """
    folder, stop, is_asked = Path(folder), Path(stop), False
    if stop.exists():
        return "stopped"
    error_file = folder.with_name(f"{folder.name}.error.txt")
    with open(error_file, "wb") as errors:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        process = subprocess.Popen([sys.executable, program, *words], cwd=here, env=os.environ | variables, **streams)
        while process.poll() is None:
            if stop.exists() and not is_asked:
                process.terminate()
                is_asked = True
            time.sleep(0.1)
    if process.returncode not in (0, 130) and not stop.exists():
        lines = error_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else f'ended by signal {-process.returncode}'} (see {error_file})"
    error_file.unlink()
    return "stopped" if process.returncode else "done"


def train_all(jobs: list[Job], beginnings: list[Job], threads: int, at_a_time: int, stop: Path) -> list[str]:
    """Train jobs, each from the longest beginning that fits. Returns the results of ``train_one``."""
    tasks, plugins = [], ["--plugin", *map(str, PLUGINS)] if PLUGINS else []
    for job in jobs:
        resume = ["--resume", str(job.folder), "--threads", str(threads), *plugins]
        words = resume if job.last.is_file() else job.words
        fitting = [each for each in beginnings if each.keys[-1] in job.keys and each.phases != job.phases]
        beginning = next((each.folder for each in reversed(fitting) if each.is_finished), None)
        variables = {"OMP_NUM_THREADS": threads, BEGINNING: beginning, PHASES: job.phases}
        variables = {name: str(value) for name, value in variables.items() if value is not None}
        if not job.last.is_file():
            remove_files(job.folder, BEGUN)
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        program, folder = str(ROOT / "train.py"), str(job.folder)
        tasks.append(joblib.delayed(train_one)(program, words, os.getcwd(), folder, str(stop), variables))
    return joblib.Parallel(n_jobs=at_a_time, batch_size=1, pre_dispatch="all")(tasks)


def sweep(settings: SweepSettings) -> int:
    """Train all unfinished runs, and write the report. Returns the exit code."""
    output, failed, log = Path(settings.output).resolve(), {}, RunLog()
    with lock_folder(output) if output.is_dir() else nullcontext():  # not while another sweep changes it
        runs = plan_runs(settings)
        stop, shared_folder = output / STOP, output / SHARED
        check_kind(stop, stat.S_ISREG)
        check_kind(shared_folder, stat.S_ISDIR)
        if stop.exists() and stop.stat().st_size:
            raise InputError(f"{stop} is not of a sweep, because it is not empty; remove it", path=stop)
        beginnings = plan_beginnings(runs, shared_folder)
        for beginning in beginnings:
            check_folder(beginning)
    unfinished = [job for job in (*beginnings, *runs) if not job.is_finished]
    at_a_time = settings.jobs or (-1 if settings.cluster else max(1, joblib.cpu_count() // settings.threads))
    place = f"on {settings.cluster}" if settings.cluster else f"{at_a_time} at a time"
    shared = f"; phases that several runs share are trained once ({len(beginnings)})" if beginnings else ""
    with connect(settings), lock_output(output), watch_signals(stop) as signals, show_progress(runs, log):
        log.info(f"{len(runs)} runs, {sum(run.is_finished for run in runs)} of them finished; {place}{shared}")
        for _, wave in itertools.groupby(unfinished, key=lambda job: job.phases):
            wave = list(wave)
            ends = train_all(wave, beginnings, settings.threads, at_a_time, stop)
            failed |= {job.folder: end for job, end in zip(wave, ends, strict=True) if end not in ("done", "stopped")}
            if "stopped" in ends:
                break
    for run in runs:
        path = run.error_file
        if run.is_finished and path.exists() and not path.stat().st_size:
            path.unlink()  # of a sweep that was killed, whose run has ended by itself
    records = [read_run(run.folder) for run in runs if run.last.is_file()]
    for record in (each for each in records if each.damage):
        failed.setdefault(record.folder, f"{record.damage}; delete the folder to train it again")
    for folder, end in failed.items():
        what = "a shared beginning; its runs train all phases" if folder.parent.name == SHARED else folder.name
        print(f"failed: {what}: {end}", file=sys.stderr)
    if signals or (unfinished and "stopped" in ends):
        print(f"stopped; continue with\n    python {settings.command_line}", file=sys.stderr)
        return 130
    if all(run.is_finished for run in runs):
        remove_files(shared_folder, BEGINNINGS)
    if records:
        write_sweep_report(output, records, IGNORED)
        log.info(f"see {output / 'sweep.md'}")
    return int(any(run.folder in failed for run in runs))


@contextmanager
def connect(settings: SweepSettings) -> Iterator[None]:
    """Connect joblib to a cluster, or to threads of this process. Raises InputError if the cluster does not answer."""
    kind, address, client = settings.cluster or "threading", settings.scheduler, nullcontext()
    try:
        if address:  # without this test, Ray tries to connect for minutes
            host, _, port = address.rpartition("/")[2].rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        if kind == "dask":
            from distributed import Client

            client = Client(address, timeout=10)
        elif kind == "ray":
            import ray
            from ray.util.joblib import register_ray

            client = ray.init(address or "auto", log_to_driver=False, logging_level="WARNING")
            register_ray()
    except ImportError as error:
        settings.refuse("cluster", f"{kind} needs a package that is not installed: pip install {error.name}")
    except (OSError, ValueError, RuntimeError):
        settings.refuse("scheduler", f"{address or 'is missing'}: no {kind} cluster answers")
    with client, joblib.parallel_config(kind):
        yield


@contextmanager
def lock_output(output: Path) -> Iterator[None]:
    """Create and lock the folder of the sweep, and remove temporary files of a sweep that was killed.

    Raises InputError if another sweep uses the folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    with lock_folder(output):
        for left in find_temporaries(output, ".*"):
            if REPORT.fullmatch(left.name):  # runs remove their own
                left.unlink()
        yield


@contextmanager
def watch_signals(stop: Path) -> Iterator[list[int]]:
    """Create the file ``stop`` on Ctrl-C and SIGTERM. A second Ctrl-C stops immediately. Yields the list of signals."""
    signals = []
    stop.unlink(missing_ok=True)

    def handle(number, frame):
        if signals and number == signal.SIGINT:
            raise KeyboardInterrupt
        signals.append(number)
        stop.touch()
        print("\nstopping: runs save their progress; press Ctrl-C again to stop immediately", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
        stop.unlink(missing_ok=True)  # not if a second Ctrl-C leaves jobs that wait for their start
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def estimate_left(times: list[float], waiting: int, now: float) -> str:
    """Return the time left of ``waiting`` runs. times: of the start, and of each run that finished since; in seconds.

    The estimate falls from second to second, and is corrected when a run finishes.
    """
    if len(times) < 2:
        return ""
    left = (times[-1] - times[0]) / (len(times) - 1) * waiting - (now - times[-1])
    return f"{tqdm.format_interval(max(0, left))} left"


@contextmanager
def show_progress(runs: list[Job], log: RunLog) -> Iterator[None]:
    """Print a line for each run that finishes and, in a terminal, a bar with the time that is left."""
    over, waiting = threading.Event(), [run for run in runs if not run.is_finished]
    begin = len(runs) - len(waiting)
    bar_format = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} runs{postfix}"
    options = {"bar_format": bar_format, "disable": None, "leave": False, "file": sys.stdout}
    bar = tqdm(total=len(runs), initial=begin, **options)
    times = [time.monotonic()]  # of the start, and of each run that finished since

    def watch():
        is_last = False
        while not is_last:
            is_last = over.wait(1.0)
            for run in [run for run in waiting if run.is_finished]:
                waiting.remove(run)
                bar.update()
                times.append(time.monotonic())
                log.info(f"{len(runs) - len(waiting)}/{len(runs)}  {read_run(run.folder).describe()}")
            bar.set_postfix_str(estimate_left(times, len(waiting), time.monotonic()))
        bar.close()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def report(settings: SweepSettings) -> int:
    """Report on the runs of ``--report``, or on the runs in its folders. Returns the exit code."""
    named, folders = [Path(name) for name in settings.report], []
    for path in named:
        if not path.is_dir():
            settings.refuse("report", f"{path} is not a folder")
        folders += [path] if is_run(path) else sorted(each for each in path.iterdir() if is_run(each))
    if not folders:
        settings.refuse("report", f"{' '.join(settings.report)}: there is no run here")
    if not settings.output and (len(named) > 1 or folders == named):
        settings.refuse("output", "is missing: the folder in which the report on these runs is written")
    output = Path(settings.output or named[0])
    output.mkdir(parents=True, exist_ok=True)
    print(write_sweep_report(output, [read_run(folder) for folder in dict.fromkeys(folders)], IGNORED), end="")
    print(f"see {output / 'sweep.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
