"""What has changed since a run was interrupted, and may change its result."""

from engine.backends import choose_backend
from report.run_folder import RunFolder
from training.settings import TrainSettings
from utils import digest_code, find_commit


def compare_code(folder: RunFolder) -> list[str]:
    """Return a warning if the program's code differs from that which has started a run, else []."""
    args = folder.args
    if args.get("code_sha256") == digest_code():
        return []
    commits = f"its commit is {args.get('git_commit')}, here {find_commit()}"
    return [f"warning: the program's code has changed since {folder.path} was started: {commits}"]


def compare_backends(before: TrainSettings, now: TrainSettings) -> list[str]:
    """Return a note if a resumed run has another backend or another kind of device than before, else []."""
    used = []
    for settings in (before, now):
        kind, _, _ = settings.device.partition(":")
        used.append(f"the {choose_backend(settings.backend, kind)} backend on {kind}")
    if used[0] == used[1]:
        return []
    return [f"{used[1]} continues the training of {used[0]}; they round differently"]
