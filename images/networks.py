"""Draw the pictures of the networks: ``python images/networks.py [folder]``, by default into the folder of this script.

All numbers are read from the networks' declarations.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from encoders import choose_encoder  # noqa: E402
from engine.stages import Branches, Inhibit, Pool, Vote  # noqa: E402
from models import model_class  # noqa: E402

# From the colour-blind-safe palette of Okabe and Ito. Blue: STDP; orange: R-STDP.
BLUE, ORANGE, INK, GREY, PALE = "#0072B2", "#D55E00", "#222222", "#767676", "#E9ECEF"
PURPLE = "#8A3A6B"  # the margin rule
ROW = 1.06  # inches of a row of a network that forks
BLOCK = 1.32  # inches of the highest blocks
DPI = 150
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.dpi": DPI,
}
PUBLISHED = {  # the networks of a figure, and texts about networks with the same stages
    "mozafari2018": "mozafari2018_margin: the same stages; s3 learns by the margin rule",
    "mozafari2018_shallow": "here for 160×160 pixels",
    "kheradpisheh2018": "",
    "deep2024": "",
    "deepr2024": "s3 first learns by STDP. deepr2024_greedy: the same stages; s3 and s4 learn in turn",
    "inception2024": "",
    "majority2024": "",
}
OWN = {
    "multiscale2026": "",
    "control2026": "",
    "colour2026_counts": "here for 32×32 pixels",
}
SIDE = {"mozafari2018_shallow": 160, "colour2026_counts": 32}  # pixels; of the others 28
COLOURS = {"colour2026_counts": 3}


def tint(color, strength):
    """Mix ``color`` with white. Strength 1 is the colour, 0 is white."""
    return tuple(1 - strength * (1 - channel) for channel in to_rgb(color))


def create_canvas(figure):
    """Create axes over the whole figure, without a frame, in inches."""
    width, height = figure.get_size_inches()
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return ax


def draw_box(ax, x, y, width, height, text, edge=GREY, fill=0.12, **font):
    """Draw a box with its lower left corner at (x, y)."""
    rounded = "round,pad=0,rounding_size=0.07"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=rounded, ec=edge, fc=tint(edge, fill), lw=1.5))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", **font)


def draw_arrow(ax, start, end, color=INK, **kwargs):
    kwargs = {"arrowstyle": "-|>", "mutation_scale": 14, "lw": 1.6, "shrinkA": 0, "shrinkB": 0} | kwargs
    ax.add_patch(FancyArrowPatch(start, end, color=color, **kwargs))


def draw_networks(notes):
    """Draw networks as blocks, {name: text about it}. All numbers are read from their declarations."""
    models = [build(name) for name in notes]
    extents = [compute_height(model) for model in models]
    above = [0.76 if notes[model.name] else 0.57 for model in models]
    below, legend = 0.3, 0.75
    line = sum(extents) + sum(above) + len(models) * below + legend
    figure = Figure(figsize=(10, line))
    plane = create_canvas(figure)
    for model, extent, head in zip(models, extents, above, strict=True):
        description = type(model).__doc__.splitlines()[0].rstrip(".")
        weights = sum(layer.weight.numel() for _, layer in model.named_layers())
        plane.text(0.15, line - 0.18, model.name, fontweight="bold", fontsize=13, va="center")
        plane.text(9.85, line - 0.18, f"{weights / 1e6:.2f} M weights", va="center", ha="right")
        plane.text(0.15, line - 0.41, description, va="center", color=GREY)
        plane.text(0.15, line - 0.6, notes[model.name], va="center", color=GREY)
        draw = draw_graph if is_forked(model) else draw_network
        draw(plane, model, line - head - extent / 2)
        line -= head + extent + below
        plane.plot([0.15, 9.85], [line + 0.12] * 2, color=PALE, lw=1.2)
    entries = [
        *((INK, "encoder"), (BLUE, "learns by STDP"), (ORANGE, "learns by R-STDP")),
        *((PURPLE, "learns by the margin rule"), (GREY, "pooling, inhibition")),
    ]
    used = {INK, *(describe_rule(stage)[1] for model in models for stage in model.declaration.values())}
    x = 0.25
    for color, name in (entry for entry in entries if entry[0] in used):
        plane.plot(x, 0.58, "s", color=color, ms=10)
        plane.text(x + 0.17, 0.58, name, va="center")
        x += 0.55 + 0.09 * len(name)
    words = "θ threshold (∞: at the last time step the strongest decides), K winners per image, r inhibition radius"
    plane.text(0.17, 0.24, words, va="center")
    return figure


def build(name):
    """Build a network for ten classes."""
    network = model_class(name)
    encoder = choose_encoder(network.encoder, colours=COLOURS.get(name, 1))
    side = SIDE.get(name, 28)
    return network(in_channels=encoder.channels, num_classes=10, image_size=encoder.shape(side, side))


def is_forked(model):
    """Return whether a stage reads another stage than the one below it, or whole maps."""
    return any(stage.inputs or stage.sees_whole_maps for stage in model.declaration.values())


def compute_height(model):
    """Return the height of a network in inches."""
    if is_forked(model):
        return ROW * len(find_tips(model))
    return 2.0 if any(isinstance(stage, Branches) for stage in model.declaration.values()) else BLOCK


def find_tips(model):
    """Return the maps that only the decision stage reads, bottom up. Each has a row."""
    read_below = {other for name in model.declaration if name != model.decision for other in model.inputs_of(name)}
    return [name for name in model.inputs_of(model.decision) if name not in read_below]


def draw_graph(plane, model, middle, gap=0.17):
    """Draw a network whose decision stage reads several maps: a column for each depth, a row for each of these maps."""
    rows = {name: row for row, name in enumerate(find_tips(model))}
    depths, sizes = {"input": 0}, {name: shape[1:] for name, shape in model.shapes(*model.image_size).items()}
    for name in model.declaration:
        depths[name] = 1 + max(depths[other] for other in model.inputs_of(name))
    for name in [*model.declaration][
        ::-1
    ]:  # as near to what reads it as there is room, between the rows of its readers
        readers = [other for other in model.declaration if name in model.inputs_of(other)]
        if readers:
            depths[name] = min(depths[other] for other in readers) - 1
        below = [rows[other] for other in readers if other != model.decision]
        if name != model.decision:
            rows.setdefault(name, sum(below) / max(1, len(below)))
    rows["input"] = (len(find_tips(model)) - 1) / 2
    direct = [rows[name] for name in model.inputs_of(model.decision) if name not in find_tips(model)]
    rows[model.decision] = direct[0] if direct else rows["input"]  # its arrow passes between those of others
    width_of = {"input": 1.0} | {n: 1.7 if stage.convs else 0.8 for n, stage in model.declaration.items()}
    x, left = 0.15, {}
    for depth in range(max(depths.values()) + 1):
        left[depth] = x
        x += max(width_of[name] for name in depths if depths[name] == depth) + gap

    def place(name):
        return left[depths[name]], middle + ROW * ((len(find_tips(model)) - 1) / 2 - rows[name])

    for name, stage in model.declaration.items():
        for other in model.inputs_of(name):
            start, end = place(other), place(name)
            draw_arrow(
                plane, (start[0] + width_of[other] + 0.01, start[1]), (end[0] - 0.01, end[1]), mutation_scale=9, lw=1.2
            )
        learned, color = describe_rule(stage)
        if name == model.decision:
            lines = [f"{stage.out_channels} neurons", "see all maps", describe_threshold(stage)]
        elif stage.convs:
            lines = [
                f"{stage.out_channels} maps, {format_size(sizes[name])}",
                f"kernel {format_size([stage.kernel] * 2)}",
            ]
            lines.append(f"{describe_threshold(stage)}, {describe_winners(stage)}")
        else:
            lines = describe_pool(stage, sizes[name])
        head = name if learned is None else f"{name} {learned}"
        draw_block(plane, *place(name), width_of[name], 0.78 if len(lines) < 3 else 0.95, head, lines, color)
    maps = [f"{model.in_channels} maps", format_size(model.image_size)]
    draw_block(plane, *place("input"), width_of["input"], 0.95, describe_encoder(model), maps, INK)
    end = place(model.decision)
    draw_block(plane, x, end[1], 0.8, 0.85, None, [f"{model.num_classes}", "classes"], INK)
    draw_arrow(plane, (x - gap + 0.01, end[1]), (x - 0.01, end[1]), mutation_scale=9, lw=1.2)


def draw_network(plane, model, middle, gap=0.13):
    """Draw a network as blocks from left to right, around the height ``middle``."""
    x, size, maps = 0.15, model.image_size, model.in_channels
    narrow, wide, wider = 0.74, 1.12, 1.45
    draw_block(plane, x, middle, narrow, 0.85, describe_encoder(model), [f"{maps} maps", format_size(size)], INK)
    x += narrow
    ends = [middle]  # heights where the arrows to the next stage start
    shapes = model.shapes(*size)
    for name, stage in model.declaration.items():
        output = shapes[name][1:]
        learned, color = describe_rule(stage)
        if isinstance(stage, Pool):
            width, starts = narrow, [middle]
            draw_block(plane, x + gap, middle, width, 0.85, name, describe_pool(stage, output), color)
        elif isinstance(stage, Branches):
            width, starts = wider, [middle + 0.44, middle - 0.06, middle - 0.56]
            draw_block(plane, x + gap, middle + 0.81, width, 0.25, f"{name} {learned}", [], color)
            for branch, y in zip(stage.branches, starts, strict=True):
                output_size = format_size(branch.shape([(1, *size)])[1:])
                lines = [
                    f"{format_size([branch.kernel] * 2)}, {describe_threshold(branch)}",
                    f"{branch.out_channels} maps, {output_size}",
                ]
                draw_block(plane, x + gap, y, width, 0.44, None, lines, color)
            together = f"together {stage.out_channels} maps, {format_size(output)}; "
            note = ("" if isinstance(stage, Vote) else together) + describe_winners(stage.branches[0])
            plane.text(x + gap + width / 2, middle - 0.9, note, ha="center", va="center", fontsize=11)
        else:
            width, starts = wide if stage.kernel < 10 else 1.2, [middle]
            lines = [f"{stage.out_channels} maps", format_size(output), f"kernel {format_size([stage.kernel] * 2)}"]
            draw_block(
                plane,
                x + gap,
                middle,
                width,
                BLOCK,
                f"{name} {learned}",
                [*lines, describe_threshold(stage), describe_winners(stage)],
                color,
            )
        connect(plane, x, ends, x + gap, starts)
        x, size, ends = x + gap + width, output, starts
    reader = ["majority", "of votes:"] if isinstance(stage, Vote) else [] if model.decision else ["linear", "SVM:"]
    lines = [*reader, f"{model.num_classes}", "classes"]
    draw_block(plane, x + gap, middle, narrow + 0.1, 0.85, None, lines, INK)
    connect(plane, x, ends, x + gap, [middle])


def draw_block(plane, x, middle, width, height, head, lines, color):
    """Draw a box with lines of text and, unless it is None, a coloured head."""
    strip = 0.25 if head else 0
    top = middle + height / 2
    draw_box(plane, x, top - height, width, height, "", color, 0.1)
    if head:
        draw_box(plane, x, top - strip, width, strip, head, color, 1, color="white", fontweight="bold", fontsize=11)
    font = {"ha": "center", "va": "center", "fontsize": 11.5, "linespacing": 1.2}
    plane.text(x + width / 2, top - strip - (height - strip) / 2, "\n".join(lines), **font)


def connect(plane, x, ends, next_x, starts):
    """Draw arrows from each of the heights ``ends`` at x to each of ``starts`` at next_x."""
    for end in ends:
        for start in starts:
            entry = start + 0.35 * (end - start) if len(ends) > 1 else start
            draw_arrow(plane, (x + 0.02, end), (next_x - 0.01, entry), mutation_scale=10, lw=1.3)


def describe_rule(stage):
    """Return the name and the colour of a stage's rule."""
    if not stage.convs:
        return None, GREY
    rule = stage.convs[0].rule
    return rule.title, {"R-STDP": ORANGE, "margin": PURPLE}.get(rule.title, BLUE)


