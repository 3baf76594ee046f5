"""What a run shows in TensorBoard.

The run's folder has four runs of TensorBoard's, so that training and validation are curves of one chart, and each has
one axis, in one unit:

* ``train``, ``validation``: after each epoch of the phase with labels, by the number of such epochs, so that runs lie
  over each other whatever came before; what the stages do that learn in it;
* ``train_within_epochs``: accuracy and loss since the last point, by the images learned from in such epochs;
* the folder itself: all else, by the epochs of all phases; what the run ended with, one step behind the last epoch.

TensorBoard sorts what it shows by its tags, so these are chosen for accuracy and loss to come first.
"""

import io
import json
import math
import re
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.versions_pb2 import VersionDef
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams, scalar

from engine.decision import Outcome
from network_trainer import convergence
from report.activation_maps import INPUT
from report.matrix_picture import draw_matrix
from report.metrics import evaluate_predictions
from training.config import read_set

EMBEDDED = 1000  # images in the projector
WIDEST = 1500  # pixels of a figure
POINTS = 10  # of a curve within an epoch
EVENT_FILE = re.compile(r"events\.out\.tfevents\.(\d{10})\.(.+)")
HYPERPARAMETERS = "model", "dataset", "epochs", "batch_size", "ratio", "val_split", "patience", "seed"
MEANING = {
    "accuracy": "Right decisions, fraction of the images.",
    "loss": "Wrong decisions, fraction of the images: the loss of these learning rules.",
    "silent": "No decision, fraction of the images.",
    "f1_macro": "Mean of the classes' F1; a silent image is a missed one.",
}
BY_EPOCH = "By epochs of the phase with labels."
BY_IMAGES = "Since the last point; by images learned from in the phase with labels."


