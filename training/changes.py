"""The record of how a command was started, and what has changed since a run was, and may change its result."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from engine.backends import choose_backend
from run_folder import FORMAT, Json, RunFolder
from SpykeTorch import __version__
from training import COMMANDS, NAMES, ROOT
from training.settings import NetworkSettings, TrainSettings
from utils import describe_environment, find_commit, write_json, write_text


def list_code(root: Path = ROOT) -> list[Path]:
    """Return the Python files of the program, sorted: its modules, and all files in those that are folders.

    Other files and folders beside them, such as a script of a user's or a virtual environment, are no part of it.
    """
    paths = []
    for name in (*NAMES, *COMMANDS):
        paths += [root / f"{name}.py", *(root / name).rglob("*.py")]
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))  # editors' locks


def digest_code(root: Path = ROOT) -> str:
    """Return the SHA-256 of the names and contents of the files of ``list_code``."""
    digest = hashlib.sha256()
    for path in list_code(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def write_start(folder: Path, settings: NetworkSettings, facts: Json, summary: str) -> None:
    """Write args.json, what a command was, ``facts`` and its environment, and summary.txt, the table of the stages."""
    command = {"command_line": settings.command_line, **facts, "code_sha256": digest_code()}
    write_json(folder / "args.json", {"format": FORMAT, "version": __version__, **command, **describe_environment()})
    write_text(folder / "summary.txt", summary + "\n")


def compare_code(folder: RunFolder) -> Iterator[str]:
    """Yield a warning if the program's code differs from that which has started a run."""
    if folder.code != digest_code():
        commits = f"its commit is {folder.args.get('git_commit')}, here {find_commit()}"
        yield f"warning: the program's code has changed since {folder.path} was started: {commits}"


def compare_backends(before: TrainSettings, now: TrainSettings) -> Iterator[str]:
    """Yield a note if a resumed run has another backend or another kind of device than before."""
    used = []
    for settings in (before, now):
        kind, _, _ = settings.device.partition(":")
        used.append(f"the {choose_backend(settings.backend, kind)} backend on {kind}")
    if used[0] != used[1]:
        yield f"{used[1]} continues the training of {used[0]}; they round differently"