def describe_pool(stage, size):
    """Return the lines of a pooling or an inhibition with a map of ``size``."""
    if isinstance(stage, Inhibit):
        return ["inhibit", f"first {stage.share:.0%}", format_size(size)]
    more = [f"pad {stage.padding}"] if stage.padding else []
    if stage.rank > 1:
        more = [f"rank {stage.rank}"]
    return [f"pool {stage.size}", *more, format_size(size)]


def describe_encoder(model):
    return {"s1c1": "S1C1"}.get(model.encoder.name, model.encoder.name)


def describe_threshold(conv):
    return f"θ={conv.threshold:g}" if conv.fires else "θ=∞"


def describe_winners(conv):
    return f"K={conv.rule.winners}" + (f", r={conv.rule.radius}" if conv.fires else "")


def format_size(size):
    return f"{size[0]}×{size[1]}"


FIGURES = {"networks.png": PUBLISHED, "networks-2026.png": OWN}


def draw_all(folder=HERE):
    """Write all figures into ``folder``, always with the same bytes for the same matplotlib and Pillow."""
    for name, notes in FIGURES.items():
        with style.context(["default", STYLE]):
            agg = FigureCanvasAgg(draw_networks(notes))
            agg.draw()
        # A palette makes the files three times smaller.
        colors = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        colors.save(Path(folder) / name, optimize=True, dpi=(DPI, DPI))


if __name__ == "__main__":
    draw_all(*sys.argv[1:2])
