"""A diagnosis of the training: a text for each stage where something is wrong, with a setting that the user can try.

All texts are about measured numbers of this run. The published networks get no text on MNIST. Each advice was followed
on other data and increased the accuracy there: results/logs/advice.log and own-images.log.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.functional import conv2d

from engine.layers import Layer
from engine.phases import Phase
from engine.rules import RSTDP, STDP
from engine.stages import INPUT
from network_trainer import LatencyDataset, NetworkTrainer

SAMPLE = 100  # training images on which the stages are measured
MAX_POTENTIALS = 20_000_000  # computed at once; of large maps, fewer images are measured
# Measured on 100 training images of MNIST with the weights of the best epoch of seven networks, some neurons of each
# stage fire for each image. After the last epoch of deepr2024, none of s3 fires for 3 to 6 % of the images.
SILENT_MAP = 0.3  # of the images, for which no neuron of a stage fires
CAREFUL = 10.0  # a threshold that is suggested is at most this many times lower or higher than the present one
# Adaptive thresholds, as in results/scripts/data.sh: of stages that read the encoder's map, and of those above
ADAPTIVE = "{0}.rule.target=0.75 {0}.rule.positions=0.05"
ADAPTIVE_ABOVE = "{0}.threshold=2 {0}.rule.target=0.5 {0}.rule.positions=0.05"
NEVER_WON = 0.05  # of the features: at most 0.4 % in results/runs/*.log, and 1.3 % in s2 of kheradpisheh2018
GAP = 0.15  # training accuracy above validation accuracy: at most 0.08 on MNIST and Fashion-MNIST (results/runs)


class Diagnosis:
    """Diagnoses of the stages of a network before the training and after each of its phases.

    Args:
        model: the network.
        train: the encoded training images. SAMPLE of them are kept, evenly spaced: they may be in the order of classes.
    """

    def __init__(self, model: NetworkTrainer, train: LatencyDataset):
        self.model = model
        latencies = train.maps[INPUT]
        chosen = torch.linspace(0, len(train) - 1, min(SAMPLE, len(train))).long()
        self.latencies = latencies[chosen.to(latencies.device)].to(model.device)
        self.shapes = model.shapes(*latencies.shape[2:])

    def diagnose_size(self) -> Iterator[str]:
        """Yield whether the images are too small or too large for the kernels of the decision stage."""
        name = self.model.decision
        if not name or self.model.declaration[name].sees_whole_maps:
            return
        kernel = self.model.declaration[name].convs[0].kernel
        side = max(self.shapes[self.model.inputs_of(name)[0]][1:])
        if side == 1 or side >= 2 * kernel:
            why = "cannot use where a feature is" if side == 1 else "see only a part of an object"
            maps = f"maps of {side}×{side} by kernels of {kernel}×{kernel}, which {why}"
            yield f"{name} reads {maps}; try --image-size 28 28, the size of MNIST's images"

    def diagnose(self, phase: Phase, row: dict) -> Iterator[str]:
        """Yield what is wrong after a phase; ``row``: of its last epoch in ``Progress.history``."""
        silent = [*self._diagnose_firing(phase)]
        yield from silent
        if phase.needs_labels:
            yield from self._diagnose_gap(phase, row)
        elif not silent:
            yield from self.diagnose_features(phase, row)

    def diagnose_features(self, phase: Phase, row: dict) -> Iterator[str]:
        """Yield how many features of a phase without labels never won."""
        count = sum(layer.stage.out_channels for _, layer in self.model.named_layers(phase.stages))
        if row["dead_features"] <= NEVER_WON * count:
            return
        advice = "more epochs"
        if self._have_constant_thresholds(phase.stages):
            advice += f", or {self.suggest_adaptive_thresholds()}"
        yield f"{phase.name}: {row['dead_features']} of {count} features never won; try {advice}"

    def _diagnose_firing(self, phase):
        """Yield which stages are silent for many images, and a threshold with which they are not."""
        for name in phase.stages:
            for branch, (label, layer) in enumerate(self.model.named_layers([name])):
                if layer.stage.decides:
                    continue
                highest = self.measure_potentials(name, layer).max((1, 2, 3))  # of each image
                silent = float((highest <= layer.threshold).mean())
                if silent <= SILENT_MAP:
                    continue
                threshold = float(np.median(highest)) / 2
                advice = ""
                if layer.threshold / CAREFUL <= threshold <= layer.threshold * CAREFUL:
                    field = f"{name}.threshold" if label == name else f"{name}.{branch}.threshold"
                    advice = f"; try --set {field}={threshold:.2g}"
                what = f"is silent for {100 * silent:.0f} % of the images: potentials reach {highest.max():.3g}"
                yield f"{label} {what}, the threshold is {layer.threshold:g}{advice}"

    def _diagnose_gap(self, phase, row):
        train, validation = row["train_accuracy"], row["val_accuracy"]
        if validation is None or train - validation <= GAP:
            return
        text = f"{phase.name} decides {100 * train:.0f} % of the training and {100 * validation:.0f} % of the "
        text += "validation images correctly: it learns single images and not their classes"
        if phase.main_rule.name == RSTDP.name:
            text += f"; try --set {self.model.decision}.rule=margin"
        yield text

    @torch.no_grad()
    def measure_potentials(self, name: str, layer: Layer) -> np.ndarray:
        """Return the potentials (N, F, Ho, Wo) of a convolution at the last time step.

        What the threshold of a feature is higher than ``layer.threshold`` is subtracted.
        """
        shape = self.shapes[self.model.input_name(name)]
        size = math.prod(layer.stage.shape([shape]))
        images = max(1, MAX_POTENTIALS // size)
        below = self.model.map_of(self.latencies[:images], self.model.input_name(name))
        spikes = (below < self.model.time_steps).to(layer.weight.dtype)
        potentials = conv2d(spikes, layer.weight, padding=layer.stage.padding)
        raised = layer.thresholds.to(potentials) - layer.threshold
        return (potentials - raised[:, None, None]).numpy(force=True)

    def suggest_adaptive_thresholds(self) -> str:
        """Return ``--set …`` with thresholds that adapt in all stages that learn by STDP."""
        fields = []
        for name in self.model.declaration:
            if self._have_constant_thresholds([name]):
                text = ADAPTIVE if self.model.inputs_of(name) == (INPUT,) else ADAPTIVE_ABOVE
                fields.append(text.format(name))
        return f"--set {' '.join(fields)}"

    def _have_constant_thresholds(self, names):
        """Return whether the rules of these stages are STDP, without a warm-up, and their thresholds do not adapt."""
        rules = [layer.stage.rule for _, layer in self.model.named_layers(names)]
        return bool(rules) and all(isinstance(rule, STDP) and not rule.adapts_thresholds for rule in rules)
