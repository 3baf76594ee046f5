"""``index.html`` in a run's folder: the run as one page, which needs neither a network nor a server.

Numbers and figures are those of the folder's files. The activation maps and the weights are in it as bytes, which the
page's own script draws. The template is ``page.html``; what comes from a run is escaped there.
"""

import base64
import csv
import json
import shlex
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from matplotlib import colormaps

from engine.stages import Pool, SpikingDense
from report.activation_maps import INPUT, neurons
from report.features import alternating, preferred_features
from report.figures import input_scales
from utils import write_text

# Bytes (base64) at most, so that the page stays below 20 MB.
MOST = {"maps": 7_000_000, "weights": 7_000_000, "figures": 4_000_000}
CAPTIONS = {
    "history": "Training history",
    "roc_curves": "ROC curves",
    "errors": "Errors",
    "spike_times": "First spikes",
    "spike_wave": "The spike wave of an image",
    "filters": "Filters of",
    "features": "Preferred features of",
}
SCORES = {
    "accuracy": "accuracy", "loss": "loss", "silent": "silent", "precision_macro": "precision",
    "recall_macro": "recall", "f1_macro": "F1", "roc_auc_macro": "ROC AUC",
    "roc_auc_macro_relative": "ROC AUC, relative",
}  # fmt: skip
EVALUATIONS = {
    "test.best": "test, best epoch", "test.last": "test, last epoch", "validation.best": "validation, best epoch",
    "validation.last": "validation, last epoch", "test": "test",
}  # fmt: skip


def write_page(folder, model, size, class_names, title, maps=None, images=None, polarity=None, scales=None):
    """Write ``folder/index.html``, from results.json, metrics.csv, figures/, args.json and summary.txt of the folder.

    Whatever is not there is left out.

    Args:
        model: the network, with the weights that were tested.
        size: (height, width) of the images.
        title: which weights these are: network, data set, seed, epoch.
        maps: folder with the ``.npz`` files of ``save_activation_maps``, None: without maps.
        images: uint8 (N, H, W) or (N, H, W, 3), in which the indices of the maps count; None: no small pictures.
        polarity, scales: of the encoder's channels, see ``figures.draw_filters``.

    Returns the path. Errors: InputError if it cannot be written.
    """
    folder = Path(folder)
    results = read_json(folder / "results.json")
    evaluations = find_evaluations(results)
    signs = alternating(model.in_channels) if polarity is None else polarity
    left_out = []
    maps_data, steps = read_maps(maps, model, images, left_out)
    data = {
        "steps": steps,
        "classes": list(map(str, class_names)),
        "stages": describe_stages(model, *size),
        "scales": list(scales or ()) or ["3×3", "7×7", "13×13"],
        "inputs": [[(channel, int(signs[channel])) for channel in group] for group in input_scales(signs)],
        "images": maps_data,
        "weights": read_weights(model, left_out) if maps_data else {},
        "features": {
            label: packed(pictures, -1, 1) for label, pictures in preferred_features(model, polarity).items()
        } if maps_data else {},
        "times": colours("plasma", steps, 0.95),
        "potentials": colours("Blues", 64, 1),
    }  # fmt: skip
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    environment.filters["percent"] = percent
    page = environment.get_template("page.html").render(
        model=model, title=title, about=" ".join((type(model).__doc__ or "").split()), class_names=data["classes"],
        evaluations=evaluations, scores=SCORES, results=results, history=read_rows(folder / "metrics.csv"),
        figures=figures_of(folder, left_out), summary=read_text(folder / "summary.txt"),
        args=read_json(folder / "args.json"), commands=commands(folder, results), data=data, left_out=left_out,
    )  # fmt: skip
    write_text(folder / "index.html", page)
    return folder / "index.html"


# ---------------------------------------------------------------------------------------------------------------------
# Numbers and figures


def find_evaluations(results):
    """The evaluations in results.json, (name, scores): of a run three, of ``--evaluate`` one, of STDP alone none."""
    found = []
    for key, name in EVALUATIONS.items():
        place = results
        for part in key.split("."):
            place = (place or {}).get(part)
        if place and "confusion_matrix" in place:
            found.append((name, place))
    return found


def figures_of(folder, left_out):
    """(name, caption, data URI) of the figures, in the order of ``CAPTIONS``; as many as there is room for."""
    found, room = [], MOST["figures"]
    for name, caption in CAPTIONS.items():
        for path in sorted((folder / "figures").glob(f"{name}*.png")):
            stage = path.stem.removeprefix(name).strip("_") if caption.endswith(" of") else ""
            room -= path.stat().st_size * 4 / 3
            if room < 0:
                left_out.append(f"figures/{path.name}")
                continue
            found.append((path.stem, f"{caption} {stage}".strip(), data_uri(path)))
    return found


