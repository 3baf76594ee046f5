"""What a network's declaration must fulfil so that the network can be trained."""

from itertools import chain, pairwise
from typing import Any

from torch import nn

from engine.graph import StageGraph
from engine.rules import Rule
from engine.stages import INPUT, Stage
from errors import InputError


def check_declaration(stages: Any) -> dict[str, Stage]:
    """Return what ``build`` of a network has returned. Raises InputError unless it is a dict of stages."""
    is_usable = isinstance(stages, dict) and any(getattr(stage, "convs", ()) for stage in stages.values())
    if not is_usable:
        raise InputError(f"build must return a dict of stages, some of which learn, not {stages!r}")
    parts = []
    for key, stage in stages.items():
        name = str(key)
        if not isinstance(stage, Stage):
            kinds = "SpikingConv, SpikingDense, Pool, Branches and Vote"
            raise InputError(f"{name} is a {type(stage).__name__}; stages are {kinds}")
        if not name.isidentifier() or hasattr(nn.ModuleDict, name) or name in (INPUT, "training"):
            raise InputError(f"a stage cannot be called {name!r}; use letters and digits, such as s1")
        parts += [id(part) for part in stage.convs or [stage]]
    if len(set(parts)) < len(parts):
        raise InputError("two stages or branches are one object: make one for each")
    return stages


def check_training(network: StageGraph) -> None:
    """Raise InputError if the stages could not be trained: what decides, what learns from rewards, what is read."""
    names = list(network.stages)
    for name, stage in network.stages.items():
        supervised = [rule for rule in stage.rules if rule.needs_labels]
        if stage.decides and name != names[-1]:
            raise InputError(f"{name} has no threshold, so it must be the last stage, which decides")
        if stage.decides and (not supervised or len(stage.rules) > 1):
            message = f"{name} decides, so it learns by one rule, which needs labels, such as RSTDP()"
            raise InputError(message)
        if supervised and not stage.decides:
            _check_rewarded(network, name, supervised[0])
    if not network.decision:
        return
    read = set(chain.from_iterable(map(network.inputs_of, names)))
    unread = [name for name in names[:-1] if name not in read]
    if unread:
        raise InputError(f"no stage reads {', '.join(unread)}")
    for label, conv in network.named_convs([network.decision]):
        if conv.out_channels % network.num_classes:
            message = f"{label} has {conv.out_channels} features, not as many for each of {network.num_classes} classes"
            raise InputError(message)


def _check_rewarded(network: StageGraph, name: str, rule: Rule) -> None:
    """Raise InputError unless the firing stage can learn from the decisions of the stage above it."""
    if not rule.rewards_firing:
        raise InputError(f"{name} has a threshold: {rule.title} is a rule for a last stage without one")
    names = list(network.stages)
    above = names[names.index(name) + 1 :]
    is_chain = all(network.inputs_of(upper) == (lower,) for lower, upper in pairwise([name, *above]))
    *between, top = [network.stages[other] for other in above] or [None]
    convolves = top is not None and top.decides and len(top.convs) == 1 and not top.sees_whole_maps
    pools = all(not stage.convs and not stage.padding for stage in between)
    if not (is_chain and convolves and len(between) <= 1 and pools):
        raise InputError(
            f"{name} learns from rewards, so one decision stage must follow it, a SpikingConv without a threshold, "
            f"with at most one Pool without padding between; the stages above it are {', '.join(above) or 'none'}",
        )
