"""Whether a checkpoint fits the network that it names: its weights, and where its run stands."""

import math

import torch

from errors import InputError
from training.kinds import MOST, refuse, short, tensor


def check_state(state, model, where="state"):
    """Errors: InputError unless the state has the network's entries, of their shapes and types, finite and possible."""
    declared = model.state_dict()
    for key in (*declared, *state):
        if key not in state or key not in declared:
            raise InputError(f"its {where} {'has no' if key in declared else 'has an unknown'} {key}")
        if (state[key].shape, state[key].dtype) != (declared[key].shape, declared[key].dtype):
            refuse(f"{where}[{key!r}]", state[key], short(declared[key]))
        counts = declared[key].dtype == torch.int64
        tensor((declared[key].dtype,), least=0 if counts else None)(state[key], f"{where}[{key!r}]")
        if counts and int(state[key].max()) > MOST:
            raise InputError(f"its {where}[{key!r}] reaches {int(state[key].max())}, over {MOST}")


def check_bounds(state, model, where="state"):
    """Errors: InputError if weights of a stage that has learned lie outside the bounds of its rule.

    ``model`` has its first weights: where these are still there, nothing has clipped them.
    """
    first = model.state_dict()
    for key, weight in state.items():
        conv = model.get_submodule(key.rpartition(".")[0])
        if not key.endswith(".weight") or not conv.rules or torch.equal(weight, first[key].cpu()):
            continue
        seen = state.get(key.replace(".weight", ".images_seen"), torch.zeros(1))
        rewarded = state["rl_batches"] if any(rule.needs_labels for rule in conv.rules) else torch.zeros(1)
        if not (seen.any() or rewarded.any()):
            continue
        rules = [rule.plasticity(lambda bound, like=weight: like.new_tensor(bound).item()) for rule in conv.rules]
        lower = min(getattr(rule, "lower", -math.inf) for rule in rules)
        upper = max(getattr(rule, "upper", math.inf) for rule in rules)
        least, most = weight.min().item(), weight.max().item()
        if least < lower or most > upper:
            raise InputError(
                f"its {where}[{key!r}] has learned, so it lies within {lower:g} and {upper:g}, but reaches from "
                f"{least:g} to {most:g}"
            )


def check_progress(progress, model, epochs):
    """Errors: InputError unless the progress is one of the network, with so many epochs in each phase."""
    phases = model.phases
    if epochs and len(epochs) != len(phases):
        refuse("run.flags.epochs", epochs, f"{len(phases)} numbers, one for each phase")
    if progress["phase"] > len(phases):
        refuse("progress.phase", progress["phase"], f"at most {len(phases)}")
    most = 0 if progress["phase"] == len(phases) else epochs[progress["phase"]] if epochs else MOST
    if progress["epoch"] > most:
        refuse("progress.epoch", progress["epoch"], f"at most {most}")
    names = {phase.name for phase in phases}
    for place, row in enumerate(progress.get("history", ())):
        if row["phase"] not in names:
            refuse(f"progress.history[{place}].phase", row["phase"], f"one of {', '.join(sorted(names))}")
    features = {label: conv.out_channels for label, conv in model.named_convs()}
    wins = progress.get("wins", {})
    for label, counts in wins.items():
        if len(counts) != features.get(label):
            refuse(f"progress.wins[{label!r}]", counts, "one number for each feature of a stage")
    if progress["batch"] and progress["phase"] < len(phases):
        for label, _ in model.named_convs(phases[progress["phase"]].stages):
            if label not in wins:
                raise InputError(f"its progress.wins has no {label}, which learns")


def check_batches(progress, images, batch_size):
    """Errors: InputError unless the progress is within an epoch of so many images."""
    done = progress.batch * batch_size
    if done >= images + batch_size:
        refuse("progress.batch", progress.batch, f"one of the batches of {images:,} images")
    for field in ("tally", "told"):
        if sum(getattr(progress, field)) > min(done, images):
            refuse(f"progress.{field}", getattr(progress, field), f"outcomes of {min(done, images):,} images at most")
