"""The tables of docs/hyperparameters.md, from the declarations of the networks, of their rules and of the encoders."""

import re
from dataclasses import MISSING, fields
from itertools import takewhile
from typing import Any

from encoders import ENCODERS
from engine.declaration import Declared
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import SpikingConv, SpikingDense, Stage
from models import model_class, network_names

SHORT = {"padding": "p", "threshold": "θ", "winners": "K", "radius": "r", "size": ""}
COLUMNS = "network", "epochs", "encoder, augmentation", "stages"
SHOWN = "inputs", "branches", "out_channels", "kernel"  # in their own way


def format_value(value: Any) -> str:
    """Return a value in few signs, without spaces."""
    if isinstance(value, Declared):
        return f"({describe(value).replace(' ', ';')})"
    if isinstance(value, tuple):
        parts = map(format_value, value)
        return ",".join(
            f"({part})" if isinstance(item, tuple) else part for part, item in zip(parts, value, strict=True)
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe(declaration: Declared) -> str:
    """Return the fields that do not have their default values; those of a rule that is not STDP, after its name."""
    words = []
    for item in fields(declaration):
        value = getattr(declaration, item.name)
        if item.name == "rule":
            words.append(describe(value) if isinstance(value, STDP) else f"{value.title}({describe(value)})")
        elif item.name not in SHOWN and value != item.default:
            words.append(SHORT.get(item.name, f"{item.name}=") + format_value(value))
    return " ".join(filter(None, words))


def describe_stage(stage: Stage) -> str:
    """Return the settings of a stage, such as "30×5×5 p2 θ15 K5 r3"."""
    parts = []
    for part in stage.convs or (stage,):
        size = f"{part.out_channels}" if isinstance(part, SpikingConv) else ""
        if size and not isinstance(part, SpikingDense):
            size += f"×{part.kernel}×{part.kernel}"
        parts.append(" ".join(filter(None, (size, describe(part)))))
    inputs = f"({','.join(stage.inputs)})" * bool(stage.inputs)
    return " ".join(filter(None, (inputs, " + ".join(parts))))


def abbreviate(stages: list[str], before: dict[str, list[str]]) -> list[str]:
    """Return the stages without those that a network before this one has, too, at its bottom."""
    shared = {}
    for name, other in before.items():
        pairs = zip(stages, other, strict=False)
        shared[name] = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    name = max(shared, key=shared.get, default="")
    if shared.get(name, 0) < 2:
        return stages
    return [f"as `{name}` up to {stages[shared[name] - 1].split()[0]}", *stages[shared[name] :]]


def make_rows() -> list[tuple[str, ...]]:
    """Return the rows of the networks here, the oldest first: name, epochs, encoder and augmentation, stages."""
    rows = []
    found = {}
    for name in sorted(network_names(), key=lambda name: (re.findall(r"\d+", name), name)):
        model = model_class(name)
        if not model.__module__.startswith("models."):  # of a plugin
            continue
        declaration = model(num_classes=10).declaration
        stages = [f"**{label}** {describe_stage(stage)}" for label, stage in declaration.items()]
        training = [f"{type(model.encoder).__name__} {describe(model.encoder)}".strip()]
        training += [str(model.augmentation)] * bool(model.augmentation)
        training += [f"converge={model.converge}"] * bool(model.converge)
        shown = "<br>".join(abbreviate(stages, found))
        rows.append((f"`{name}`", " ".join(map(str, model.epochs)), ", ".join(training), shown))
        found[name] = stages
    return rows


def make_defaults() -> list[tuple[str, str]]:
    """Return the default values of the rules."""
    return [(rule.title, list_defaults(rule)) for rule in (STDP(winners=1, radius=0), RSTDP(), MarginRule())]


def make_encoders() -> list[tuple[str, str]]:
    """Return the names of the encoders here, sorted, their classes, and their fields with the default values."""
    here = [
        encoder for name, encoder in sorted(ENCODERS.items()) if encoder.__module__.startswith(("encoders.", "s1c1"))
    ]
    return [(f"`{encoder.name}`: {encoder.__name__}", list_defaults(encoder())) for encoder in here]


def list_defaults(declaration: Declared) -> str:
    """Return the fields that have default values, with these values."""
    items = [item for item in fields(declaration) if item.default is not MISSING]
    return " ".join(f"{item.name}={format_value(getattr(declaration, item.name))}" for item in items)
