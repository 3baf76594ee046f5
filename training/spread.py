"""Label spreading (``--spread``): the labels of few images reach the others, over what was learned without labels.

``training/neighbours.py`` contains the graph, and the equation by which labels spread over it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from engine.phases import Phase
from engine.progress import Step
from network_trainer import LatencyDataset
from report.diagnosis import diagnose_spread
from report.evaluation import Accuracy, quote
from training.neighbours import ALPHA, COMPONENTS, NEIGHBOURS, compare_images, join_nearest, leave_out, spread_over
from training.run import Run
from utils import write_csv


def spread(run: Run, phase: Phase, train: LatencyDataset) -> Iterable[Step]:
    """Give the training images of a run the labels that reach them: the argument ``teach`` of ``steps``.

    Labels spread once, before the first phase with labels. The log shows the progress. Raises Stopped after a signal.
    """
    plan = run.plan
    data = plan.splits.data
    split = plan.splits.get_split("train")
    given = np.full(len(train), -1)
    given[split.labelled] = split.labels[split.labelled]
    if len(train.labelled) > (given >= 0).sum():
        return ()
    with threadpool_limits(1):  # the result does not depend on the number of threads
        vectors = compare_images(train.maps[plan.model.input_name(phase.stages[0])], plan.model.time_steps, run.show)
        graph = join_nearest(vectors, run.show)
        left_out = leave_out(graph, vectors, given, run.show)
        labels, certainty = spread_over(graph, given)
    run.log.close_bar()
    is_spread = (labels >= 0) & (given < 0)
    is_known = is_spread & (split.labels >= 0)
    classes = plan.model.num_classes
    record = {
        "given": np.bincount(given[given >= 0], minlength=classes).tolist(),
        "spread": np.bincount(labels[is_spread], minlength=classes).tolist(),
        "certainty": round(float(certainty[is_spread].sum()) / max(1, int(is_spread.sum())), 4),
        "known": int(is_known.sum()),
        "wrong": int((labels != split.labels)[is_known].sum()),
        **left_out,
        "without_spikes": int(np.isnan(vectors[:, 0]).sum()),
        "neighbours": NEIGHBOURS,
        "components": COMPONENTS,
        "alpha": ALPHA,
    }
    plan.record.spread = record
    run.log.info(f"labels spread to {is_spread.sum():,} of {len(train):,} training images: {describe_spread(record)}")
    if left_out["left_out"]:
        run.log.info(describe_left_out(record))
    if not plan.settings.dry_run:
        run.log_findings(diagnose_spread(record, data.class_names))
    names = [quote(str(name)) for name in data.name_images("train", split.indices)]
    class_names = [*map(quote, data.class_names), ""]
    sources = np.select([given >= 0, labels >= 0], ["given", "spread"], "")
    rows = zip(names, (class_names[label] for label in labels), certainty.round(4), sources, strict=True)
    write_csv(run.folder / "spread.csv", [("image", "class", "certainty", "label"), *rows])
    train.labels = torch.from_numpy(labels)
    train.labelled = torch.from_numpy(np.flatnonzero(labels >= 0))
    return ()


def describe_spread(record: dict[str, Any]) -> str:
    """Return the labels of each class, and how many of those that were spread are wrong, as a text."""
    counts = [f"{name} {record[name]}" for name in ("given", "spread", "certainty")]
    known = "the true class of none of them is known"
    if record["known"]:
        known = f"known {record['known']}, wrong {record['wrong']}"
    if record["without_spikes"]:
        known += f"; images without a spike {record['without_spikes']}"
    return f"{', '.join(counts)}, {known}"


def describe_left_out(record: dict[str, Any]) -> str:
    """Return how many given labels come back if they are left out, as a text."""
    count = record["left_out"]
    back, nearest = (Accuracy(record[name] / count, count) for name in ("came_back", "nearest"))
    text = f"left out in ten parts, {record['came_back']} of {count} given labels come back: {back}"
    text += f"; the nearest labelled image has the class of {record['nearest']}: {nearest}"
    others = sum(record["given"]) - count
    if others:
        text += f"; not counted, because alone in their class or without a spike: {others}"
    return text
