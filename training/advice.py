"""The one command that a run advises to type next: its own, with all advice, or a sweep over networks."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from engine.rules import RSTDP
from models.control2026 import Control2026
from report.diagnosis import is_near_chance, join_advice
from report.results import Table
from run_folder import RunFolder, list_plugins
from training.plan import Plan
from training.settings import TrainSettings
from utils import join_words

# Gains are those of results/logs/advice.log.
REASONS = {
    "epochs": "features need more epochs (gains on other data: 15 to 27 points)",
    "converge": "features learn until they have converged (gains on other data: 0.5 to 76 points)",
    "encoder": "the usual encoder (gains on other data: 11 to 75 points)",
    "spread": "the decision learns from the given labels alone",
    "set.threshold": "neurons fire at a lower threshold (gains on other data: 50 to 97 points)",
    "set.rule": "the margin rule in place of R-STDP (gains on other data: 0.3 to 18 points)",
}
SWEPT = {1: ("multiscale2026", Control2026.name, "quick2026"), 3: ("colour2026_counts", Control2026.name)}  # by colours


class Next(NamedTuple):
    """A command line, and why to type it."""

    command: str
    reason: str


def advise_rule(plan: Plan, table: Table) -> dict[str, Any]:
    """Return the advice to decide by the margin rule, if R-STDP has learned less than a simple method."""
    model = plan.model
    network, best = find_best(table)
    if not best or is_near_chance(network, model.num_classes) or model.phases[-1].main_rule.name != RSTDP.name:
        return {}
    return {} if model.declaration[model.find_decision()].fires else {f"set.{model.decision}.rule": "margin"}


def find_best(table: Table) -> tuple[float, str]:
    """Return the accuracy of the network, and the best reference that is above it; "" if none is, or no network."""
    networks = [row["accuracy"] for row in table["rows"] if row["kind"] == "network"]
    accuracy = max(networks, default=1.0)
    for row in table["rows"]:
        if row["kind"] == "reference" and row["accuracy"] > accuracy:
            return accuracy, row["name"]
    return accuracy, ""


def choose_next(plan: Plan, folder: Path, advice: Mapping[str, Any], table: Table | None = None) -> Next | None:
    """Return what to type next; None if there is nothing to advise.

    folder: of the run, whose args.json contains the command line that it repeats. advice: of all findings. table: the
    results, if the run has ended.
    """
    settings = plan.settings
    started = RunFolder(folder).args
    words = shlex.split(started.get("command_line") or "")
    flags = join_advice(advice, plan.lengths, settings.set)
    if not words:
        return None
    if flags:
        kinds = dict.fromkeys(name_kind(key) for key in advice)
        reason = "; ".join(REASONS[kind] for kind in kinds)
    elif table and (best := find_best(table)[1]):
        return Next(f"python sweep.py {join_words(list_sweep(plan))}", f"{best} reaches more: another network may, too")
    else:
        return None
    if started.get("flags", {}).get("epochs") != [*settings.epochs]:  # it was resumed to train longer
        flags = {"--epochs": [*map(str, settings.epochs)], **flags}
    if settings.name:
        flags["--name"] = [find_free_name(settings)]
    return Next(f"python {join_words(replace_flags(words, flags))}", reason)


def name_kind(key: str) -> str:
    """Return the key of REASONS for a key of an advice, such as "set.rule" for "set.s3.rule"."""
    head, *rest = key.split(".")
    return f"{head}.{rest[-1]}" if head == "set" else head


def list_sweep(plan: Plan) -> list[str]:
    """Return the words of the sweep over networks on the data of a run."""
    settings = plan.settings
    words = []
    for name, setting in settings.declared().items():
        value = getattr(settings, name)
        if setting.group == "data" and name not in ("test", "spread") and value not in (setting.default, None):
            values = value if isinstance(value, tuple) else (value,)
            words += [setting.flag] if setting.type is bool else [setting.flag, *map(str, values)]
    words += ["--model", *SWEPT[plan.splits.data.colours], "--grid", "augment", "none", "default", "--no-test"]
    return [*words, "--output", str(Path(settings.output, "which")), *list_plugins()]


def find_free_name(settings: TrainSettings) -> str:
    """Return the name of a run of which no folder exists, "NAME-2" for instance."""
    names = (f"{settings.name}-{number}" for number in count(2))
    return next(name for name in names if not Path(settings.output, name).exists())


def replace_flags(words: Sequence[str], flags: Mapping[str, Sequence[str] | None]) -> list[str]:
    """Return a command line in which flags have these values; None: it does not contain the flag."""
    kept = []
    is_kept = True
    for word in words:
        if word.startswith("--"):
            flag, _, _ = word.partition("=")
            is_kept = flag not in flags
        if is_kept:
            kept.append(word)
    for flag, values in flags.items():
        if values is not None:
            kept += [flag, *values]
    return kept
