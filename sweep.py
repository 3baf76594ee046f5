"""Train all combinations of networks, data sets, settings and seeds, and report on them: ``python sweep.py --help``.

Each run is ``train.py`` in its own process and in its own folder, whose name contains the combination. Therefore the
same command continues a sweep that was stopped. If the first phases of several runs are the same, the first of these
runs trains them (``train.py --until PHASE``) and the others continue from it (``train.py --continue-from RUN``). The
commands run in waves: first those that train one shared phase, then those that train two, and so on, at last all runs
to their ends.
"""

import os
import signal
import sys

if __name__ == "__main__":  # Ctrl-C while modules are imported, some of which would catch a KeyboardInterrupt
    interrupt = signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import itertools
import re
import socket
import stat
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I and -P leave it out

from errors import InputError, check_environment, print_output, run_program

if __name__ == "__main__":
    check_environment()

import joblib
from tqdm import tqdm

from datasets import DataSet
from encoders import get_encoder_config
from models import PLUGINS, model_class
from report.sweep_report import is_run, read_run, write_sweep_report
from training.checkpoint import find_checkpoint, load_checkpoint
from training.data import Data, load_data
from training.initial import count_equal, describe_phases, describe_stages, initialize_from, load_shared_phases
from training.log import RunLog, replace_unprintable
from training.plan import check_run, describe, prepare_machine, resolve
from training.run import is_finished
from training.settings import (
    COMMAND,
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
from training.stopping import handle_signals
from utils import ROOT, find_temporaries, lock_folder

STOP = ".stop"  # while this file is in the output folder, no job starts, and running jobs save and end
# What train.py writes before its first checkpoint: the only files and folders that a sweep removes, apart from its own
# temporary files. They are paths in the folder of the run; folders end with "/".
BEGUN = re.compile(r"(\.\d+\.tmp\.)?(args\.json|summary\.txt)|checkpoints/(\.\d+\.tmp\.last\.safetensors)?")
REPORT = "sweep.md", "sweep.csv", "runs.csv", "curves.png"  # what ``write_sweep_report`` writes
IGNORED = TrainSettings.names(ROUNDING, EPOCH_FILES, FILES, NOTHING)  # runs in one row of the report may differ in them


def main(argv: list[str] | None = None) -> int:
    """Run a command line (default: ``sys.argv``). Returns the exit code."""
    replace_unprintable()
    return run_program("sweep.py", execute, argv)


def execute(words: list[str]) -> int:
    """Train or report, as the words of a command line request. Returns the exit code."""
    settings = SweepSettings.parse(words)
    return report(settings) if settings.report else sweep(settings)


@dataclass(frozen=True)
class PlannedRun:
    """A run of the sweep.

    ``words``: the command line of train.py. ``learned``: everything that the weights depend on. ``phases``: the phases
    that runs may share, see ``describe_phases``. ``epochs``: a text for each of its epochs, such as "s2 1/4".
    ``source``: an earlier run with the same first ``shared`` phases.
    """

    folder: Path
    words: list[str]
    settings: TrainSettings
    learned: dict
    phases: list[dict]
    epochs: list[str]
    source: "PlannedRun | None"
    shared: int

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.safetensors"

    @property
    def error_file(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.error.txt")

    @property
    def is_finished(self) -> bool:
        return is_finished(self.folder, self.settings.figures)

    def find_epoch(self) -> str | None:
        """Return the text of the epoch that a job trains, or None if no job works on the run."""
        if self.is_finished or not self.error_file.exists():
            return None
        done = 0
        with suppress(OSError):
            done = (self.folder / "metrics.csv").read_bytes().count(b"\n") - 1  # without the header
        return self.epochs[done] if done < len(self.epochs) else "test"

    def count_phases(self) -> int:
        """Return the number of phases that are finished."""
        with suppress(InputError):  # the checkpoint is missing or damaged
            return load_checkpoint(self.last).progress.phase
        return 0


def plan_runs(sweep: SweepSettings) -> list[PlannedRun]:
    """Return the runs of a sweep. Raises InputError for settings that train.py refuses, and for unusable folders."""
    common = TrainSettings.parse([*sweep.run_flags, "--model", sweep.model[0]])
    check_flags(sweep, common)
    if is_run(Path(sweep.output)):
        sweep.refuse("output", f"{sweep.output} is a run; name another folder")
    if not sweep.cluster:
        prepare_machine(replace(common, threads=sweep.threads))
    data = {name: load_data(replace(common, dataset=name)) for name in sweep.dataset}  # downloads each once
    axes = [[f"{field}={value.strip()}" for value in values] for field, *values in sweep.grid]
    points = list(itertools.product(*axes))
    runs = []
    for model, dataset, point, seed in itertools.product(sweep.model, sweep.dataset, points, sweep.seeds):
        run = plan_run(sweep, model, dataset, data[dataset], point, seed, runs)
        for other in runs:
            if run.learned == other.learned:
                names = f"{other.folder.name} and {run.folder.name}"
                raise InputError(f"two runs would learn the same, {names}; leave one of them out")
            if run.folder == other.folder:
                raise InputError(f"two runs would have the folder {run.folder}; use two sweeps")
        check_folder(run)
        runs.append(run)
    return runs


def check_flags(sweep: SweepSettings, common: TrainSettings) -> None:
    """Raise InputError for flags of train.py that the sweep sets itself, and for commands. common: their settings."""
    in_words = vars(make_parser(TrainSettings).parse_args(sweep.run_flags))
    for name in TrainSettings.names(COMMAND):
        if name in in_words and name not in ("config", "traceback"):
            common.refuse(name, "is a command for a single run")
    for setting in sweep.flags().values():
        for name in setting.sets:
            in_config = name in common.given and setting.name not in sweep.given
            if in_config or name in in_words:
                common.refuse(name, f"is set by the sweep for each run; use {setting.flag}")


def plan_run(
    sweep: SweepSettings,
    model: str,
    dataset: str,
    data: DataSet,
    point: Sequence[str],
    seed: int,
    others: list[PlannedRun],
) -> PlannedRun:
    """Return a run. Raises InputError for settings that train.py refuses.

    point: the values of --grid, "FIELD=VALUE" each. others: the runs from which it can continue.
    """
    parts = (model_class(model).name, dataset, *point, f"seed{seed}")
    name = "-".join(re.sub(r"[^A-Za-z0-9._]+?(?=-[\w.])|[^A-Za-z0-9._]+", "-", part).strip("-.") for part in parts)
    output = Path(sweep.output).resolve()
    words = [*sweep.run_flags, "--model", model, "--dataset", dataset, "--seed", str(seed)]
    if sweep.epochs:
        words += ["--epochs", *map(str, sweep.epochs)]
    if sweep.set or point:
        words += ["--set", *to_text(sweep.set).split(), *point]
    words += ["--threads", str(sweep.threads), "--output", str(output), "--name", name]
    settings, encoder, network = resolve(TrainSettings.parse(words), data)
    split = Data(settings, data)
    check_run(network, split, settings)
    describe(network, data, settings)
    if settings.init_from:
        initialize_from(find_checkpoint(settings.init_from, settings.output), network, encoder, split)
    learned = settings.select(*LEARNED, ROUNDING)
    learned["set"] = get_encoder_config(encoder), describe_stages(network, network.stages)
    phases = []
    if not any(settings.select(EPOCH_FILES).values()):  # otherwise each run writes the files of all of its epochs
        phases = describe_phases(network, encoder, settings, data.fingerprint)
    epochs = []
    for phase, count in zip(network.phases, settings.epochs, strict=True):
        epochs += [f"{phase.name} {number}/{count}" for number in range(1, count + 1)]
    source = find_source(phases, others)
    return PlannedRun(output / name, words, settings, learned, phases, epochs, *source)


def check_folder(run: PlannedRun) -> None:
    """Raise InputError if the folder of a run contains other files, a damaged run, or a run with other settings."""
    check_type(run.error_file, stat.S_ISREG)
    check_type(run.folder, stat.S_ISDIR)
    if not run.last.is_file():  # then the files of the run are removed and it starts again
        files = sorted(run.folder.rglob("*"))
        foreign = [path for path in files if not is_one_of(BEGUN, path, run.folder)]
        if foreign:
            message = f"{foreign[0]} does not belong to a run that has just begun; move it, or use another --output"
            raise InputError(message)
        if not {"args.json", "summary.txt"} & {path.name for path in files}:
            return
    record = read_run(run.folder)
    try:
        before = TrainSettings.from_dict(record.flags)
    except (ValueError, TypeError, AttributeError) as error:
        message = f"{run.folder} is damaged: {record.damage or 'args.json cannot be read'}; delete it to train it again"
        raise InputError(message) from error
    changed = []
    for name, value in run.settings.select(*FIXED).items():
        setting = TrainSettings.flags()[name]
        if value != getattr(before, name) and setting.is_repeated:
            changed.append(setting.flag)
    if changed:
        message = f"{run.folder} was begun with another {' '.join(changed)}; use another --output"
        raise InputError(message)


def check_type(path: Path, is_type: Callable[[int], bool]) -> None:
    """Raise InputError if there is something at the path, also a link, that is not of this type (``stat.S_ISREG``)."""
    if os.path.lexists(path) and not is_type(path.lstat().st_mode):
        expected = "folder" if is_type is stat.S_ISDIR else "regular file"
        raise InputError(f"{path} must be a {expected}; remove it, or use another --output")


def is_one_of(pattern: re.Pattern, path: Path, folder: Path) -> bool:
    """Return whether a path in the folder matches the pattern, and is a regular file or a folder."""
    mode = path.lstat().st_mode
    name = path.relative_to(folder).as_posix()
    if stat.S_ISDIR(mode):
        name += "/"
    elif not stat.S_ISREG(mode):
        return False
    return pattern.fullmatch(name) is not None


def remove_files(folder: Path, pattern: re.Pattern) -> None:
    """Remove the files in the folder whose paths match the pattern, and the folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder contains comes before the folder
        if is_one_of(pattern, path, folder):
            with suppress(OSError):  # a folder with other files
                remove = path.rmdir if path.is_dir() else path.unlink
                remove()
    with suppress(OSError):
        folder.rmdir()


def find_source(phases: list[dict], runs: list[PlannedRun]) -> tuple[PlannedRun | None, int]:
    """Return the run that shares the most first phases with these phases, and their number; None if there is no run."""
    source = None
    shared = 0
    for run in runs:
        count = count_equal(phases, run.phases)
        if count > shared and any(run.settings.epochs[:count]):
            source = run
            shared = count
    return source, shared


def plan_waves(runs: list[PlannedRun]) -> dict[int, list[PlannedRun]]:
    """Return {number of first phases: the runs that train them before other runs continue from there}, in order."""
    waves = defaultdict(dict)
    for run in runs:
        if run.source and not run.last.is_file() and run.source.count_phases() < run.shared:
            waves[run.shared][run.source.folder] = run.source
    return {phases: list(waves[phases].values()) for phases in sorted(waves)}


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
    stop = Path(stop)
    if stop.exists():
        return "stopped"
    error_file = Path(f"{folder}.error.txt")
    is_asked = False
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
        reason = lines[-1] if lines else f"ended by signal {-process.returncode}"
        return f"{reason} (see {error_file})"
    error_file.unlink()
    return "stopped" if process.returncode else "done"


def write_command(run: PlannedRun, phases: int | None, threads: int) -> list[str]:
    """Return the words of train.py that start or resume a run and train its first phases; None: all phases."""
    if run.last.is_file():
        words = ["--resume", str(run.folder), "--threads", str(threads)]
        names = [plugin.rpartition(" ")[0] for plugin in run.settings.plugin]
        plugins = [str(path) for path in PLUGINS if path.name in names]
        if plugins:
            words += ["--plugin", *plugins]
    else:
        words = list(run.words)
        if run.source:
            with suppress(InputError):  # the source has failed: the run trains all phases
                load_shared_phases(run.source.last, run.phases)
                words += ["--continue-from", str(run.source.folder)]
    if phases is not None:
        words += ["--until", run.phases[phases - 1]["phase"]]
    return words


def train_wave(commands: dict[Path, list[str]], threads: int, at_a_time: int, stop: Path) -> dict[Path, str]:
    """Run commands, {folder of a run: words of train.py}. Returns {folder: result of ``train_one``}."""
    tasks = []
    for folder, words in commands.items():
        if "--resume" not in words:
            remove_files(folder, BEGUN)
        folder.parent.mkdir(parents=True, exist_ok=True)
        where = str(ROOT / "train.py"), words, os.getcwd(), str(folder), str(stop)
        tasks.append(joblib.delayed(train_one)(*where, {"OMP_NUM_THREADS": str(threads)}))
    ends = joblib.Parallel(n_jobs=at_a_time, batch_size=1, pre_dispatch="all")(tasks)
    return dict(zip(commands, ends, strict=True))


def sweep(settings: SweepSettings) -> int:
    """Train all unfinished runs, and write the report. Returns the exit code."""
    output = Path(settings.output).resolve()
    log = RunLog()
    stop = output / STOP
    with lock_folder(output) if output.is_dir() else nullcontext():  # not while another sweep changes it
        runs = plan_runs(settings)
        for name in (STOP, *REPORT):
            check_type(output / name, stat.S_ISREG)
        if stop.exists() and stop.stat().st_size:
            raise InputError(f"{stop} is not of a sweep, because it is not empty; remove it")
    waves = plan_waves(runs)
    # runs from which others continue come last, because a phase with labels may train their shared stages again
    sources = {run.source.folder for run in runs if run.source}
    unfinished = [run for run in runs if not run.is_finished]
    waves[None] = sorted(unfinished, key=lambda run: run.folder in sources)
    at_a_time = max(1, joblib.cpu_count() // settings.threads)
    note = ""
    if settings.cluster:
        at_a_time = -1  # as many as the cluster has workers
        note = f" on {settings.cluster}"
    at_a_time = settings.jobs or at_a_time
    if at_a_time > 0:
        note += f", {at_a_time} at a time"
    if sources:
        note += "; phases that several runs share are trained once"
    ends = {}
    with connect(settings), lock_output(output), watch_signals(stop) as signals, show_progress(runs, log):
        log.info(f"{len(runs)} runs, {len(runs) - len(unfinished)} of them finished{note}")
        for phases, wave in waves.items():
            commands = {run.folder: write_command(run, phases, settings.threads) for run in wave}
            ends |= train_wave(commands, settings.threads, at_a_time, stop)
            if "stopped" in ends.values():
                break
    for run in runs:
        if run.is_finished:  # a sweep that was killed has left the file
            run.error_file.unlink(missing_ok=True)
    records = [read_run(run.folder) for run in runs if run.last.is_file()]
    failed = {folder: end for folder, end in ends.items() if end not in ("done", "stopped")}
    for record in records:
        if record.damage:
            failed.setdefault(record.folder, f"{record.damage}; delete the folder to train it again")
    for folder, end in failed.items():
        print(f"failed: {folder.name}: {end}", file=sys.stderr)
    if signals or "stopped" in ends.values():
        print(f"stopped; continue with\n    python {settings.command_line}", file=sys.stderr)
        return 130
    if records:
        write_sweep_report(output, records, IGNORED)
        log.info(f"see {output / 'sweep.md'}")
    return int(bool(failed))


@contextmanager
def connect(settings: SweepSettings) -> Iterator[None]:
    """Connect joblib to a cluster, or to threads of this process. Raises InputError if the cluster does not answer."""
    cluster = settings.cluster
    address = settings.scheduler
    client = nullcontext()
    try:
        if address:  # without this test, Ray tries to connect for minutes
            host, _, port = address.rpartition("/")[2].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                if cluster == "dask":  # its scheduler sends the first byte; Client waits without end for it
                    connection.recv(1)
        if cluster == "dask":
            from distributed import Client

            client = Client(address, timeout=10)
        elif cluster == "ray":
            import ray
            from ray.util.joblib import register_ray

            client = ray.init(address or "auto", log_to_driver=False, logging_level="WARNING")
            register_ray()
    except ImportError as error:
        settings.refuse("cluster", f"{cluster} needs a package that is not installed: pip install {error.name}")
    except (OSError, ValueError, RuntimeError):
        settings.refuse("scheduler", f"{address or 'is missing'}: no {cluster} cluster answers")
    with client, joblib.parallel_config(cluster or "threading"):
        yield


@contextmanager
def lock_output(output: Path) -> Iterator[None]:
    """Create and lock the folder of the sweep, and remove temporary files of a sweep that was killed.

    Raises InputError if another sweep uses the folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    with lock_folder(output):
        for left in find_temporaries(output, ".*"):
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

    with handle_signals(handle):
        yield signals
        stop.unlink(missing_ok=True)  # not if a second Ctrl-C leaves jobs that wait for their start


def estimate_left(times: list[float], waiting: int, now: float) -> str:
    """Return the time left of ``waiting`` runs. times: of the start, and of each run that finished since; in seconds.

    The estimate falls from second to second, and is corrected when a run finishes.
    """
    if len(times) < 2:
        return ""
    of_run = (times[-1] - times[0]) / (len(times) - 1)
    left = of_run * waiting - (now - times[-1])
    return f"{tqdm.format_interval(max(0, left))} left"


@contextmanager
def show_progress(runs: list[PlannedRun], log: RunLog) -> Iterator[None]:
    """Print a line for each run that finishes and, in a terminal, a bar: the time left and each job's epoch."""
    over = threading.Event()
    waiting = [run for run in runs if not run.is_finished]
    bar_format = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} runs{postfix}"
    options = {"bar_format": bar_format, "disable": None, "leave": False, "dynamic_ncols": True, "file": sys.stdout}
    bar = tqdm(total=len(runs), initial=len(runs) - len(waiting), **options)
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
            texts = [estimate_left(times, len(waiting), time.monotonic())]
            for epoch, count in Counter(run.find_epoch() for run in waiting).items():
                if epoch is not None:
                    texts.append(f"{count} in {epoch}")
            bar.set_postfix_str(", ".join(filter(None, texts)))
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
    named = [Path(name) for name in settings.report]
    folders = []
    for path in named:
        if not path.is_dir():
            settings.refuse("report", f"{path} is not a folder")
        folders += [path] if is_run(path) else sorted(filter(is_run, path.iterdir()))
    if not folders:
        settings.refuse("report", f"{' '.join(settings.report)}: there is no run here")
    if not settings.output and (len(named) > 1 or folders == named):
        settings.refuse("output", "is missing: the folder in which the report on these runs is written")
    output = Path(settings.output or named[0])
    output.mkdir(parents=True, exist_ok=True)
    records = [read_run(folder) for folder in dict.fromkeys(folders)]
    print_output(write_sweep_report(output, records, IGNORED), end="")
    print_output(f"see {output / 'sweep.md'}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupt)
    sys.exit(main())
