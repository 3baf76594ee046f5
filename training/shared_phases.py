"""Phases that another run has trained: which are the same, and the folder in which runs share them.

``count_equal`` compares everything that the weights depend on except for the code. Phases that another version of the
code has trained are not shared (``--shared-phases``), and ``--continue-from`` warns of them.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from engine.phases import find_stages
from errors import InputError
from network_trainer import NetworkTrainer, Progress
from training.checkpoint import Checkpoint, load_run, rebuild_network
from training.plan import Plan, list_dependencies
from training.settings import EPOCH_FILES, TrainSettings
from utils import ROOT, find_commit

# All files on which the weights depend, beside the settings and the data
CORE = (
    "SpykeTorch/*.py", "engine/**/*.py", "encoders/*.py", "models/*.py", "imagesets/splits.py", "network_trainer.py",
    "s1c1.py",
)  # fmt: skip


def share_phases(plan: Plan) -> list[Path]:
    """Return the places of the plan's phases in the folder ``--shared-phases``.

    Phases are not shared if the run writes files after each epoch, or if it begins with the weights of another run.
    Raises InputError if there cannot be such a folder.
    """
    settings = plan.settings
    if settings.shared_phases is None or settings.init_from or any(settings.select(EPOCH_FILES).values()):
        return []
    try:
        Path(settings.shared_phases).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        settings.refuse("shared_phases", f"cannot be the folder {settings.shared_phases}: {error.strerror}")
    return find_shared(settings.shared_phases, plan.dependencies)


def find_shared(folder: str | Path, phases: Sequence[dict]) -> list[Path]:
    """Return the places of the first phases without labels in a folder of phases that several runs share.

    phases: as ``list_dependencies`` returns them. The name of a place is the SHA-256 of what the phase and all phases
    before it depend on: their descriptions, and the code.
    """
    digest = hashlib.sha256(digest_core().encode())
    places = []
    for phase in phases:
        if phase["needs labels"]:
            break
        digest.update(repr(phase).encode())
        places.append(Path(folder) / digest.hexdigest())
    return places


def load_shared(path: Path, plan: Plan, number: int) -> Progress:
    """Take over the phases up to ``number`` from the file of a shared phase. Returns the progress after them.

    Raises InputError if the file is damaged, or if it contains other phases or phases that other code has trained.
    """
    checkpoint = load_run(path)
    count, _ = compare_phases(checkpoint, plan)
    if count <= number or checkpoint.run["code"].keys() != {digest_core()}:
        raise InputError(f"{path} contains other phases")
    return take_over(checkpoint, plan.model, number + 1)


def compare_phases(checkpoint: Checkpoint, plan: Plan) -> tuple[int, list[str]]:
    """Return how many phases of a run are equal to the first phases of a plan, and what differs in the first phase.

    A phase is finished, has no labels, and no later phase has trained its stages again.
    """
    progress = checkpoint.progress
    model = rebuild_network(checkpoint)
    settings = TrainSettings.from_dict(checkpoint.run["flags"])
    trained = list_dependencies(model, checkpoint.build_encoder(), settings, checkpoint.run["fingerprint"])
    count = count_equal(plan.dependencies, trained[: progress.phase])
    is_begun = progress.epoch > 0 or progress.batch > 0
    begun = list(model.phases)[: progress.phase + is_begun]
    while find_stages(begun[:count]) & find_stages(begun[count:]):
        count -= 1
    return count, [name for name, value in trained[0].items() if plan.dependencies[0].get(name) != value]


def count_equal(phases: Sequence[dict], others: Sequence[dict]) -> int:
    """Return the number of first phases without labels in which two runs are equal."""
    pairs = zip(phases, others, strict=False)
    equal = [phase == other and not phase["needs labels"] for phase, other in pairs]
    return [*equal, False].index(False)


def take_over(checkpoint: Checkpoint, model: NetworkTrainer, count: int) -> Progress:
    """Copy the stages that a run has trained in its first ``count`` phases, which are those of the network.

    Returns the progress after these phases.
    """
    phases = list(model.phases)[:count]
    prefixes = [f"stages.{name}." for name in find_stages(phases)]
    prefixes += [f"phases.{number}." for number in range(count)]
    state = {key: tensor for key, tensor in checkpoint.state.items() if key.startswith(tuple(prefixes))}
    model.load_state_dict(state, strict=False)
    progress = checkpoint.progress
    names = {phase.name for phase in phases}
    seconds = {name: value for name, value in progress.phase_seconds.items() if name in names}
    history = [row for row in progress.history if row["phase"] in names and row["train_accuracy"] is None]
    return Progress(phase=count, history=history, phase_seconds=seconds)


# ---------------------------------------------------------------------------------------------------------------------
# The version of the code


@functools.cache
def digest_core() -> str:
    """Compute the SHA-256, in hexadecimal digits, over the files of ``CORE``."""
    digest = hashlib.sha256()
    for pattern in CORE:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def describe_code() -> dict[str, str | None]:
    """Return {``digest_core()``: the commit}, the version of the code that a run saves in its checkpoints.

    If the code is changed while a run is interrupted, its checkpoints contain both versions.
    """
    return {digest_core(): find_commit()}
