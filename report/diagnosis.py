"""A diagnosis of the training: a text for each stage where something is wrong, and the flags that the user can try.

The flags of all texts are one command, because a flag replaces that of the run (``join_advice``). All texts are about
measured numbers of this run. The published networks get no text on MNIST. Each advice was followed on data for which it
was not made, and increased the accuracy there: results/logs/advice.log. The text on borders only names a flag, because
another border gained nothing significant: results/logs/own-data.log.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.encoder import Encoder
from engine.lengths import Lengths
from engine.phases import Phase
from engine.progress import Row
from engine.rules import Rule
from engine.stages import INPUT
from imagesets.splits import choose_evenly
from network_trainer import LatencyDataset, NetworkTrainer
from report.evaluation import Accuracy
from s1c1 import BLACK, EDGE, S1C1

DIAGNOSED_IMAGES = 100  # training images on which the stages are measured
LIGHT = 64  # levels of 255
# Measured on 100 training images of MNIST with the weights of the best epoch of seven networks, some neurons of each
# stage fire for each image. After the last epoch of deepr2024, none of s3 fires for 3 to 6 % of the images.
SILENT_MAP = 30.0  # % of the images, for which no neuron of a stage fires
MOST = 50.0  # % likewise; its threshold is above the highest potential of the median image
# On the same images and weights, the threshold of a stage is 0.4 to 0.6 of the highest potential of the median image.
OF_POTENTIAL = 0.5
HIGH = 0.75  # likewise, of a stage that may be the reason why a stage above it is silent
UNLEARNED = 0.05  # convergence; at most 0.01 in the last epochs of results/runs/*.log
LEARNED = 0.01  # the convergence at which Kheradpisheh et al. 2018 stop a layer
LONGER = 10  # times the epochs of a phase that has hardly learned, if --converge would not train it longer
NEVER_WON = 0.05  # of the features: at most 0.4 % in results/runs/*.log, and 1.3 % in s2 of kheradpisheh2018
FAR_BELOW = 0.03  # of the images; at most 0.013 in results/runs/ on MNIST, Fashion-MNIST and CIFAR-10
NEAR = 0.1  # of the way from chance to 100 %
FEWEST_LEFT_OUT = 20  # labels of which it says something how many come back
NEARLY_ALL = 0.95  # of the spread labels


class Finding(NamedTuple):
    """What is wrong with a stage, or with the images.

    Attributes:
        stage: the stage, the phase or the images.
        measured, usual: in a few words.
        advice: {"converge", "encoder", "spread", "epochs.NUMBER" or "set.FIELD": value}.
    """

    stage: str
    measured: str
    usual: str
    advice: Mapping[str, Any] = {}

    @property
    def text(self) -> str:
        return f"{self.stage}: {self.measured} (usual: {self.usual})"


def join_advice(advice: Mapping[str, Any], lengths: Lengths, words: Sequence[str]) -> dict[str, list[str] | None]:
    """Return {flag: values} of all advice together, which replace those of the run; None: the flag is dropped.

    advice: of all findings. lengths: of the phases. words: of --set in the run, which are among the flags.
    """
    if not advice:
        return {}
    flags: dict[str, list[str] | None] = {}
    numbers = [advice.get(f"epochs.{number}", planned) for number, planned in enumerate(lengths.planned)]
    if numbers != [*lengths.planned]:
        flags["--epochs"] = [*map(str, numbers)]
    if "converge" in advice:
        flags["--converge"] = [f"{advice['converge']:g}"]
    if "encoder" in advice:
        flags["--encoder"] = [advice["encoder"]]
    if "spread" in advice:
        flags["--spread"] = None
    changes = {key.removeprefix("set."): value for key, value in advice.items() if key.startswith("set.")}
    if changes:
        fields = "|".join(name.replace(".", r"(\.\d+)?\.", 1) for name in changes)  # also of a single branch
        kept = [word for word in words if not re.match(rf"({fields})[.=]", word)]
        flags["--set"] = [*kept, *(f"{name}={value}" for name, value in changes.items())]
    return flags


class Diagnosis:
    """Diagnoses of the stages of a network before the training and after each of its phases.

    Args:
        model, encoder: the network, and what encodes its images.
        train: the encoded training images. DIAGNOSED_IMAGES of them are kept, evenly spaced.
        lengths: how many epochs the phases have.
    """

    def __init__(self, model: NetworkTrainer, encoder: Encoder, train: LatencyDataset, lengths: Lengths):
        self.model = model
        self.lengths = lengths
        self.encoder = encoder
        self.latencies = train.maps[INPUT][choose_evenly(len(train), DIAGNOSED_IMAGES)]

    def diagnose_border(self, border: float) -> Iterator[Finding]:
        """Yield whether the border of the training images is far from black, as which S1C1 continues them."""
        if border > LIGHT and getattr(self.encoder, "border", EDGE) == BLACK:
            measured = f"the border of the images is {border:.0f} of 255, and S1C1 continues them in black"
            yield Finding("input", measured, f"at most {LIGHT}, or --set encoder.border={EDGE}")

    def diagnose(self, phase: Phase, row: Row) -> Iterator[Finding]:
        """Yield what is wrong after a phase; ``row``: of its last epoch in ``Progress.history``."""
        silent = [*self._diagnose_firing(phase)]
        yield from silent
        if phase.needs_labels:
            yield from self._diagnose_accuracy(phase, row)
        elif not silent:
            yield from self.diagnose_features(phase, row)

    def diagnose_features(self, phase: Phase, row: Row) -> Iterator[Finding]:
        """Yield how many features never won in the last epoch, and whether the others have hardly learned."""
        count = sum(layer.stage.out_channels for _, layer in self.model.named_layers(phase.stages))
        if row.dead_features > NEVER_WON * count:
            measured = f"{row.dead_features} of {count} features never won in the last epoch"
            yield Finding(phase.name, measured, f"at most {100 * NEVER_WON:.0f} %")
        convergence = row.convergence or 0.0
        if convergence <= UNLEARNED or not stops_at_bounds(phase.main_rule):
            return
        found = phase.name, f"has hardly learned: convergence {convergence:.2g}", f"at most {LEARNED:g}"
        number = list(self.model.phases).index(phase)
        if row.epoch >= self.lengths.most[number]:  # --converge trains no longer
            yield Finding(*found, {f"epochs.{number}": LONGER * row.epoch})
        elif not self.lengths.converge:
            yield Finding(*found, {"converge": LEARNED})

    def _diagnose_firing(self, phase):
        """Yield which stages fire often, and which are silent for many images, with the potentials that they reach."""
        for name in phase.stages:
            below = self.model.map_of(self.latencies, self.model.input_name(name))[:]
            for layer_name, layer in self.model.named_layers([name]):
                if not layer.stage.fires:
                    continue
                fired = layer.fire(below) < self.model.time_steps
                silent = 100 * float((~fired.flatten(1).any(1)).float().mean())
                if silent > SILENT_MAP:
                    yield Finding(
                        layer_name,
                        f"silent for {silent:.0f} % of the images: potentials reach "
                        f"{layer.peaks(below).max():.3g}, the threshold is {layer.threshold:.3g}",
                        f"at most {SILENT_MAP:.0f} %",
                        self._advise_threshold(name) if silent > MOST else {},
                    )

    def _advise_threshold(self, name: str) -> Mapping[str, str]:
        """Return the advice to lower the threshold of the lowest stage, up to this one, whose threshold is high."""
        for source in self.model.inputs_of(name):
            if source != INPUT and (advice := self._advise_threshold(source)):
                return advice
        below = self.model.map_of(self.latencies, self.model.input_name(name))[:]
        for _, layer in self.model.named_layers([name]):
            middle = float(layer.peaks(below).amax(1).median())
            if middle and layer.threshold > HIGH * middle:
                return {f"set.{name}.threshold": f"{OF_POTENTIAL * middle:.2g}"}  # of all branches
        return {}

    def _diagnose_accuracy(self, phase, row):
        """Yield whether the validation accuracy is near chance, unless silence is the reason."""
        accuracy = row.val_accuracy
        if row.val_silent and 100 * row.val_silent > SILENT_MAP:
            measured = f"{100 * row.val_silent:.0f} % of the validation images are silent"
            yield Finding(phase.name, measured, f"at most {SILENT_MAP:.0f} %")
        elif accuracy is not None and is_near_chance(accuracy, self.model.num_classes):
            advice = {}
            if self.encoder.name not in (S1C1.name, self.model.encoder.name):
                advice = {"encoder": S1C1.name}
            chance = 100 / self.model.num_classes
            measured = f"the validation accuracy, {100 * accuracy:.0f} %, is near chance"
            yield Finding(phase.name, measured, f"far above {chance:.0f} %", advice)


def stops_at_bounds(rule: Rule) -> bool:
    """Return whether weights no longer change at the bounds of a rule, so that its convergence can reach 0."""
    plasticity = rule.plasticity()
    weights = np.array([plasticity.lower, plasticity.upper])
    return not any(np.any(plasticity.change(weights, rate)) for rate in (-1.0, 1.0))


def diagnose_spread(spread: Mapping[str, Any], class_names: Sequence[str]) -> Iterator[Finding]:
    """Yield whether labels that were spread are probably wrong. spread: the field of ``RunRecord``."""
    if len(class_names) < 2:
        return
    stage = "spread labels"
    advice = {"spread": False}
    count = spread["left_out"]
    if count >= FEWEST_LEFT_OUT:
        back, nearest = (Accuracy(spread[name] / count, count) for name in ("came_back", "nearest"))
        measured = f"of {count} given labels that were left out, only {spread['came_back']} come back"
        if back.fraction < 0.5 or is_near_chance(back.fraction, len(class_names)):
            yield Finding(stage, f"{measured}, so the spread labels are probably as wrong", "most", advice)
        elif nearest.is_above(back):
            usual = f"at least the {spread['nearest']} of the nearest labelled image"
            yield Finding(stage, measured, usual, advice)
    largest = max(spread["spread"])
    total = sum(spread["spread"])
    if largest > NEARLY_ALL * total:
        name = class_names[spread["spread"].index(largest)]
        yield Finding(
            stage, f"{largest:,} of {total:,} spread labels are of the class {name!r}", "of all classes", advice
        )


def compare_splits(validation: Accuracy, test: Accuracy) -> Iterator[Finding]:
    """Yield whether the test accuracy is far below the validation accuracy, with possible reasons.

    Both are balanced accuracies, because in the test part the proportions of the classes may be others.
    """
    if validation.is_above(test, FAR_BELOW):
        measured = f"balanced accuracy {test}, of the validation images {validation}"
        reasons = "they are of another kind, or one object, person or track is in the training and the validation part"
        yield Finding("test images", measured, f"equal; else {reasons}")


def is_near_chance(accuracy: float, classes: int) -> bool:
    return accuracy < (1 - NEAR) / classes + NEAR
