"""``index.html`` in a run's folder: a page about the run, which needs no network connection and no server.

Numbers and figures are those of the folder's files. The page contains the activation maps and the weights as bytes, and
its script draws them. The template, ``page.html``, escapes all texts of a run.
"""

import base64
import csv
import json
import shlex
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, Template
from PIL import Image

from engine.stages import INPUT
from network_trainer import NetworkTrainer
from report.activation_maps import find_neurons
from report.energy import ASSUMPTIONS
from report.figures import DPI, group_scales
from report.map_pictures import make_color_table
from report.preferred import compute_preferred_features
from report.report import FIGURES, Report
from s1c1 import Encoder
from utils import write_text

# Bytes (base64), so that the page stays below 20 MB.
MAX_BYTES = {"maps": 7_000_000, "weights": 7_000_000, "figures": 4_000_000}
CSS_DPI = 96  # of a browser: texts of all figures are of one size


@cache
def load_template() -> Template:
    """Return the compiled template of the page."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = format_percent
    return environment.get_template("page.html")


def write_page(folder: Path, report: Report, maps: Path | None = None) -> Path:
    """Write ``index.html`` of results.json, metrics.csv, figures/, args.json and summary.txt in the folder.

    A file that does not exist is left out.

    Args:
        maps: folder with the ``.npz`` files of ``save_activation_maps``; their indices count in ``report.images``.

    Returns the path. Raises InputError if it cannot be written.
    """
    folder, model, polarity = Path(folder), report.model, report.encoder.polarity
    results, left_out = read_json(folder / "results.json"), []
    images = read_maps(maps, model, report.images, left_out)
    data = {"images": images}
    if images:
        features = compute_preferred_features(model, polarity)
        data |= {
            "steps": model.time_steps,
            "classes": list(map(str, report.class_names)),
            "stages": describe_stages(model, *report.images.shape[1:3]),
            "scales": report.encoder.scales,
            "inputs": [[(channel, int(polarity[channel])) for channel in group] for group in group_scales(polarity)],
            "weights": read_weights(model, left_out),
            "features": {label: pack(pictures, -1, 1) for label, pictures in features.items()},
            "times": make_color_table("plasma", model.time_steps, 0.95).tolist(),
            "potentials": make_color_table("Blues", 64).tolist(),
        }
    page = load_template().render(
        model=model,
        title=report.title,
        about=" ".join((type(model).__doc__ or "").split()),
        class_names=list(map(str, report.class_names)),
        evaluations=find_evaluations(results),
        results=results,
        assumptions=ASSUMPTIONS,
        history=read_rows(folder / "metrics.csv"),
        figures=read_figures(folder / "figures", left_out),
        summary=read_text(folder / "summary.txt"),
        args=read_json(folder / "args.json"),
        commands=list_commands(folder, results),
        data=data,
        left_out=left_out,
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def write_training_page(folder: Path, model: NetworkTrainer, encoder: Encoder, title: str) -> Path:
    """Write ``index.html`` of a run that still trains: its epochs so far. See ``write_page``."""
    nothing = np.empty(0, np.uint8)
    return write_page(folder, Report(model, encoder, nothing, nothing, torch.from_numpy(nothing), (), title))


def find_evaluations(results: dict) -> list[tuple[str, dict]]:
    """Return (name, scores) of the evaluations in results.json. A network without a decision stage has none."""
    found = [
        (f"{split}, {which} epoch", results[split][which])
        for split, which in product(("test", "validation"), ("best", "last"))
        if which in results.get(split, {})
    ]
    if not found and "test" in results:
        found.append(("test", results["test"]))
    return found


def read_figures(folder: Path, left_out: list[str]) -> list[tuple[str, str, str, int]]:
    """Return (name, caption, data URI, width on the page) of the figures, up to the size limit of the page."""
    found, room = [], MAX_BYTES["figures"]
    for name, (caption, _) in FIGURES.items():
        for path in sorted([*folder.glob(f"{name}.png"), *folder.glob(f"{name}_*.png")]):
            room -= path.stat().st_size * 4 / 3
            if room < 0:
                left_out.append(f"figures/{path.name}")
            else:
                with Image.open(path) as picture:
                    width = picture.width * CSS_DPI // DPI
                uri = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
                found.append((name, f"{caption} {path.stem.removeprefix(name).strip('_')}".strip(), uri, width))
    return found


def list_commands(folder: Path, results: dict) -> list[tuple[str, str]]:
    """Return (purpose, command line) of the commands that use the folder."""
    place, found = folder, []
    if any((folder / "checkpoints").glob("last.*")):
        epochs = read_json(folder / "args.json").get("flags", {}).get("epochs")
        if "flags" not in results or results["flags"]["epochs"] != epochs:  # it is not finished
            found.append(("resume an interrupted run", f"python train.py --resume {shlex.quote(str(place))}"))
    elif "checkpoint" in results:
        place = results["checkpoint"]
    else:
        return []
    evaluate = f"python evaluate.py {shlex.quote(str(place))}"
    found.append(("test the network again and save activation maps", f"{evaluate} --save-maps 1"))
    found.append(("classify an image file", f"{evaluate} --predict IMAGE.png"))
    return found


def format_percent(value: str | float | None) -> str:
    return "" if value in (None, "") else f"{100 * float(value):.2f} %"


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file as dicts of texts. A missing file has no rows."""
    return list(csv.DictReader(read_text(path).splitlines()))


