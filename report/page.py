"""``index.html`` in a run's folder: a page about the run, which needs no network connection and no server.

Numbers and figures are those of the folder's files. The page contains the activation maps and the weights as bytes. Its
scripts draw them: ``page.js`` and ``emergence.js``, by ``tiles.js``. The template, ``page.html``, escapes all texts of
a run.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, Template, select_autoescape
from markupsafe import Markup, escape
from PIL import Image, ImageColor

from engine.layers import Layer
from engine.progress import COLUMNS, Row
from engine.stages import INPUT, Region, Stage
from network_trainer import NetworkTrainer
from report.activation_maps import find_neurons
from report.channels import describe_features, group_scales, name_channels, name_scales
from report.colors import POLARITY_COLORS, POLARITY_NAMES
from report.evaluation import measure_balance
from report.figures import DPI
from report.operations import COUNTED_IMAGES
from report.preferred import compute_preferred_features
from report.report import FIGURES, Report
from report.sheets import make_color_table, shade
from run_folder import RunFolder, list_plugins, read_json, read_text
from utils import join_words, write_text

PAGE = "index.html"
MAX_BYTES = 7_000_000  # of the maps (base64), so that the page stays below 20 MB
SHOWN_WEIGHTS = 51  # weights between the bounds of a rule, of which the page contains by how much they would change
CSS_DPI = 96  # of a browser: texts of all figures are of one size


@cache
def load_template(name: str) -> Template:
    """Return a compiled template of this folder."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "value": format_value,
        "balance": measure_balance,
        "command_line": join_words,
        "bold": mark_bold,
    }
    return environment.get_template(name)


def write_page(folder: Path, report: Report, results: dict | None = None) -> Path:
    """Write ``index.html`` of a report, and of results.json, figures/, args.json and summary.txt in the folder.

    A file that does not exist is left out, and so is a damaged args.json.

    results: shown in place of results.json. Returns the path. Raises InputError if it cannot be written.
    """
    if results is None:
        results = read_json(folder / "results.json")
    images, left_out = read_maps(folder / report.maps, report)
    data = {"images": images, "emergence": pack_emergence(report), "legend": describe_features(report.encoder)}
    if images:
        data |= collect_data(report)
    return write_training_page(
        folder,
        report.model,
        report.title,
        report.history,
        results,
        data,
        class_names=report.class_names,
        left_out=left_out,
    )


def write_training_page(
    folder: Path,
    model: NetworkTrainer,
    title: str,
    history: Sequence[Row],
    results: Mapping = {},
    data: Mapping = {},
    **more: object,
) -> Path:
    """Write ``index.html`` of a run; of one that still trains, with its epochs so far. See ``write_page``.

    A results.json that an earlier end of the run has left is not read.

    Args:
        results, data, more: what results.json contains, and what else the template reads, of a run that has ended.
    """
    shown = {name for name in COLUMNS if any(row[name] is not None for row in history)}
    page = load_template("page.html").render(
        model=model,
        title=title,
        evaluations=find_evaluations(results),
        results=results,
        counted=COUNTED_IMAGES,
        history=history,
        columns={name: column.page for name, column in COLUMNS.items() if column.page and name in shown},
        figures=read_figures(folder / "figures"),
        summary=read_text(folder / "summary.txt"),
        methods=read_text(folder / "methods.md"),
        args=read_json(folder / "args.json"),
        data=data,
        run=RunFolder(folder),
        plugins=list_plugins(),
        files=list_files(folder),
        **more,
    )
    path = folder / PAGE
    write_text(path, page)
    return path


def collect_data(report: Report) -> dict:
    """Return what the page's script draws beside the maps of the images: stages, weights, features and colours."""
    model = report.model
    encoder = report.encoder
    polarity = encoder.polarity
    groups = group_scales(polarity)
    features = compute_preferred_features(model, encoder)
    return {
        "steps": model.time_steps,
        "classes": report.class_names,
        "stages": describe_stages(model),
        "scales": name_scales(encoder),
        "channels": name_channels(encoder),
        "polar": any(polarity),
        "tints": {sign: ImageColor.getrgb(color) for sign, color in POLARITY_COLORS.items()},
        "tint_names": POLARITY_NAMES,
        "inputs": [[(channel, int(polarity[channel])) for channel in group] for group in groups],
        "weights": read_weights(model),
        "features": {layer_name: pack(pictures, -1, 1) for layer_name, pictures in features.items()},
        "legend": describe_features(encoder),
        "times": make_color_table("plasma", model.time_steps, 0, 0.95).tolist(),
        "times_in_the_dark": make_color_table("plasma", model.time_steps, 0.35, 0.95).tolist(),
        "potentials": make_color_table("Blues", 64).tolist(),
    }


