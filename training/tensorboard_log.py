"""What a run shows in TensorBoard beyond the curves of ``run_log.py``: the stages while they learn, and the result."""

import json

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard.summary import hparams
from torchvision.utils import make_grid

from network_trainer import convergence
from training.config import read_set

EMBEDDED = 1000  # test images in the projector
WIDEST = 1500
HYPERPARAMETERS = "model", "dataset", "epochs", "batch_size", "ratio", "val_split", "patience", "seed"


def log_stages(writer, model, phase, wins, step, polarity):
    """After an epoch: for each convolution that learns in the phase its convergence, rates, winners and weights.

    ``wins``: {convolution's label: how often each feature won in this epoch (F,)}; ``polarity``: of the encoder's
    channels, see ``encoders.py``.
    """
    for label, conv in model.named_convs(phase.stages):
        tag = f"stdp/{label}"
        writer.add_scalar(f"{tag}/convergence", convergence(conv.weight), step)
        rule = next(rule for rule in conv.rules if rule.needs_labels == phase.needs_labels)
        for row, rates in zip(rule.rows, conv.rates(rule).reshape(-1, 2).tolist(), strict=True):
            for name, rate in zip(("ltp_rate", "ltd_rate"), rates, strict=True):
                writer.add_scalar(f"{tag}/{row}_{name}".replace("/_", "/"), rate, step)
        if int(wins[label].sum()):
            writer.add_scalar(f"{tag}/dead_features", int((wins[label] == 0).sum()), step)
            writer.add_histogram(f"{tag}/wins_per_feature", wins[label], step)
        writer.add_histogram(f"{tag}/weights", conv.weight.flatten(), step)
        if conv is model.convs()[0]:
            # one picture per feature: on-centre minus off-centre channels, mid-grey where they are equal; a channel
            # that is neither is shown as on-centre
            off = torch.tensor(polarity, device=conv.weight.device) < 0
            contrast = sum(
                sign * conv.weight[:, chosen].mean(1, keepdim=True)
                for sign, chosen in ((1, ~off), (-1, off))
                if chosen.any()
            )
            grid = make_grid(torch.nn.functional.interpolate(0.5 + contrast / 2, scale_factor=8), nrow=10, pad_value=1)
            writer.add_image(f"{tag}/filters", grid, step)


def log_figures(writer, paths, step):
    """``paths``: PNG files, which become images of at most ``WIDEST`` pixels across."""
    for path in paths:
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            picture.thumbnail((WIDEST, WIDEST))
            writer.add_image(f"figures/{path.stem}", np.asarray(picture), step, dataformats="HWC")


def log_embedding(writer, model, latencies, labels, images, class_names, step):
    """The last feature layer in the projector: for each image how early and how often each feature spiked."""
    latencies = latencies[:EMBEDDED]
    inputs = model.pass_through(latencies, model.between(None, model.decision))
    features = (model.time_steps - inputs.float()).sum((2, 3)).cpu()
    pixels = torch.as_tensor(images[:EMBEDDED]).float() / 255
    sprites = 1 - pixels[:, None] if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)  # colours as they are
    names = [class_names[label] for label in labels[:EMBEDDED]]
    writer.add_embedding(features, names, sprites, step, tag="last_feature_layer")


def log_result(writer, model, flags, results, summary, step):
    """Final scores, the table of stages, and the hyperparameters with the final scores, all in the run's own folder."""
    best = results.get("test.best", {})  # none of a network that does not decide
    for part in ("accuracy", "loss", "silent", "f1_macro", "roc_auc_macro"):
        if best.get(part) is not None:
            writer.add_scalar(f"test/{part}", best[part], step)
    writer.add_text("network", f"```\n{summary}\n```", step)
    chosen = {**{key: flags[key] for key in HYPERPARAMETERS}, "model": model.name}
    chosen |= {field: "none" if value is None else value for field, value in read_set(flags["set"]).items()}
    plain = {
        key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for key, value in chosen.items()
        if value is not None
    }
    # the final scores' own curves, so that the table of hyperparameters needs no second copy of them
    final = {f"test/{part}": best[part] for part in ("accuracy", "silent") if part in best}
    for summary_part in hparams(plain, final):
        writer.file_writer.add_summary(summary_part)
