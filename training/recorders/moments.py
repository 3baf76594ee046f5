"""The weights and the convergence in the first epoch of each layer, for the figures."""

from collections import defaultdict
from typing import Any

import torch

from engine.phases import Phase
from engine.progress import BatchStep, PhaseStep
from engine.stages import INPUT
from network_trainer import compute_convergence
from report import emergence
from report.emergence import copy_features, is_moment
from training.recorders.recorder import Recorder


class Moments(Recorder):
    """Keeps features and convergences, at the moments of ``report/emergence.py``.

    They are {"layer/images": weight (F, C, k, k), "convergences": {layer: [[images, convergence]]}}.
    """

    def record_phase(self, step: PhaseStep) -> None:
        if self.progress.batch == 0:
            self.keep(step.phase, 0)

    def record_batch(self, step: BatchStep) -> None:
        self.keep(step.phase, step.done)

    def keep(self, phase: Phase, images: int) -> None:
        """Keep the features if this is a moment of the phase's first epoch. images: that the phase has seen."""
        progress = self.progress
        if progress.epoch:
            return
        model = self.plan.model
        features, convergences = read_moments(self.kept)
        for name in phase.stages:
            for layer_name, layer in model.named_layers([name]):
                if not layer.stage.fires or not is_moment(images, features.get(layer_name, ())):
                    continue
                self.kept[f"{layer_name}/{images}"] = copy_features(layer)
                won = progress.wins.get(layer_name, torch.ones(layer.stage.out_channels))  # none yet: all count
                convergence = compute_convergence(layer.weight, phase.rules[layer_name], won)
                convergences.setdefault(layer_name, []).append([images, convergence])
                if INPUT in model.inputs_of(name):
                    run = f"emergence/{layer_name}"
                    self.log.board.log_filters(run, layer_name, layer, images, self.plan.encoder)


def read_moments(kept: dict[str, Any]) -> tuple[emergence.Moments, dict[str, list]]:
    """Return the features and the convergences of what ``Moments`` keeps."""
    features: dict = defaultdict(dict)
    for key in kept.keys() - {"convergences"}:
        layer_name, _, images = key.rpartition("/")
        features[layer_name][int(images)] = kept[key]
    return features, kept.setdefault("convergences", {})