def pack_emergence(report: Report) -> dict[str, dict]:
    """Return {layer: numbers of images, and the pictures of its features (moments + 1, F, h, w, 3)}."""
    packed = {}
    for layer_name, (images, features) in report.emergence.items():
        count = features.shape[1]
        tiles = shade(np.concatenate(features), count)
        shape = len(features), count, *tiles.shape[1:]
        packed[layer_name] = {"images": images, "shape": shape, "bytes": encode(tiles)}
    return packed


def find_evaluations(results: Mapping) -> list[tuple[str, dict]]:
    """Return (name, scores) of the evaluations in results.json. A network without a decision stage has none."""
    evaluations = []
    for split, which in product(("test", "validation"), ("best", "last")):
        scores = results.get(split, {})
        if which in scores:
            evaluations.append((f"{split}, {which} epoch", scores[which]))
    if not evaluations and "test" in results:
        evaluations.append(("test", results["test"]))
    return evaluations


def read_figures(folder: Path) -> list[tuple[str, str, str, int]]:
    """Return (name, caption, data URI, width on the page) of the figures."""
    figures = []
    for name, draw in FIGURES.items():
        others = tuple(f"{other}_" for other in FIGURES if other.startswith(f"{name}_"))
        for path in sorted([*folder.glob(f"{name}.png"), *folder.glob(f"{name}_*.png")]):
            if f"{path.stem}_".startswith(others):  # of a figure with a longer name
                continue
            stage = path.stem.removeprefix(name).strip("_")
            with Image.open(path) as picture:
                width = picture.width * CSS_DPI // DPI
            content = base64.b64encode(path.read_bytes()).decode()
            figures.append((name, f"{draw.caption} {stage}".strip(), f"data:image/png;base64,{content}", width))
    return figures


def list_files(folder: Path) -> list[str]:
    """Return the paths in the folder of the files with numbers and texts, sorted."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".json", ".npz", ".txt")]
    return [path.relative_to(folder).as_posix() for path in files]


def format_value(value: Any, form: str) -> str:
    """Format a value, such as a fraction by ".2%" or one of the history by the form of its ``Column``; None as ""."""
    return "" if value is None else format(value, form).replace("%", " %")


def mark_bold(text: str) -> Markup:
    """Return a text of HTML with the **bold** words of Markdown."""
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text))))


def pack(values: np.ndarray, low: float, high: float) -> dict:
    """Encode an array for the page's script: its shape, and the values from low to high as bytes 0 to 255."""
    levels = np.interp(values, (low, high), (0, 255)).round()
    return {"shape": levels.shape, "low": float(low), "high": float(high), "bytes": encode(levels)}


def encode(array: np.ndarray, kind: str = "u1") -> str:
    """Encode an array as bytes of this type, in base64."""
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode()


def read_maps(folder: Path, report: Report) -> tuple[list[dict], list[str]]:
    """Read the files of ``save_activation_maps`` in a folder, a dict for each image, up to the size limit of the page.

    Returns the dicts, and a line if some images are left out.
    """
    paths = sorted(folder.glob("*.npz"))
    found: list[dict] = []
    room = MAX_BYTES
    for path in paths:
        with np.load(path) as arrays:
            content = dict(arrays)
        index = int(content["index"])
        picture = report.images[index]
        entry = {
            "index": index,
            "label": int(content["label"]),
            "decision": int(content.get("decision", -2)),
            "maps": {name: encode(content[name]) for name in (INPUT, *report.model.declaration) if name in content},
            "potentials": pack_floats(content, "potentials"),
            "race": pack_floats(content, "race"),
            "picture": {"shape": picture.shape, "bytes": encode(picture)},
        }
        room -= len(json.dumps(entry))
        if room < 0:
            missing = len(paths) - len(found)
            return found, [f"the maps of {missing} of {len(paths)} images, which are in {folder}"]
        found.append(entry)
    return found, []


