"""The table of a network's stages, as text."""

import math

from engine.rules import RSTDP
from engine.stages import Pool
from models import MODELS


def list_models():
    """One paragraph for each network: what it is, its stages, phases and default epochs."""
    paragraphs = []
    for name, cls in MODELS.items():
        if name != cls.name:
            continue
        model = cls()
        alias = f" (also {', '.join(cls.aliases)})" if cls.aliases else ""
        epochs = ", ".join(f"{phase.name} {count}" for phase, count in zip(model.phases, cls.epochs, strict=True))
        paragraphs.append(
            f"{name}{alias}: {cls.__doc__.strip().splitlines()[0]}\n"
            f"    stages {' '.join(model.stages)}; phases and default epochs: {epochs}"
        )
    return "\n".join(paragraphs)


def summarize(model, height, width):
    """The table of a network for images of height × width."""
    header = ("stage", "rule", "kernel", "threshold", "winners", "radius", "output", "field", "weights")
    rows, total = [], 0
    channels = model.in_channels
    field, stride = 1, 1  # receptive field in the encoded image, and distance between neighbouring neurons there
    for name, size in model.sizes(height, width):
        stage = model.stages[name]
        if isinstance(stage, Pool):
            field += (stage.size - 1) * stride
            stride *= stage.size
            shape = f"{channels}×{size[0]}×{size[1]}"
            rows.append((name, "pooling", f"{stage.size}×{stage.size}", "", "", "", shape, f"{field}×{field}", ""))
            continue
        widest = field
        own = dict(model.named_convs([name]))
        for label, conv in own.items():
            seen = field + (conv.kernel - 1) * stride
            widest = max(widest, seen)
            rows_out, columns_out = conv.output_size(*_input_size(model, name, height, width))
            total += conv.weight.numel()
            rule = conv.rule
            kind = "R-STDP" if isinstance(rule, RSTDP) else "STDP"
            threshold = "∞" if math.isinf(conv.threshold) else f"{conv.threshold:g}"
            rows.append(
                (label, kind, f"{conv.kernel}×{conv.kernel}", threshold, str(rule.winners), str(rule.radius),
                 f"{conv.out_channels}×{rows_out}×{columns_out}", f"{seen}×{seen}", f"{conv.weight.numel():,}")
            )  # fmt: skip
        channels = sum(conv.out_channels for conv in own.values())
        if len(own) > 1:
            what = "joined" if name != model.decision else "vote"
            rows.append((name, what, "", "", "", "", f"{channels}×{size[0]}×{size[1]}", f"{widest}×{widest}", ""))
        field = widest
    return (
        f"{model.name} for {model.in_channels}×{height}×{width} inputs\n{_table(header, rows)}\ntotal {total:,} weights"
    )


def _input_size(model, name, height, width):
    sizes = dict(model.sizes(height, width))
    below = model.between(None, name)
    return sizes[below[-1]] if below else (height, width)


def _table(header, rows):
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, tuple("-" * w for w in widths), *rows):
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