class Board:
    """The events of a run, in its folder. What is logged anew after a resume replaces what an interrupted run logged
    later than its checkpoint, so that no curve doubles back."""

    def __init__(self, folder):
        self.folder, self._writers = Path(folder), {}

    def writer(self, run, step):
        """The writer of one of TensorBoard's runs, "" for the folder itself; ``step``: of what is to be written."""
        if run not in self._writers:
            date_back(self.folder / run)
            # the first step written is the first that is not done for good: what is there of it and later goes
            self._writers[run] = SummaryWriter(str(self.folder / run), purge_step=step)
        return self._writers[run]

    def scalar(self, run, tag, value, step, about=""):
        if value is None:
            return
        summary = scalar(tag, value)
        summary.value[0].metadata.plugin_data.plugin_name = "scalars"
        summary.value[0].metadata.summary_description = f"{MEANING.get(tag.split('/')[0], '')} {about}".strip()
        self.writer(run, step).file_writer.add_summary(summary, step)

    def picture(self, tag, picture, step, run=""):
        """A PIL image, as it is."""
        buffer = io.BytesIO()
        picture.save(buffer, "png")
        self._encoded(tag, buffer.getvalue(), picture.size, step, run)

    def _encoded(self, tag, content, size, step, run=""):
        image = Summary.Image(width=size[0], height=size[1], colorspace=3, encoded_image_string=content)
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        self.writer(run, step).file_writer.add_summary(summary, step)

    def flush(self):
        for writer in self._writers.values():
            writer.flush()

    def close(self):
        for writer in self._writers.values():
            writer.close()

    # -----------------------------------------------------------------------------------------------------------------
    # At the beginning

    def network(self, model, summary, height, width):
        """The stages as a graph, and their table as text; once, whatever is resumed."""
        if next(self.folder.glob("events.out.tfevents.*"), None):
            return
        writer = self.writer("", 1)
        writer.file_writer.add_event(Event(graph_def=graph_of(model, height, width).SerializeToString()))
        writer.add_text("network", "\n".join(f"    {line}" for line in summary.splitlines()), 0)

    # -----------------------------------------------------------------------------------------------------------------
    # While it learns

    def batch(self, progress, images, batch_size):
        """After a batch of the phase with labels: now and then accuracy and loss since the last point.

        images: of an epoch.
        """
        batches = math.ceil(images / batch_size)
        if progress.batch * POINTS // batches == (progress.batch - 1) * POINTS // batches:
            return
        since = Outcome(*(now - then for now, then in zip(progress.tally, progress.told, strict=True)))
        progress.told = list(progress.tally)
        step = epochs_with_labels(progress.history) * images + min(progress.batch * batch_size, images)
        for part, count in (("accuracy", "correct"), ("loss", "wrong")):
            self.scalar("train_within_epochs", f"{part}/by_images", since.fraction(count), step, BY_IMAGES)

    def validated(self, progress, labels, decisions, class_names):
        """After an epoch: F1 and the confusion matrix of the validation images, before its row is in the history."""
        step = epochs_with_labels(progress.history) + 1
        scores = np.zeros((len(labels), len(class_names)))  # of which only the ROC curves would be made
        found = evaluate_predictions(labels, decisions, scores, len(class_names))
        self.scalar("validation", "scores/f1_macro", found["f1_macro"], step, f"{MEANING['f1_macro']} {BY_EPOCH}")
        title = f"Validation images, epoch {step}"
        picture = draw_matrix(found["confusion_matrix"], class_names, title).convert("RGB")
        self.picture("scores/confusion_matrix", picture, step, "validation")

    def epoch(self, history):
        """The outcome of the last epoch of the history, if it decided."""
        row, step = history[-1], epochs_with_labels(history)
        for split, run in (("train", "train"), ("val", "validation")):
            for part in ("accuracy", "loss"):
                self.scalar(run, f"{part}/by_epoch", row[f"{split}_{part}"], step, BY_EPOCH)
            self.scalar(run, "scores/silent", row[f"{split}_silent"], step, f"{MEANING['silent']} {BY_EPOCH}")

    def stages(self, model, phase, wins, history, polarity):
        """After an epoch: for each convolution that learned its convergence, rates, winners and weights.

        ``wins``: {convolution's label: how often each feature won in this epoch (F,)}; ``polarity``: of the encoder's
        channels, see ``encoders.py``.
        """
        run, step = ("train", epochs_with_labels(history)) if phase.needs_labels else ("", len(history))
        writer = self.writer(run, step)
        for label, conv in model.named_convs(phase.stages):
            tag = f"stages/{label}"
            writer.add_scalar(f"{tag}/convergence", convergence(conv.weight), step)
            rule = phase.rule_of(conv)
            for name, rate in named_rates(rule, conv.rates(rule)):
                writer.add_scalar(f"{tag}/{name}", rate, step)
            if int(wins[label].sum()):
                writer.add_scalar(f"{tag}/dead_features", int((wins[label] == 0).sum()), step)
                writer.add_histogram(f"{tag}/wins_per_feature", wins[label], step)
            writer.add_histogram(f"{tag}/weights", conv.weight.flatten(), step)
            if conv is model.convs()[0]:
                writer.add_image(f"{tag}/filters", filters(conv.weight, polarity), step)

    def maps(self, folder, step):
        """The pictures of ``save_activation_maps`` in a folder."""
        for path in sorted(folder.glob("*/*.png")):
            with Image.open(path) as picture:
                size = picture.size
            self._encoded(f"maps/{path.parent.name}/{path.stem}", path.read_bytes(), size, step)

    # -----------------------------------------------------------------------------------------------------------------
    # At the end

    def figures(self, paths, step):
        """``paths``: PNG files, which become images of at most ``WIDEST`` pixels across."""
        for path in paths:
            with Image.open(path) as picture:
                picture = picture.convert("RGB")
                picture.thumbnail((WIDEST, WIDEST))
                self.picture(f"report/{path.stem}", picture, step)

    def scores(self, split, metrics, step):
        """The scores of an evaluation of a split ("test", …). Returns their tags and values."""
        parts = "accuracy", "loss", "silent", "f1_macro", "roc_auc_macro"
        found = {f"{split}/{part}": metrics[part] for part in parts if metrics.get(part) is not None}
        for tag, value in found.items():
            self.scalar("", tag, value, step, MEANING.get(tag.split("/")[1], ""))
        return found

    def hyperparameters(self, model, flags, found, step):
        """The row of the run in the table of hyperparameters; ``found``: the scores it ended with."""
        chosen = {**{key: flags[key] for key in HYPERPARAMETERS}, "model": model.name}
        chosen |= {field: "none" if value is None else value for field, value in read_set(flags["set"]).items()}
        plain = {
            key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for key, value in chosen.items()
            if value is not None
        }
        for label, conv in model.named_convs():
            if not conv.decides:
                plain[f"{label}.threshold"] = float(conv.threshold)
            for rule in conv.rules:
                for name, rate in named_rates(rule, torch.as_tensor(rule.first_rates())):
                    plain[f"{label}.{rule.name}.{name.replace('/', '.')}"] = rate
        # the final scores' own curves, so that the table needs no second copy of them
        ended = {tag: value for tag, value in found.items() if tag.endswith(("/accuracy", "/f1_macro", "/silent"))}
        for part in hparams(plain, ended):
            self.writer("", step).file_writer.add_summary(part)

    def embedding(self, model, latencies, labels, images, class_names, step):
        """The last feature layer in the projector: for each image how early and how often each feature spiked."""
        (self.folder / "projector_config.pbtxt").unlink(missing_ok=True)  # of this run, if it ended before
        shutil.rmtree(self.folder / f"{step:05}", ignore_errors=True)
        latencies = latencies[:EMBEDDED]
        reads = model.inputs_of(model.decision) if model.decision else list(model.stages)[-1:]
        maps = {INPUT: latencies}
        for name, latency in model.walk(latencies):
            maps[name] = latency if name in reads else None
        features = torch.cat([(model.time_steps - maps[name].float()).sum((2, 3)).cpu() for name in reads], 1)
        pixels = torch.as_tensor(images[:EMBEDDED]).float() / 255
        sprites = 1 - pixels[:, None] if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)  # colours as they are
        names = [class_names[label] for label in labels[:EMBEDDED]]
        self.writer("", step).add_embedding(features, names, sprites, step, tag="last_feature_layer")


