"""The table of a network's stages, as text."""

import math

from engine.rules import RSTDP
from engine.stages import Pool
from models import FAULTY, MODELS


def list_models():
    """One paragraph for each network: what it is, its stages, phases and default epochs; of a faulty one, its fault."""
    paragraphs = []
    for name, cls in MODELS.items():
        if name != cls.name:
            continue
        try:
            paragraphs.append(_describe(cls))
        except Exception as error:  # a fault in one declaration must not hide the others
            paragraphs.append(f"{name}: cannot be built: {' '.join(str(error).split()) or type(error).__name__}")
    for module, trace in FAULTY.items():
        paragraphs.append(f"{module}: models/{module}.py cannot be imported: {trace.strip().splitlines()[-1]}")
    return "\n".join(paragraphs)


def _describe(cls):
    model = cls()
    alias = f" (also {', '.join(cls.aliases)})" if cls.aliases else ""
    about = (cls.__doc__ or "").strip().partition("\n")[0]
    epochs = ", ".join(f"{phase.name} {count}" for phase, count in zip(model.phases, cls.epochs, strict=True))
    return f"{cls.name}{alias}: {about}\n    stages {' '.join(model.stages)}; phases and default epochs: {epochs}"


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
