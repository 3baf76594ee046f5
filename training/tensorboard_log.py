"""What a run shows in TensorBoard beyond the curves of ``runlog.py``: the stages while they learn, and the result."""

import json

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard.summary import hparams
from torchvision.utils import make_grid

from network_trainer import convergence

EMBEDDED = 1000  # test images in the projector
WIDEST = 1500
HYPERPARAMETERS = "model", "dataset", "epochs", "batch_size", "ratio", "val_split", "patience", "seed"


def log_stages(writer, model, phase, wins, step):
    """After an epoch: for each convolution that learns in the phase its convergence, rates, winners and weights.

    ``wins``: {convolution's label: how often each feature won in this epoch (F,)}.
    """
    for label, conv in model.named_convs(phase.stages):
        tag = f"stdp/{label}"
        writer.add_scalar(f"{tag}/convergence", convergence(conv.weight), step)
        if phase.rule == "stdp":
            rates = {"ltp_rate": conv.stdp_rates[0], "ltd_rate": conv.stdp_rates[1]}
        else:
            (reward_ltp, reward_ltd), (punish_ltp, punish_ltd) = conv.rstdp_rates
            rates = {
                "reward_ltp_rate": reward_ltp, "reward_ltd_rate": reward_ltd,
                "punishment_ltp_rate": punish_ltp, "punishment_ltd_rate": punish_ltd,
            }  # fmt: skip
        for name, rate in rates.items():
            writer.add_scalar(f"{tag}/{name}", float(rate), step)
        if int(wins[label].sum()):
            writer.add_scalar(f"{tag}/dead_features", int((wins[label] == 0).sum()), step)
            writer.add_histogram(f"{tag}/wins_per_feature", wins[label], step)
        writer.add_histogram(f"{tag}/weights", conv.weight.flatten(), step)
        if conv is model.convs()[0]:
            # one picture per feature: on-centre minus off-centre channels, mid-grey where they are equal
            polarity = conv.weight[:, 0::2].mean(1, keepdim=True) - conv.weight[:, 1::2].mean(1, keepdim=True)
            grid = make_grid(torch.nn.functional.interpolate(0.5 + polarity / 2, scale_factor=8), nrow=10, pad_value=1)
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
    features = (model.steps - inputs.float()).sum((2, 3)).cpu()
    sprites = 1 - torch.as_tensor(images[:EMBEDDED])[:, None].float() / 255
    names = [class_names[label] for label in labels[:EMBEDDED]]
    writer.add_embedding(features, names, sprites, step, tag="last_feature_layer")


def log_result(writer, model, flags, results, summary, step):
    """Final scores, the table of stages, and the hyperparameters with the final scores, all in the run's own folder."""
    best = results["test.best"]
    for part in ("accuracy", "wrong", "silent", "f1_macro", "roc_auc_macro"):
        if best[part] is not None:
            writer.add_scalar(f"test/{'loss' if part == 'wrong' else part}", best[part], step)
    writer.add_text("network", f"```\n{summary}\n```", step)
    chosen = {**{key: flags[key] for key in HYPERPARAMETERS}, "model": model.name}
    plain = {
        key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for key, value in chosen.items()
        if value is not None
    }
    # the final scores' own curves, so that the table of hyperparameters needs no second copy of them
    final = {f"test/{part}": best[part] for part in ("accuracy", "silent")}
    for summary_part in hparams(plain, final):
        writer.file_writer.add_summary(summary_part)
