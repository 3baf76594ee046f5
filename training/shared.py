"""Phases that runs train alike: one trains them, and the others begin behind them (``--after``), equal to the bit.

What a phase makes of the weights follows from the images, their order, the encoder, the rule, and the stages up to the
highest that has learned: their declarations, in order, as their first weights are drawn one after another from the
seed. What stands above is no part of it. So networks that differ only there, in a setting or in kind, share what is
below.
"""

import inspect
from itertools import takewhile
from pathlib import Path

from errors import InputError
from network_trainer import NetworkTrainer, Progress
from training.checkpoint import load_checkpoint, rebuild_network
from training.encoders import build_encoder, encoder_config
from training.settings import TrainSettings

# Network, encoder and epochs are compared as they are; the last two matter only in phases with labels.
NOT_COMPARED = {"model", "encoder", "set", "epochs", "patience", "augment"}
# What a network may declare for itself and still train its stages as any other does.
DECLARED = {"name", "aliases", "epochs", "encoder", "augmentation", "readout", "build", "build_phases"}


def leading_phases(model, encoding, settings, epochs):
    """What the weights depend on in each of the leading phases that can be shared: a list of what is to be compared.

    A phase with labels cannot be shared, nor one whose stages learn again later. ``epochs``: for each phase.
    """
    if settings.init_from:
        return []
    learned = {name: value for name, value in settings.what_is_learned().items() if name not in NOT_COMPARED}
    common = learned, encoding, _way_of_training(type(model))
    phases, found = model.phases, []
    for place, phase in enumerate(phases):
        again = {name for later in phases[place + 1 :] for name in later.stages}
        if phase.needs_labels or again & set(phase.stages):
            break
        below = [(name, _declaration(model.stages[name])) for name in _stages_up_to(model, phases[: place + 1])]
        found.append((common, phase.stages, phase.rules, epochs[place], below))
    return found


def count_alike(one, other):
    """How many of the leading phases of two runs are alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def begin_after(run, model, encoder, data, settings):
    """Copy into a new model what a run has learned in the leading phases that both train alike.

    Args:
        run: the folder of the other run, which may still be trained.
        model, encoder, data, settings: of the new one; the settings with one number of epochs for each phase.

    Returns the ``Progress`` behind these phases, a record of it for args.json, and the sentences to be said of it.
    Errors: InputError if there is no such run, or no phase is alike.
    """
    content = load_checkpoint(Path(run) / "checkpoints" / "last.safetensors")
    if content.progress is None:
        raise InputError(f"--after {run}: that is a network, but no run")
    there, flags = content.progress, TrainSettings.from_dict(content.run.get("flags"))
    other = rebuild_network(content)
    encodings = [encoder_config(build_encoder(content.encoding)), encoder_config(encoder)]
    alike = count_alike(
        leading_phases(other, encodings[0], flags, flags.epochs),
        leading_phases(model, encodings[1], settings, settings.epochs),
    )
    if not alike or content.run.get("fingerprint") != data.set.fingerprint:
        raise InputError(
            f"--after {run}: it trains no phase as this run would; the images, the seed, the encoder, the stages from "
            "the lowest on and their numbers of epochs must be the same"
        )
    over = there.phase + (there.phase < len(flags.epochs) and there.epoch >= flags.epochs[there.phase])
    phases = model.phases[: min(alike, over)]
    if not phases:
        return Progress(), {}, [f"{run} has not come to the end of a phase yet: all phases are trained here"]
    own, theirs = model.state_dict(), other.state_dict()
    for name in _stages_up_to(model, phases):
        for key in (key for key in own if key.startswith(f"stages.{name}.")):
            own[key].copy_(theirs[key])
    names = [phase.name for phase in phases]
    progress = Progress(
        phase=len(phases), history=there.history[: sum(settings.epochs[: len(phases)])],
        phase_seconds={name: there.phase_seconds[name] for name in names if name in there.phase_seconds},
    )  # fmt: skip
    note = f"{' '.join(names)} as {run} has trained them, in the seconds that it took there"
    return progress, {"after": {"run": str(run), "phases": names}}, [note]


def _stages_up_to(model, phases):
    """The names of all stages up to the highest that learns in these phases."""
    names = list(model.stages)
    return names[: 1 + max(names.index(name) for phase in phases for name in phase.stages)]


def _declaration(stage):
    """The kind of a stage and the parameters that it was made with."""
    branches = [_declaration(branch) for branch in getattr(stage, "branches", ())]
    return type(stage), branches or stage.declared(), stage.inputs


def _way_of_training(network):
    """None of a network that only declares; one that has code of its own trains like nothing but itself."""
    above = network.__mro__[: network.__mro__.index(NetworkTrainer)]
    own = {name: value for kind in above for name, value in vars(kind).items() if name not in DECLARED}
    code = any(inspect.isroutine(value) or isinstance(value, property) for value in own.values())
    known = any(hasattr(NetworkTrainer, name) for name in own if not name.startswith("__"))
    return network if code or known else None