def pack_floats(content: dict[str, np.ndarray], key: str) -> dict[str, dict]:
    """Pack the arrays of an image whose names begin with a key, by the rest of their names (of a branch)."""
    return {
        name.removeprefix(key): {"floats": encode(content[name], "<f4")} for name in content if name.startswith(key)
    }


def read_weights(model: NetworkTrainer) -> dict[str, dict]:
    """Return {name of a layer: packed (F, C, k, k)}, bottom up, except for stages that see whole maps.

    Weights of stages that fire are float32: the page adds them up, as the kernels do to the bit.
    """
    weights = {}
    for layer_name, layer in model.named_layers():
        if not layer.stage.sees_whole_maps:
            weight = layer.weight.numpy(force=True)
            packed = weights[layer_name] = pack(weight, min(0, weight.min()), max(1, weight.max()))
            if layer.stage.fires:
                packed |= {"bytes": "", "floats": encode(weight, "<f4")}
    return weights


def describe_stages(model: NetworkTrainer) -> list[dict]:
    """Describe each stage for the page's script, from the input up.

    ``parts`` contains the parts of its maps (F, H, W), one for each branch, without padding: label, the name of its
    layer, first feature, number of features, top, left, rows, columns, kernel (0: none). ``reads``: side, stride and
    padding of the windows that its neurons read; none: whole maps. Of a layer that learns without labels, see
    ``describe_learning``.
    """
    regions = find_neurons(model, *model.image_size)
    shapes = model.shapes(*model.image_size)
    parts = {INPUT: [describe_part(INPUT, Stage(), regions[INPUT][0])]}
    facts = {INPUT: {"what": "the spikes of the encoder", "inputs": [], "decides": False}}
    for name, stage in model.declaration.items():
        inputs = model.inputs_of(name)
        layers = dict(model.named_layers([name]))
        labels = [*layers] or [name + part["label"].removeprefix(inputs[0]) for part in parts[inputs[0]]]
        kinds = stage.convs or [stage] * len(labels)
        parts[name] = []
        for label, kind, region in zip(labels, kinds, regions[name], strict=False):
            learning = describe_learning(layers[label]) if label in layers else {}
            parts[name].append(describe_part(label, kind, region) | learning)
        facts[name] = {"what": stage.explain(), "inputs": inputs, "decides": not stage.fires}
    return [{"name": name, **facts[name], "size": shapes[name][1:], "parts": parts[name]} for name in facts]


def describe_part(label: str, kind: Stage, region: Region) -> dict:
    features, rows, columns = region
    part = {
        "label": label,
        "first": features.start,
        "count": features.stop - features.start,
        "top": rows.start,
        "left": columns.start,
        "rows": rows.stop - rows.start,
        "columns": columns.stop - columns.start,
        "kernel": 0,
    }
    if not kind.sees_whole_maps:
        part["reads"] = [*kind.receptive_field(1, 1), getattr(kind, "padding", 0)]
    for conv in kind.convs:
        part["kernel"] = conv.kernel
        if conv.fires:
            part["threshold"] = conv.threshold
    return part


def describe_learning(layer: Layer) -> dict:
    """Return how the weights of a winner would change, with the current rates; nothing for a rule with labels.

    ``learns``: for each time step of the winner's spike, the number of the rate of inputs that spike at each time step,
    and of silent inputs. ``changes``: for each rate, those of weights from one of the ``bounds`` to the other.
    """
    rule = layer.stage.rule
    if rule is None or rule.needs_labels:
        return {}
    plasticity = rule.plasticity()
    times = np.arange(layer.time_steps + 1.0)
    window = plasticity.window(times, times[:-1, None], *layer.rates(rule).flatten().tolist())
    rates, which = np.unique(window, return_inverse=True)
    bounds = plasticity.lower, plasticity.upper
    weights = np.linspace(*bounds, SHOWN_WEIGHTS)
    after = weights + plasticity.change(weights, rates[:, None])
    changes = after.clip(*bounds) - weights
    return {"learns": which.reshape(window.shape).tolist(), "changes": changes.round(7).tolist(), "bounds": bounds}
