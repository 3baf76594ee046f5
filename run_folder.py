"""The folder of a run: which files it contains, their format, how far the run is, and how it continues."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from engine.plugins import PLUGINS
from errors import InputError
from utils import join_words

# What train.py writes in the folder of a run, as patterns of paths, beside figures and the ``files`` of recorders.
WRITTEN = (
    "args.json", "features/test.npz", "features/train.npz", "features/validation.npz", "log.txt", "methods.md",
    "predictions.csv", "results.json", "spread.csv", "summary.txt", "**/.*.tmp.*",
)  # fmt: skip
RUNS = "runs.csv"  # of the report on a folder of runs: a row for each run, in the column "run" the name of its folder
LATEST = "latest"  # in place of a run: the newest, see ``find_run``

# The format of the checkpoints and of args.json that this version reads and writes. A new field whose default means
# "as before" needs no new format. Any other change increases it.
FORMAT = 4
LAST = "1.3.0 (git checkout c91b78f)"  # the last version that reads formats below it

Json = dict[str, Any]  # an object of a JSON file
Tests = dict[tuple[str, str], list[Json]]


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run. The properties read the files when they are used, the last checkpoint once."""

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint from which the run is resumed. No run exists without it."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def args(self) -> Json:
        """The content of args.json in the format of this version: {} if it is missing or damaged."""
        path = self.path / "args.json"
        content = read_json(path)
        return content and check_format(content, path)

    @cached_property
    def record(self) -> Json:
        """The record of the run in the last checkpoint (``RunRecord``), {} if it is damaged."""
        with suppress(ValueError, LookupError, TypeError):
            content = check_format(json.loads(read_header(self.last)["checkpoint"]), self.last)
            return content.get("run") or {}
        return {}

    @property
    def code(self) -> str:
        """The SHA-256 of the code that has started the run, see ``digest_code``; "" if args.json is damaged."""
        return self.args.get("code_sha256") or ""

    @property
    def flags(self) -> Json:
        """The flags of train.py in the last checkpoint, or else in args.json: {} if both are damaged."""
        flags = (self.record or self.args).get("flags")
        return flags if isinstance(flags, dict) else {}

    @property
    def is_dry_run(self) -> bool:
        """Whether a dry run has saved the last checkpoint. A damaged checkpoint is that of a run."""
        return bool(self.record.get("flags", {}).get("dry_run"))

    def find_others(self, patterns: Iterable[str]) -> list[str]:
        """Return the paths of the files in the folder, at any depth, beside ``WRITTEN`` and those of these patterns."""
        written = set(chain.from_iterable(map(self.path.glob, (*WRITTEN, *patterns))))
        others = [path for path in self.path.rglob("*") if path not in written and not path.is_dir()]
        return sorted(path.relative_to(self.path).as_posix() for path in others)

    @property
    def results(self) -> Json:
        """The content of results.json: {} if it is missing or damaged."""
        return read_json(self.path / "results.json")

    @property
    def is_finished(self) -> bool:
        """Whether all files of the run exist, and belong to its last epoch."""
        finished = self.results.get("finished")
        return finished is not None and finished == self.flags.get("epochs", finished)

    @property
    def resume_words(self) -> list[str]:
        """The command line of train.py that continues the run, with the users' own files that are imported here."""
        return ["--resume", str(self.path), *list_plugins()]

    @property
    def resume_command(self) -> str:
        return f"python train.py {join_words(self.resume_words)}"


def list_plugins() -> list[str]:
    """Return the words of --plugin with the users' own files that are imported, or []."""
    return ["--plugin", *map(str, PLUGINS)] if PLUGINS else []


def is_run(folder: Path) -> bool:
    """Return whether train.py created the folder, even if the run is damaged. An evaluation is not a run."""
    return (folder / "checkpoints").is_dir()


def list_runs(folder: Path) -> list[Path]:
    """Return the runs in a folder, without those that are not in place yet, see ``claim_folder``.

    Their order is that of the last report on the folder. Runs that it does not contain follow, sorted by name.
    """
    places = {row.get("run"): place for place, row in enumerate(read_rows(folder / RUNS))}
    runs = filter(is_run, folder.glob("[!.]*"))
    return sorted(runs, key=lambda run: (places.get(run.name, len(places)), run))


def find_tests(runs: Iterable[Path]) -> Tests:
    """Find the tests in the folders that contain these runs, and in the folders above, where evaluate.py writes.

    Returns {(SHA-256 of a tested checkpoint, fingerprint of the data): the scores of each test}. Those of a dry run,
    which are of a few images, have no SHA-256.
    """
    tests: Tests = defaultdict(list)
    for folder in {folder for run in runs for folder in run.resolve().parents[:2]}:
        for path in folder.glob("[!.]*/results.json"):
            results = {} if is_run(path.parent) else read_json(path)
            scores = results.get("networks") or [results.get("test")]
            for checksum, each in zip(results.get("checkpoints_sha256", ()), scores, strict=False):
                tests[checksum, results["fingerprint"]].append(each)
    return tests


def find_run(name: str | Path, output: str | Path = "runs") -> Path:
    """Return the path of a run or checkpoint.

    name: a path, the name of a folder in ``output``, or "latest", the run in ``output`` with the newest checkpoint,
        without dry runs.

    Raises InputError if there is no latest run.
    """
    if name != LATEST:
        path = Path(name)
        inside = Path(output) / name
        is_named = path.is_file() or is_run(path) or list_runs(path)
        return inside if inside.exists() and not is_named else path
    runs = [RunFolder(path.parent.parent) for path in Path(output).glob("[!.]*/checkpoints/last.safetensors")]
    runs.sort(key=lambda run: run.last.stat().st_mtime, reverse=True)
    for run in runs:
        if not run.is_dry_run:
            return run.path
    if runs:
        raise InputError(f"there are only dry runs in {output}; name one, such as {runs[0].path}")
    raise InputError(f"there is no run in {output} yet")


def find_checkpoint(name: str | Path, output: str | Path) -> Path:
    """Return the path of a checkpoint, given as a file or as a run (see ``find_run``).

    A run's best checkpoint is preferred to its last. Raises InputError if there is no latest run.
    """
    path = find_run(name, output)
    run = RunFolder(path)
    if not path.is_dir():
        return path
    return run.best if run.best.is_file() else run.last


def check_format(content: Json, path: Path) -> Json:
    """Return the content of a file without its format. Raises InputError for another format."""
    content = dict(content)
    number = content.pop("format", 1)
    if number == FORMAT:
        return content
    if number in range(1, FORMAT):
        raise InputError(f"{path} is of an older version of this program; version {LAST} is the last that reads it")
    raise InputError(f"{path} has the format {number}, but this version of the program reads {FORMAT}")


def read_header(path: Path) -> dict[str, str]:
    """Read the texts in the header of a checkpoint, "checkpoint" and "sha256": {} if it is missing or damaged."""
    with suppress(OSError, SafetensorError), safe_open(path, "numpy") as file:
        return file.metadata() or {}
    return {}


def read_json(path: Path) -> Json:
    """Read a JSON object from a file: {} if the file is missing or damaged."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(read_text(path))
        return content if isinstance(content, dict) else {}
    return {}


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file as dicts of texts. A missing file has no rows."""
    return list(csv.DictReader(read_text(path).splitlines()))
