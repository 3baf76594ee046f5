"""The table of a network's stages, their rules and the phases of its training, as text."""

import math
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from engine.stages import INPUT, Shape
from models import MODELS
from network_trainer import NetworkTrainer
from report.page import load_template

WIDTH = 100
TABLE = "{:<%d}  {:<%d}  {:>%d}  {:>%d}  {:>%d}  {:>%d}  {:>%d}"  # a line, for the widths of its columns


class SummaryRow(NamedTuple):
    """A row of the table; all are texts, ``weights`` is a number."""

    stage: str
    rule: str
    kernel: str = ""
    threshold: str = ""
    output: str = ""
    field: str = ""
    weights: int = 0


def list_models() -> str:
    """Return a paragraph about each network: description, stages, phases and default epochs."""
    models = [cls() for cls in sorted({*MODELS.values()}, key=lambda cls: cls.name)]  # also under aliases
    return load_template("models.txt").render(models=models)


def summarize(model: NetworkTrainer) -> str:
    """Return the table of a network's stages for images of its ``image_size``, its rules and its phases."""
    lines = [*list_rows(model)]
    total = sum(line.weights for line in lines)
    rows = [(*line[:-1], f"{line.weights:,}" if line.weights else "") for line in lines]
    widths = [max(map(len, column)) for column in zip(SummaryRow._fields, *rows, strict=True)]
    dashes = ["-" * width for width in widths]
    form = TABLE % tuple(widths)
    table = [form.format(*row).rstrip() for row in (SummaryRow._fields, dashes, *rows)]
    return load_template("summary.txt").render(model=model, table=table, total=total, rules=describe_rules(model))


def list_rows(model: NetworkTrainer) -> Iterator[SummaryRow]:
    """Yield the rows: one for each convolution of a stage, and one for the stage unless it is a single convolution."""
    shapes = model.shapes(*model.image_size)
    fields_of = {INPUT: (1, 1)}  # {name of a map: (receptive field, stride)}
    for name, stage in model.declaration.items():
        below = shapes[model.input_name(name)]
        field_below = fields_of[model.inputs_of(name)[0]]
        fields_of[name] = stage.receptive_field(*field_below)
        source = f" of {', '.join(stage.inputs)}" if stage.inputs else ""
        for layer_name, layer in model.named_layers([name]):
            conv = layer.stage
            rule = conv.rule.title if conv.rule else "none"
            kernel, output, field = "all", f"{conv.out_channels}", "all"
            if not conv.sees_whole_maps:
                kernel = f"{conv.kernel}×{conv.kernel}"
                output = _to_size(conv.shape([below]))
                side, _ = conv.receptive_field(*field_below)
                field = f"{side}×{side}"
            weights = math.prod(conv.weight_shape(below[0]))
            threshold = f"{layer.threshold:.4g}" if conv.fires else "∞"
            yield SummaryRow(layer_name + source, rule, kernel, threshold, output, field, weights)
        if len(stage.convs) != 1:
            kernel = f"{stage.window}×{stage.window}" if stage.window > 1 else ""
            label = name + source if kernel else name
            side, _ = fields_of[name]
            yield SummaryRow(label, stage.title, kernel, output=_to_size(shapes[name]), field=f"{side}×{side}")


def _to_size(shape: Shape) -> str:
    return "×".join(map(str, shape))


def describe_rules(model: NetworkTrainer) -> list[str]:
    """Return lines about each rule: the stages or branches that learn by it, and its parameters."""
    groups = defaultdict(list)
    for layer_name, layer in model.named_layers():
        for rule in layer.stage.rules:
            groups[str(rule)].append(layer_name)
    lines = []
    for rule, labels in groups.items():
        lines += textwrap.wrap(
            f"{', '.join(labels)}: {rule}", WIDTH, initial_indent="  ", subsequent_indent="      ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return lines
