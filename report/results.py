"""The table of results: what a network reaches, against what, and what that says.

``tabulate`` makes its rows, once. The log, the page and methods.md show them, and results.json contains them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np

from report.evaluation import (
    Accuracy,
    Evaluation,
    Metrics,
    compute_balanced_accuracy,
    describe_only_decision,
    measure_balance,
)

WIDTH = 79  # characters of a line in the log
NAME_WIDTH = 44  # of a name in the table
CLASS_WIDTH = 24  # of the name of a class
NAMED = 10  # classes in a line, at most
TITLES = {
    "nearest neighbour": "nearest neighbour of the pixels",
    "linear classifier": "linear classifier of the pixels",
    "control2026": "control2026 (no features)",
}

Table = dict[str, Any]


def tabulate(
    split: str,
    networks: Mapping[str, Evaluation],
    class_names: Sequence[str],
    measured: Mapping[str, Any] = {},
) -> Table:
    """Return the table of results.

    Args:
        split: the split of the images.
        networks: {name: evaluation}, the network that is compared first; {} if it has no decision stage.
        measured: as ``measure_references`` returns it.

    Returns "split"; "rows", the best first and chance last: dicts of "name", "accuracy", the number of "images", the 95
    % "interval", the "kind" ("network", "other" network, "reference" or "chance"), and "better", whether a reference
    is, by more than chance; and sentences: "notes" on these, "classes" on unequal classes.
    """
    references: dict[str, float] = dict(measured.get("references", {}).get(split, {}))
    largest = references.pop("largest class", None)
    count = measured.get("reference_images", {}).get(split, 0)
    compared = [(TITLES.get(name, name), Accuracy(value, count)) for name, value in references.items()]
    rows = []
    for number, (name, evaluation) in enumerate(networks.items()):
        rows.append(make_row(name, evaluation.accuracy, "other" if number else "network"))
    chance = Accuracy(1 / len(class_names), count)
    name = "chance"
    notes: list[str] = []
    classes: list[str] = []
    for network in [*networks.values()][:1]:
        notes = [*compare(network.accuracy, compared), *describe_decisions(network.metrics, class_names)]
        classes = [*describe_balance(network.metrics, class_names)]
        if measure_balance(network.metrics) is not None and largest is not None:
            name, chance = "always the largest class", Accuracy(largest, count)
        for each, accuracy in compared:
            rows.append(make_row(each, accuracy, "reference", accuracy.is_above(network.accuracy)))
    if not networks:
        rows = [make_row(each, accuracy, "reference") for each, accuracy in compared]
    rows.sort(key=lambda row: -row["accuracy"])
    rows.append({"name": name, "accuracy": chance.fraction, "kind": "chance"})
    return {"split": split, "rows": rows, "notes": notes, "classes": classes}


def make_row(name: str, accuracy: Accuracy, kind: str, is_better: bool = False) -> dict[str, Any]:
    row = {"name": name, "accuracy": accuracy.fraction, "images": accuracy.count, "interval": accuracy.interval}
    return {**row, "kind": kind, "better": is_better}


def compare(network: Accuracy, references: Sequence[tuple[str, Accuracy]]) -> Iterator[str]:
    """Yield which references the images cannot tell from the network, and how many images could.

    For a difference d, n images could, if d is two standard errors of the difference: n = 4 (Σ p (1 - p)) / d².
    """
    alike = [each for each in references if not each[1].is_above(network) and not network.is_above(each[1])]
    if not alike:
        return
    _, nearest = max(alike, key=lambda each: abs(each[1].fraction - network.fraction))
    text = f"{nearest.count:,} images cannot tell the network from {' or '.join(name for name, _ in alike)}"
    if difference := abs(nearest.fraction - network.fraction):
        variance = sum(p * (1 - p) for p, _ in (network.estimate(), nearest.estimate()))
        needed = 4 * variance / difference**2
        step = 10 ** max(0, math.floor(math.log10(needed)) - 1)
        text += f"; about {math.ceil(needed / step) * step:,} could"
    yield text


def describe_decisions(metrics: Metrics, class_names: Sequence[str]) -> Iterator[str]:
    """Yield whether images are silent, and the weakest class if it is weaker than chance explains.

    If all decisions are for one class, this is the text. metrics: of ``evaluate_predictions``.
    """
    names = quote_names(class_names)
    if metrics["silent"]:
        yield f"silent (no neuron decides, which counts as wrong): {100 * metrics['silent']:.2f} % of the images"
    if only := describe_only_decision(metrics, names):
        yield only
        return
    support = np.array(metrics["per_class"]["support"])
    numbers = np.flatnonzero(support)
    weakest = numbers[np.array(metrics["per_class"]["recall"])[numbers].argmin()]
    recall = Accuracy(metrics["per_class"]["recall"][weakest], support[weakest])
    if Accuracy(metrics["accuracy"], metrics["count"]).is_above(recall):
        yield f"weakest class: {names[weakest]}, {100 * recall.fraction:.2f} % of {recall.count:,} images"


def describe_balance(metrics: Metrics, class_names: Sequence[str]) -> Iterator[str]:
    """Yield, if the classes are unequal, their mean accuracy and those without a correctly classified image."""
    if measure_balance(metrics) is None:
        return
    names = quote_names(class_names)
    support = np.array(metrics["per_class"]["support"])
    numbers = np.flatnonzero(support)
    ends = int(support.argmax()), int(numbers[support[numbers].argmin()])
    counts = [f"{support[number]:,} images of {names[number]}" for number in ends]
    mean = compute_balanced_accuracy(metrics)
    yield f"the classes are unequal, {' to '.join(counts)}: mean of the classes (balanced accuracy) {mean}"
    missed = numbers[np.array(metrics["per_class"]["recall"])[numbers] == 0]
    if len(missed):
        more = f" and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
        yield f"no image is correct of {', '.join(names[number] for number in missed[:NAMED])}{more}"


def quote_names(class_names: Sequence[str]) -> list[str]:
    return [f'"{shorten(name, CLASS_WIDTH)}"' for name in class_names]


def format_table(table: Table) -> Iterator[str]:
    """Yield the lines of the table of results, and its notes."""
    rows = table["rows"]
    count = max(row.get("images", 0) for row in rows)
    title = f"{count:,} {table['split']} images"
    yield ""
    yield f"{title:<{NAME_WIDTH + 2}} accuracy  95 % interval"
    for row in rows:
        mark = ">" if row["kind"] == "network" else " "
        name = row["name"]
        if row.get("images", count) < count:
            name = f"{shorten(name, 31)} ({row['images']:,})"
        text = f"{mark} {shorten(name, NAME_WIDTH):<{NAME_WIDTH}} {100 * row['accuracy']:6.2f} %"
        if interval := row.get("interval"):
            low, high = interval
            text += f"  {100 * low:5.1f} to {100 * high:5.1f}"
        if row.get("better"):
            text += "  better"
        yield text
    for note in (*table["notes"], *table["classes"]):
        yield from wrap(note, WIDTH, subsequent_indent="  ")


def format_findings(findings: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of the table of findings. findings: stage, what was measured, what is usual."""
    if not findings:
        return
    yield ""
    first = max(5, *(len(stage) for stage, _, _ in findings))
    half = (WIDTH - first - 4) // 2
    for row in (("stage", "measured", "usual"), *findings):
        stage, *texts = row
        columns = [wrap(text, half) or [""] for text in texts]
        for number in range(max(map(len, columns))):
            cells = [column[number] if number < len(column) else "" for column in columns]
            name = "" if number else stage
            yield f"{name:<{first}}  {cells[0]:<{half}}  {cells[1]}".rstrip()
    yield "(more in docs/did_my_layer_learn.md)"


def shorten(text: str, width: int) -> str:
    """Return a text of at most this number of characters: "…" replaces its middle."""
    if len(text) <= width:
        return text
    half = width // 2
    return f"{text[: width - half - 1]}…{text[-half:]}"
