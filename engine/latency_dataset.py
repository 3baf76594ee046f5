"""LatencyDataset: the latency maps of a data set that the phases read, and its labels."""

from typing import Any

import numpy as np
import torch

from engine.graph import LatencyMap
from engine.packed import PackedSpikes
from engine.phases import Phase
from engine.stages import INPUT


class LatencyDataset:
    """The labels of a data set, and the latency maps that the current phase and later phases read.

    ``maps`` is {"input" or stage: its map}. At first it contains the network's input. What is computed from packed maps
    is packed. ``NetworkTrainer.steps`` checks the input and the labels.
    ``copies`` contains the inputs of the decision stage for moved copies of the images that have labels, or of all.

    Args:
        latencies: uint8 (N, C, H, W), a tensor or ``PackedLatencies``.
        labels: int64 (N,); of images that are not ``labelled``, any number.
        labelled: int64 (L,), the indices of the images that phases with labels learn from; None: all images.
    """

    def __init__(self, latencies: LatencyMap, labels: Any, labelled: Any = None):
        self.maps = {INPUT: latencies}
        self.labels = labels
        self.labelled = labelled
        self.copies: list[PackedSpikes] = []

    def __len__(self):
        return len(self.labels)

    def select(self, phase: Phase) -> torch.Tensor | None:
        """Return the indices of the images that a phase learns from, int64; None: all images."""
        return self.labelled if phase.needs_labels else None

    def read(
        self, phase: Phase, name: str, chosen: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch of the map ``name``, and its labels. If there are copies, the decision stage reads the
        original images or one of the copies, drawn by ``rng``.

        chosen: int64 (n,), positions in the indices that ``select`` returns. Returns the spike times, uint8
        (n, C, H, W), and int64 (n,).
        """
        indices = self.select(phase)
        places = chosen if indices is None else indices[chosen]
        labels = self.labels[places]
        maps = self.maps[name]
        if phase.needs_labels and self.copies:
            drawn = rng.integers(len(self.copies) + 1)
            if drawn:
                maps = self.copies[drawn - 1]
                places = places if len(maps) == len(self) else chosen
        return maps[places.to(maps.device)], labels

    def close_copies(self) -> None:
        while self.copies:
            self.copies.pop().close()
