"""What has changed since a run was interrupted, and may change its result."""

from engine.backends import choose_backend
from report.run_folder import RunFolder
from training.settings import TrainSettings
from utils import find_commit


def compare_commits(folder: RunFolder) -> list[str]:
    """Return a warning if git's commit of the code differs from that which has started a run, else []."""
    here = find_commit()
    if folder.commit == here:
        return []
    return [f"warning: {folder.path} was started by other code (commit {folder.commit}; here: {here})"]


def compare_backends(before: TrainSettings, now: TrainSettings) -> list[str]:
    """Return a note if a resumed run has another backend or another kind of device than before, else []."""
    used = []
    for settings in (before, now):
        kind, _, _ = settings.device.partition(":")
        used.append(f"the {choose_backend(settings.backend, kind)} backend on {kind}")
    if used[0] == used[1]:
        return []
    return [f"{used[1]} continues the training of {used[0]}; they round differently"]