def date_back(folder):
    """Have the event files in a folder stand before one that is opened now.

    TensorBoard reads them in the order of their names, which begin with the second that they were opened in; within
    one second host, process and a number decide, as text. Where the newest file's second is not over, or the clock has
    been set back, the seconds of all are moved back alike.
    """
    matches = [(path, EVENT_FILE.fullmatch(path.name)) for path in sorted(folder.glob("*"))]
    found = [(path, int(match[1]), match[2]) for path, match in matches if match]
    ahead = max((second for _, second, _ in found), default=0) - int(time.time()) + 1
    if ahead > 0:
        for path, second, rest in found:  # the oldest first: wherever this stops, they are in order
            path.rename(path.with_name(f"events.out.tfevents.{second - ahead:010}.{rest}"))


def epochs_with_labels(history):
    """How many epochs of a history had labels: the axis of ``train`` and ``validation``."""
    return sum(row["train_accuracy"] is not None for row in history)


def named_rates(rule, rates):
    """(name, rate) of each rate of a rule, "ltp_rate" or "reward/ltp_rate"."""
    for row, pair in zip(rule.rows, rates.reshape(-1, 2).tolist(), strict=True):
        for name, rate in zip(("ltp_rate", "ltd_rate"), pair, strict=True):
            yield f"{row}/{name}".lstrip("/"), rate


def filters(weight, polarity):
    """One picture per feature: on-centre minus off-centre channels, mid-grey where they are equal.

    A channel that is neither is shown as on-centre.
    """
    from torchvision.utils import make_grid  # a second, before anything is said

    off = torch.tensor(polarity, device=weight.device) < 0
    contrast = sum(
        sign * weight[:, chosen].mean(1, keepdim=True) for sign, chosen in ((1, ~off), (-1, off)) if chosen.any()
    )
    return make_grid(torch.nn.functional.interpolate(0.5 + contrast / 2, scale_factor=8), nrow=10, pad_value=1)


def graph_of(model, height, width):
    """The network as a ``GraphDef``: a node for each stage, or each branch of several, with its parameters."""
    graph, tops = GraphDef(versions=VersionDef(producer=22)), {INPUT: INPUT}  # of each map: the node that makes it

    def add(name, kind, inputs, **about):
        node = graph.node.add(name=name, op=kind)
        node.input.extend(inputs)
        for key, value in about.items():
            node.attr[key].CopyFrom(AttrValue(s=str(value).encode()))
        return name

    outputs = {name: "×".join(map(str, shape)) for name, shape in model.shapes(height, width).items()}
    add(INPUT, "Encoder", [], output=outputs[INPUT], encoder=model.encoder["name"])
    for stage_name in model.stages:
        name, below = stage_name, [tops[other] for other in model.inputs_of(stage_name)]
        stage, kind = model.stages[name], type(model.stages[name]).__name__
        if len(stage.convs) > 1:
            labels = [label.removeprefix(f"{name}_") for label, _ in model.named_convs([name])]
            below = [
                add(f"{name}/{label}", type(conv).__name__, below, parameters=conv.extra_repr())
                for label, conv in zip(labels, stage.convs, strict=True)
            ]
            name = f"{name}/{'vote' if stage.decides else 'joined'}"
        parameters = "" if len(stage.convs) > 1 else stage.extra_repr()
        tops[stage_name] = add(name, kind, below, output=outputs[stage_name], parameters=parameters)
    return graph
