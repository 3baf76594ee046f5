"""A diagnosis of the training: a text for each stage where something is wrong, with a setting that the user can try.

All texts are about measured numbers of this run. The published networks get no text about their stages on MNIST (see
the constants). ``results/advice.py`` follows each kind of advice on other data.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn.functional import conv2d

from engine.layers import Layer
from engine.phases import Phase
from engine.rules import RSTDP, STDP, Rule
from engine.stages import INPUT, SpikingConv
from network_trainer import LatencyDataset, NetworkTrainer

SAMPLE = 100  # training images on which the stages are measured
MAX_POTENTIALS = 20_000_000  # computed at once; of large maps, fewer images are measured

# Measured on 100 training images of MNIST with the weights of the best epoch of mozafari2018, deep2024, deepr2024,
# deepr2024_greedy, inception2024, kheradpisheh2018 and multiscale2026: 3 to 12 % of the neurons of a stage fire, and
# some fire for each image. After the last epoch of deepr2024, 0.5 % of s3 fire, and none for 3 to 6 % of the images.
OFTEN = 0.2  # of the neurons of a trained stage
SILENT_MAP = 0.3  # of the images, for which no neuron of a stage fires
ENCODER = 0.25  # of the neurons of the encoder that spike, on MNIST
HARDLY = 0.1  # too few: below HARDLY times this fraction
CAREFUL = 10.0  # a threshold that is suggested is at most this many times lower or higher than the present one

LEARNED = 0.01  # mean of w (1 - w): at most 1e-4 in results/*.log; Kheradpisheh et al. 2018 stop the training at 0.01
# From 0.8, the mean of the first weights, to w (1 - w) = LEARNED, ln(w / (1 - w)) changes by 6. With the stabilizer,
# each update of a weight changes it by the rate.
DISTANCE = 6.0
# Adaptive thresholds, as in results/data.sh: of stages that read the encoder's map, and of those above
ADAPTIVE = "{0}.rule.target=0.75 {0}.rule.positions=0.05"
ADAPTIVE_ABOVE = "{0}.threshold=2 {0}.rule.target=0.5 {0}.rule.positions=0.05"
NEVER_WON = 0.05  # of the features: at most 0.4 % in results/*.log, and 1.3 % in s2 of kheradpisheh2018
SILENT = 0.3  # of the decisions: at most 9 % in results/*.log
ONE_CLASS = 0.9  # of the decisions, if less than half as many labels have this class
GAP = 0.15  # training accuracy above validation accuracy: at most 0.08 on MNIST and Fashion-MNIST (results/*.log)
BETTER = 0.1  # accuracy of a linear readout above that of the decision stage
FEW = 500  # validation images: the standard error of 90 % is 1.3 points
MAX_IMAGES = 200_000  # for which the schedule of a rule is computed


class Diagnosis:
    """Diagnoses of the stages of a network before, between and after the phases of its training.

    Args:
        model: the network.
        epochs: one number for each phase.
        train: the encoded training images. SAMPLE of them are kept, evenly spaced: they may be in the order of classes.
        validation: number of validation images.
        events: whether they are recordings of events, which are not stretched and have other parameters.
    """

    def __init__(
        self,
        model: NetworkTrainer,
        epochs: Sequence[int],
        train: LatencyDataset,
        validation: int = FEW,
        events: bool = False,
    ):
        self.model = model
        self.epochs = tuple(epochs)
        self.images = len(train)
        self.validation = validation
        self.events = events
        self.usual_epochs = model.epochs if len(model.epochs) == len(epochs) else epochs
        chosen = torch.linspace(0, len(train) - 1, min(SAMPLE, len(train))).long()
        latencies = train.maps[INPUT]
        self.latencies = latencies[chosen.to(latencies.device)].to(model.device)
        self.labels = train.labels[chosen]
        self.shapes = model.shapes(*latencies.shape[2:])
        self.needed = {phase: self._count_needed(phase) for phase in model.phases}

    def diagnose_plan(self) -> Iterator[str]:
        """Yield what is wrong before the training: silence, too few images, maps of a single neuron."""
        model = self.model
        short = []
        spikes = float((self.latencies < model.time_steps).float().mean())
        if spikes < HARDLY * ENCODER:
            share = f"{_percent(spikes)} of its neurons ({_percent(ENCODER)} on MNIST)"
            hint = "a longer --set encoder.window" if self.events else "lower thresholds, as --set encoder.threshold"
            yield f"the encoder hardly spikes: {share}; try {hint}"
        for phase, count in zip(model.phases, self.epochs, strict=True):
            highest, enough = self.needed[phase]
            if 0 < count * self.images < enough:
                rising = math.ceil(highest / self.images)
                in_all = math.ceil(enough / self.images)
                short.append(f"{phase.name} needs {rising} for its highest rate, {in_all} in all")
        if short:
            yield f"{self.images:,} training images; epochs of STDP: {', '.join(short)}; try {self.suggest_epochs()}"
        name = model.decision
        if name and 0 < self.validation < FEW and self.epochs[-1] > 1:
            error = _percent(math.sqrt(0.9 * 0.1 / self.validation))
            why = f"the standard error of an accuracy of 90 % is {error}, more than epochs differ"
            yield f"{self.validation} validation images cannot choose an epoch reliably: {why}; see the last epoch too"
        if name and not model.declaration[name].sees_whole_maps:
            below = model.inputs_of(name)[0]
            kernel = model.declaration[name].convs[0].kernel
            side = max(self.shapes[below][1:])
            if side == 1 or side >= 2 * kernel:
                why = "cannot use where a feature is" if side == 1 else "see only a part of an object"
                maps = f"maps of {side}×{side} by kernels of {kernel}×{kernel}, which {why}"
                hint = "--image-size 28 28, the size of MNIST's images"
                if self.events:
                    hint = f"another --set {below}.size"
                yield f"{name} reads {maps}; try {hint}"

    def diagnose_next(self, phase: Phase) -> Iterator[str]:
        """Yield which thresholds of a phase that begins are so high that hardly an image makes a neuron fire."""
        yield from self._diagnose_firing(phase, has_learned=False)

    def diagnose(self, phase: Phase, row: dict) -> Iterator[str]:
        """Yield what is wrong after a phase; ``row``: of its last epoch in ``Progress.history``."""
        has_learned = phase.needs_labels or row["convergence"] <= LEARNED
        wrong = [*self._diagnose_firing(phase, has_learned)]  # a threshold that fits comes first
        if not wrong and not phase.needs_labels:
            wrong = self.diagnose_learning(phase, row)
        yield from wrong
        if self.model.decision in phase.stages:
            yield from self._diagnose_decisions(phase)
            yield from self._diagnose_gap(phase, row)

    def diagnose_all(self, history: Sequence[dict]) -> list[str]:
        """Return what is wrong with the whole training, from the rows of ``Progress.history``."""
        rows = {row["phase"]: row for row in history}
        texts = [*self.diagnose_plan()]
        for phase in self.model.phases:
            if phase.name in rows:
                texts += self.diagnose(phase, rows[phase.name])
        return texts

    def diagnose_learning(self, phase: Phase, row: dict) -> Iterator[str]:
        """Yield whether the stages of a phase without labels have hardly learned, and how many features never won."""
        seen = row["images"] * row["epoch"]
        count = sum(layer.stage.out_channels for _, layer in self._layers(phase))
        highest, enough = self.needed[phase]
        longer = self.suggest_epochs(phase if seen >= enough else None)
        dead = ""
        if row["dead_features"] > NEVER_WON * count:
            dead = f"{phase.name}: {row['dead_features']} of {count} features never won"
        if dead and seen >= highest and self._have_constant_thresholds(phase.stages):
            yield f"{dead}; try {self.suggest_adaptive_thresholds()}"
            return  # the weights of these features have not changed, so w (1 - w) says nothing
        if highest and row["convergence"] > LEARNED:
            mean = f"the mean of w (1 - w) is {row['convergence']:.3g} (trained networks: below {LEARNED})"
            rate = f"its rate is the highest after {highest:,} images, and it has learned from {seen:,}"
            yield f"{phase.name} has hardly learned: {mean}; {rate}; try {longer}"
        if dead:
            yield f"{dead}; try {longer} or fewer features (--set {phase.name}.out_channels)"

    def _diagnose_firing(self, phase, has_learned):
        """Yield which stages are silent for many images or, if they have learned, fire too often."""
        for name, branch, label, layer in self._branches(phase):
            if layer.stage.decides:
                continue
            potentials = self.measure_potentials(name, layer)
            highest = potentials.max((1, 2, 3))  # of each image
            silent = float((highest <= layer.threshold).mean())
            fraction = float((potentials > layer.threshold).mean())
            advice = ""
            if silent > SILENT_MAP:
                what = f"is silent for {_percent(silent)} of the images: potentials reach {highest.max():.3g}"
                threshold = float(np.median(highest)) / 2
                if layer.threshold / CAREFUL <= threshold <= layer.threshold * CAREFUL:
                    field = f"{name}.threshold" if label == name else f"{name}.{branch}.threshold"
                    advice = f"; try --set {field}={threshold:.2g}"
            elif has_learned and fraction > OFTEN:
                what = f"fires often: {_percent(fraction)} of its neurons do (3 to 12 % in the networks here on MNIST)"
                if self._have_constant_thresholds([name]):  # another constant threshold is no cure (results/advice.log)
                    advice = f"; try {self.suggest_adaptive_thresholds()}"
            else:
                continue
            yield f"{label} {what}, the threshold is {layer.threshold:g}{advice}"

    def _diagnose_decisions(self, phase):
        name = self.model.decision
        decisions = self.model.predict(self.latencies).cpu()
        silent = float((decisions < 0).float().mean())
        counts = torch.bincount(decisions[decisions >= 0], minlength=1)
        share = float(counts.max() / len(decisions))
        share_of_labels = float((self.labels == counts.argmax()).float().mean())
        if silent > SILENT:
            yield f"{name} is silent for {_percent(silent)} of the images; try lower thresholds of the stages below it"
        elif share > ONE_CLASS and share_of_labels < ONE_CLASS / 2:
            yield f"{name} gives one class for {_percent(share)} of the images; try {self.suggest_epochs(phase)}"

    def _diagnose_gap(self, phase, row):
        train, validation = row["train_accuracy"], row["val_accuracy"]
        if validation is None or train - validation <= GAP:
            return
        text = f"{phase.name} decides {_percent(train)} of the training and {_percent(validation)} of the validation "
        text += "images correctly: it learns single images and not their classes"
        if phase.main_rule.name == RSTDP.name:
            text += f"; try --set {self.model.decision}.rule=margin"
        yield text

    def diagnose_readout(self, accuracy: float, readout: float) -> Iterator[str]:
        """Yield whether a linear readout of the stage below decides far better than the network. Two accuracies."""
        if readout - accuracy > BETTER and self.model.phases[-1].main_rule.name == RSTDP.name:
            decided = f"decides {_percent(accuracy)} of the images correctly, a linear readout {_percent(readout)}"
            reason = "the features tell the classes apart, and the decision stage does not learn them"
            yield f"{self.model.decision} {decided}: {reason}; try --set {self.model.decision}.rule=margin"

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

    def _count_needed(self, phase: Phase) -> tuple[int, int]:
        """Return (images until the rate is the highest, images until the weights are near 0 or 1); 0 if not STDP."""
        counts = [_count_by_rule(layer.stage, phase.rules[label]) for label, layer in self._layers(phase)]
        return tuple(map(max, zip(*counts, strict=True)))

    def suggest_epochs(self, longer: Phase | None = None) -> str:
        """Return ``--epochs …`` with enough epochs for each phase; ``longer``: a phase that gets twice its epochs."""
        epochs = []
        for phase, count, usual in zip(self.model.phases, self.epochs, self.usual_epochs, strict=True):
            enough = usual if phase.needs_labels else math.ceil(self.needed[phase][1] / self.images)
            if phase is longer:
                enough = max(enough, 2 * count)
            epochs.append(max(count, enough) if count else 0)
        return f"--epochs {' '.join(map(str, epochs))}"

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

    def _layers(self, phase):
        return list(self.model.named_layers(phase.stages))

    def _branches(self, phase):
        """Yield (stage, number of the branch, label, layer) of the stages of a phase."""
        for name in phase.stages:
            for number, (label, layer) in enumerate(self.model.named_layers([name])):
                yield name, number, label, layer


def _count_by_rule(conv: SpikingConv, rule: Rule) -> tuple[int, int]:
    if rule.needs_labels or not getattr(rule, "stabilize", False) or tuple(getattr(rule, "bounds", ())) != (0, 1):
        return 0, 0
    rates = rule.schedule(np.atleast_2d(rule.first_rates()), np.arange(1, MAX_IMAGES + 1), 0)[:, 0]
    highest = int(rates[:, 0].argmax()) + 1
    wins = min(1, rule.winners / conv.out_channels)  # for each image: each feature wins equally often
    changes = np.cumsum(abs(rates[:, 1])) * wins
    enough = int(np.searchsorted(changes, DISTANCE)) + 1
    return highest, max(highest, enough)


def _percent(fraction: float) -> str:
    rounded = float(f"{100 * fraction:.2g}")
    return f"{rounded:g} %"
