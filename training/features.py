"""The features of a trained network for other classifiers: the latency maps of one stage, saved or read out.

They are computed with the weights of the epoch with the best validation accuracy. If the network has no decision stage,
they are computed with the last weights. The readout is compared with the network's own decision.
"""

from functools import partial
from pathlib import Path

import numpy as np

from errors import InputError
from training.log import RunLog
from training.plan import Plan
from training.readout import find_spikes, train_readout
from training.trained import compute_maps
from utils import write_atomically


def read_features(plan: Plan, folder: Path, log: RunLog) -> dict:
    """Save the features of a stage, and train a readout, as far as ``plan.features`` contains them.

    The features of each split are saved in ``folder`` as ``features/SPLIT.npz``: latencies uint8 (N, C, H, W), labels
    and indices in the data set int64 (N,), the stage and the number of time steps; if phases with labels learn from
    some training images alone, also which, ``labelled`` bool (N,). An image without a label has the label -1.

    Returns {"readout": a dict for results.json}, or {} without a readout. If the readout does not fit in memory or
    takes too long, the dict contains the reason as "refused", because the rest of the run is finished.
    """
    model = plan.model
    stage = plan.features.stage
    readout = plan.features.readout
    log.info(f"features of {stage}")
    maps = {}
    for split in plan.data.splits:
        images, labels, indices = plan.data.get_split(split)
        if not len(indices):
            continue
        latencies = compute_maps(model, plan.encoder, images[indices], stage)
        labelled = plan.data.labelled if split == "train" else None
        if plan.features.is_saved:
            target = folder / "features"
            target.mkdir(exist_ok=True)
            arrays = {"latencies": latencies.numpy(), "labels": labels[indices], "indices": indices, "stage": stage}
            if labelled is not None:
                arrays["labelled"] = np.isin(np.arange(len(indices)), labelled)
            save = partial(np.savez_compressed, **arrays, time_steps=model.time_steps)
            write_atomically(target / f"{split}.npz", save)
        if readout is not None:
            if labelled is not None:
                latencies = latencies[labelled]
                indices = indices[labelled]
            maps[split] = latencies, labels[indices]
    if readout is None:
        return {}
    try:
        inputs = {split: (find_spikes(part, model.time_steps), labels) for split, (part, labels) in maps.items()}
        result = train_readout(readout, inputs, model.num_classes, log, plan.settings.readout_seconds)
        note = "" if result["converged"] else ", not converged"
        split = "test" if "test" in result else "validation"
        text = f"C {result['C']:g}{note}: {split} accuracy {100 * result[split]['accuracy']:.2f} %"
    except InputError as error:
        result = {"refused": str(error)}
        text = f"none: {error}"
    log.info(f"readout    {readout.kind} on {stage}, {text}")
    return {"readout": {"name": readout.kind, "stage": stage, **result}}