def pack(values: np.ndarray, low: float, high: float) -> dict:
    """Encode an array for the page's script: its shape, and the values from low to high as bytes 0 to 255."""
    levels = np.round((np.asarray(values, np.float64) - low) * (255 / max(high - low, 1e-12))).clip(0, 255)
    return {"shape": list(levels.shape), "low": float(low), "high": float(high), "bytes": encode(levels)}


def encode(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, np.uint8).tobytes()).decode()


def read_maps(folder: Path | None, model: NetworkTrainer, images: np.ndarray, left_out: list[str]) -> list[dict]:
    """Read the maps in a folder, a dict for each image, up to the size limit of the page."""
    paths = sorted(folder.glob("*.npz")) if folder else []
    found, room = [], MAX_BYTES["maps"]
    for path in paths:
        with np.load(path) as arrays:
            content = dict(arrays)
        potentials = {key: values for key, values in content.items() if key.startswith("potentials")}
        picture = images[int(content["index"])]
        record = {
            "index": int(content["index"]),
            "label": int(content["label"]),
            "decision": int(content.get("decision", -2)),
            "maps": {name: encode(content[name]) for name in (INPUT, *model.stages) if name in content},
            "potentials": {key: pack(values, values.min(), values.max()) for key, values in potentials.items()},
            "picture": {"shape": list(picture.shape), "bytes": encode(picture)},
        }
        room -= len(json.dumps(record))
        if room < 0:
            left_out.append(f"the maps of {len(paths) - len(found)} of {len(paths)} images, which are in {folder}")
            break
        found.append(record)
    return found


def read_weights(model: NetworkTrainer, left_out: list[str]) -> dict[str, dict]:
    """Return {convolution's label: packed (F, C, k, k)}, bottom up, up to the size limit of the page."""
    found, room = {}, MAX_BYTES["weights"]
    for label, conv in model.named_convs():
        weight = conv.weight.numpy(force=True)
        room -= weight.size * 4 / 3
        if conv.sees_whole_maps or room < 0:
            left_out.append(f"the weights of {label}, which are in the checkpoint")
        else:
            found[label] = pack(weight, min(0, weight.min()), max(1, weight.max()))
    return found


def describe_stages(model: NetworkTrainer, height: int, width: int) -> list[dict]:
    """Describe each stage for the page's script, from the input up.

    ``parts`` contains the parts of its maps (F, H, W), one for each branch, without padding: label, first feature,
    number of features, top, left, rows, columns, kernel (0: none).
    """
    parts, shapes = find_neurons(model, height, width), model.shapes(height, width)
    labels, stages = {INPUT: [INPUT]}, []
    for name in (INPUT, *model.stages):
        stage = None if name == INPUT else model.stages[name]
        if stage:
            below = model.inputs_of(name)[0]
            own = [label for label, _ in model.named_convs([name])]
            labels[name] = own or [name + label.removeprefix(below) for label in labels[below]]
        kernels = [conv.kernel for conv in stage.convs] if stage else []
        described = [
            {
                "label": label,
                "first": part.features.start,
                "count": part.features.stop - part.features.start,
                "top": part.rows.start,
                "left": part.columns.start,
                "rows": part.rows.stop - part.rows.start,
                "columns": part.columns.stop - part.columns.start,
                "kernel": kernel,
            }
            for label, kernel, part in zip(labels[name], kernels or [0] * len(labels[name]), parts[name], strict=True)
        ]
        what = stage.explain() if stage else "the spikes of the encoder"
        decides, size = name == model.decision, shapes[name][1:]
        stages.append({"name": name, "what": what, "decides": decides, "size": size, "parts": described})
    return stages