def data_uri(path):
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def commands(folder, results):
    """(what it does, the command line), for what the folder can be used for."""
    place = shlex.quote(str(folder))
    found = []
    if (folder / "checkpoints" / "last.pt").is_file():
        found.append(("go on with an interrupted run", f"python train.py --resume {place}"))
    elif "checkpoint" in results:
        place = shlex.quote(results["checkpoint"])
    else:
        return found
    found.append(("test its network again, with activation maps", f"python train.py --evaluate {place} --save-maps 1"))
    found.append(("classify an image file", f"python train.py --evaluate {place} --predict IMAGE.png"))
    return found


def percent(value):
    return "" if value in (None, "") else f"{100 * float(value):.2f} %"


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_text(path):
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def read_rows(path):
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------------------------------------------------------
# Maps and weights


def packed(values, low, high):
    """An array for the page's script: its shape, and the values from low to high as bytes 0 to 255."""
    values = np.asarray(values, np.float64)
    levels = np.round((values - low) * (255 / max(high - low, 1e-12))).clip(0, 255).astype(np.uint8)
    return {"shape": list(values.shape), "low": float(low), "high": float(high), "bytes": encoded(levels)}


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array, np.uint8).tobytes()).decode()


def read_maps(folder, model, images, left_out):
    """The maps in a folder, one dict for each image, as many as there is room for; and the number of time steps."""
    paths = sorted(Path(folder).glob("*.npz")) if folder else []
    found, size = [], 0
    for path in paths:
        with np.load(path) as arrays:
            content = {key: arrays[key] for key in arrays}
        stages = {name: encoded(content[name]) for name in (INPUT, *model.stages) if name in content}
        potentials = {
            key: packed(values, values.min(), values.max())
            for key, values in content.items() if key.startswith("potentials")
        }  # fmt: skip
        index = int(content["index"])
        record = {
            "index": index, "label": int(content["label"]), "decision": int(content.get("decision", -2)),
            "maps": stages, "potentials": potentials,
        }  # fmt: skip
        if images is not None:
            record["picture"] = {"shape": list(images[index].shape), "bytes": encoded(images[index])}
        size += len(json.dumps(record))
        if size > MOST["maps"]:
            left_out.append(f"the maps of {len(paths) - len(found)} of {len(paths)} images, which are in {folder}")
            break
        found.append(record)
    return found, model.time_steps


def read_weights(model, left_out):
    """{convolution's label: packed (F, C, k, k)}, as many as there is room for, from the bottom up."""
    found, room = {}, MOST["weights"]
    for label, conv in model.named_convs():
        if isinstance(conv, SpikingDense):
            left_out.append(f"the weights of {label}, which sees whole maps: they are in checkpoints/best.pt")
            continue
        room -= conv.weight.numel() * 4 / 3
        if room < 0:
            left_out.append(f"the weights of {label}, which are in checkpoints/best.pt")
            continue
        weight = conv.weight.numpy(force=True)
        found[label] = packed(weight, min(0, weight.min()), max(1, weight.max()))
    return found


def describe_stages(model, height, width):
    """What the page has to know of each stage, from the input up.

    ``parts``: of its maps (F, H, W), one for each branch, without what pads: label, first feature, features, top, left,
    rows, columns, kernel (0: none).
    """
    parts = neurons(model, height, width)
    out = [(INPUT, "the encoder's spikes", [INPUT], [0])]
    for name, stage in model.stages.items():
        if isinstance(stage, Pool):
            out.append((name, f"the earliest spike of each {stage.size}×{stage.size} window", None, None))
        else:
            labels = [label for label, _ in model.named_convs([name])]
            thresholds = ", ".join(dict.fromkeys(f"{conv.threshold:g}" for conv in stage.convs))
            what = "potentials at the last time step" if name == model.decision else f"threshold {thresholds}"
            out.append((name, what, labels, [conv.kernel for conv in stage.convs]))
    stages, of, shapes = [], {}, model.shapes(height, width)
    for name, what, labels, kernels in out:
        below_name = name if name == INPUT else model.inputs_of(name)[0]
        below = of.get(below_name, [])
        labels = labels or [name + part["label"].removeprefix(below_name) for part in below]
        kernels = kernels or [0] * len(labels)
        described = [
            {
                "label": label, "first": features.start, "count": features.stop - features.start, "top": rows.start,
                "left": columns.start, "rows": rows.stop - rows.start, "columns": columns.stop - columns.start,
                "kernel": kernel,
            }
            for label, kernel, (features, rows, columns) in zip(labels, kernels, parts[name], strict=True)
        ]  # fmt: skip
        size, decides = shapes[name][1:], name == model.decision
        stages.append({"name": name, "what": what, "decides": decides, "size": size, "parts": described})
        of[name] = described
    return stages


def colours(name, count, last):
    return (255 * colormaps[name](np.linspace(0, last, count))[:, :3]).round().astype(int).tolist()
