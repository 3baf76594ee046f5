"""Functions of several benchmarks: training, and tables."""

from collections.abc import Sequence

import numpy as np
import torch

from network_trainer import NetworkTrainer

BATCH = 1000


def learn(model: NetworkTrainer, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """Train the last phase for one epoch, in batches; ``inputs`` are the maps that its first stage reads."""
    rng = np.random.default_rng(0)
    for part, those in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
        model.phases[-1].learn(model, part, those, rng=rng)


def format_row(cells: Sequence) -> str:
    """Return the row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def format_header(cells: Sequence) -> str:
    """Return the two rows with which a Markdown table begins."""
    return f"{format_row(cells)}\n{'|---' * len(cells)}|"
