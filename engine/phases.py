"""A phase of the training: the stages that learn in it, their rules, and how they learn from a batch.

``Phase.learn`` gives a batch to the layers (``engine/layers.py``). There, the neurons compete for each image, the
weights of the winners change by the rule, and the next image is computed with the new weights. To read these steps,
begin at ``learn_features`` in ``engine/torch_backend.py``.
"""

from collections.abc import Mapping
from inspect import signature
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from engine.checks import are_indices, is_finite, takes
from engine.decision import Outcome, classes_of, majority
from engine.graph import LatencyMap, StageGraph
from engine.layers import Layer
from engine.rules import Rule
from errors import InputError, abbreviate, refuse_result

HINT = "first weights may be outside its bounds until the first change: a power or a root needs abs(upper - w)"


class Learned(NamedTuple):
    """What a phase returns for a batch.

    Attributes:
        outcome: what the network's decisions are worth; None in a phase without labels.
        decisions: int64 (N, 1 + branches), the decisions of the network and of each branch, -1 for silence; None in a
            phase without labels.
        winners: {name of a layer that learned: the features that have won, int64 (wins,)}.
    """

    outcome: Outcome | None
    decisions: torch.Tensor | None
    winners: dict[str, torch.Tensor]


class Phase(nn.Module):
    """The stages that learn together, each of their convolutions by one rule.

    A rule that needs a state for each feature, or another way to learn, names a subclass as its ``phase``. The subclass
    may register buffers in ``add_state``, which checkpoints contain, and override how a layer learns: without labels
    ``learn_features``, with labels ``learn_decisions``, and ``learn_together`` with a firing stage below. They are
    those of the layers by default (``engine/layers.py``).

    Args:
        stages: their names. With labels they are the decision stage, or the firing stage below it, or both.
        rules: {name of each layer of the stages: its rule in this phase}. Either all need labels or none does.
        alternate: whether one stage learns at a time, the first in even batches and the second in odd batches. The
            rates of a stage adapt after its own batches.

    The buffer ``batches``, int64 (1,), counts the batches that the phase has learned from.

    Raises InputError if one of the rules names a phase of another class.
    """

    batches: torch.Tensor

    def __init__(self, stages: tuple[str, ...], rules: Mapping[str, Rule], alternate: bool = False):
        super().__init__()
        self.stages = tuple(stages)
        self.rules = dict(rules)
        self.alternate = alternate
        self.register_buffer("batches", torch.zeros(1, dtype=torch.int64))
        for rule in self.rules.values():
            kind = rule.phase or Phase
            if not isinstance(self, kind):
                raise InputError(
                    f"the rule {rule.name!r} learns in the phase {kind.__name__}, but {self.name} learns in "
                    f"{type(self).__name__}"
                )

    @property
    def name(self) -> str:
        return "+".join(self.stages)

    @property
    def main_rule(self) -> Rule:
        """The rule of the phase's highest stage."""
        return list(self.rules.values())[-1]

    @property
    def needs_labels(self) -> bool:
        return self.main_rule.needs_labels

    def add_state(self, network: StageGraph) -> None:
        """Register the buffers of a subclass. It is called once, when the network has all its layers and phases.

        ``network.named_layers(self.stages)`` yields (name, layer) of the layers that learn in the phase. A layer has
        ``layer.stage.out_channels`` features.
        """

    def learn(
        self,
        network: StageGraph,
        inputs: LatencyMap,
        labels: torch.Tensor | None = None,
        epoch: int = 0,
        rng: np.random.Generator | None = None,
    ) -> Learned:
        """Learn from a batch, one image after another; with labels, the rates then adapt to the outcome.

        Raises InputError also if the network learns in another thread.

        Args:
            network: whose stages learn.
            inputs: uint8 (N, C, H, W), the input of the phase's first stage, a tensor or packed.
            labels: int64 (N,); unused in a phase without labels.
            epoch: number of epochs of this phase before this one.
            rng: draws what a rule leaves to chance; None: seeded with the number of batches.
        """
        inputs = inputs[:].to(network.device)
        forms = [f"{buffer.dtype} {tuple(buffer.shape)}" for buffer in self.buffers()]
        with network.turns.learn():
            batch = int(self.batches)
            rng = rng or np.random.default_rng(batch)
            self.batches += 1
            active = self.stages
            if self.alternate:
                active = (self.stages[batch % len(self.stages)],)
            if not self.needs_labels:
                winners = {}
                for layer_name, layer in network.named_layers(active):
                    of_layer = self.learn_features(layer_name, layer, inputs, epoch)
                    shape = getattr(of_layer, "shape", ())
                    fits = shape == (len(inputs), *shape[1:2], 4)
                    if not (fits and are_indices(of_layer[..., 0], layer.stage.out_channels)):
                        refuse_result(self.learn_features, f"winners, int32 ({len(inputs)}, K, 4)", of_layer)
                    winners[layer_name] = list_winners(of_layer)
                learned = Learned(None, None, winners)
            elif labels is None:
                raise InputError(f"{self.name} learns with labels")
            elif active == (network.decision,):
                learned = self._learn_decisions(network, inputs, labels, epoch, rng)
            else:
                learned = self.learn_together(network, inputs, labels, epoch, active)
            if self.needs_labels and not isinstance(getattr(learned, "outcome", None), Outcome):
                raise InputError(
                    f"{type(self).__name__} must return Learned with an Outcome, not {abbreviate(learned)}"
                )
            for layer_name, layer in network.named_layers(active):
                rule = self.rules[layer_name]
                if learned.outcome:
                    layer.adapt(rule, learned.outcome)
                if not is_finite(layer.weight):
                    raise InputError(
                        f"rule {rule.name!r} made weights of {layer_name} NaN in batch {batch + 1}; {HINT}"
                    )
        if forms != [f"{buffer.dtype} {tuple(buffer.shape)}" for buffer in self.buffers()]:  # it could not be loaded
            raise InputError(f"the buffers of {type(self).__name__} must keep their types and shapes: {forms}")
        return learned

    def learn_features(self, name: str, layer: Layer, inputs: torch.Tensor, epoch: int) -> torch.Tensor:
        """Let a layer without labels learn from images, one after another.

        Args:
            name: the name of the layer; its rule is ``self.rules[name]``.
            layer: its ``weight``, (F, C, kernel, kernel), is on the device of the network.
            inputs: uint8 (N, C, H, W), the time step of each input spike; T, the number of time steps, is silence.
            epoch: number of epochs of this phase before this one.

        Returns the winners, int32 (N, K, 4) on the CPU: feature, line, column and time step; -1: fewer than K winners.
        The winners of an image have different features.
        """
        return layer.learn_features(inputs, self.rules[name], epoch)

    def learn_decisions(
        self,
        name: str,
        layer: Layer,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        classes: np.ndarray,
        epoch: int,
        rng: np.random.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Let the layer of a decision stage, or of each of its branches, learn from images, one after another.

        Afterwards, ``learn`` adapts the rates to the decisions.

        Args:
            name, layer, epoch: as in ``learn_features``.
            inputs: uint8 (N, C, H, W), the input of the layer: the time step of each spike; T is silence.
            labels: int64 (N,).
            classes: int64 (F,), the class of each feature.
            rng: draws what the rule leaves to chance.

        Returns which feature has decided each image, int64 (N,), -1 for silence, and its potential, (N,), by which
        branches vote.
        """
        result = layer.learn_decisions(inputs, labels, classes, rng, epoch)
        return result.decisions[:, 0].long(), result.highest

    def _learn_decisions(self, network, inputs, labels, epoch, rng):
        """Let every branch of the decision stage learn, and vote. inputs: uint8 (N, C, H, W), of the phase."""
        decision = network.find_decision()
        maps = {network.input_name(self.stages[0]): inputs}
        inputs = network.map_of(maps, network.input_name(decision))[:].to(network.device)
        classes = network.class_of_feature()
        votes = []
        highest = []
        winners = {}
        for layer_name, layer in network.named_layers([decision]):
            learned = self.learn_decisions(layer_name, layer, inputs, labels, classes, epoch, rng)
            shapes = [getattr(part, "shape", None) for part in learned] if isinstance(learned, tuple) else []
            if shapes != [labels.shape] * 2 or not are_indices(learned[0], len(classes)):
                form = f"features that decide and their potentials, two tensors ({len(labels)},)"
                refuse_result(self.learn_decisions, form, learned)
            feature, potential = (part.cpu() for part in learned)
            votes.append(classes_of(feature, classes))
            highest.append(potential.double())
            winners[layer_name] = feature[feature >= 0].long()
        votes = torch.stack(votes, 1)
        decisions = majority(votes, torch.stack(highest, 1), network.num_classes)
        outcome = Outcome.of(decisions, labels.cpu())
        return Learned(outcome, torch.cat([decisions[:, None], votes], 1), winners)

    def learn_together(
        self,
        network: StageGraph,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        epoch: int,
        active: tuple[str, ...],
    ) -> Learned:
        """Let a firing stage learn from the network's decisions, with the decision stage if that is active too.

        The arguments are those of ``learn``, which adapts the rates afterwards. inputs: uint8 (N, C, H, W), the input
        of the firing stage. active: the names of the stages that learn from this batch.
        """
        name = self.stages[0]
        decision = network.find_decision()
        pool = 1
        for between in network.between([name], network.inputs_of(decision)):
            pool = network.declaration[between].window
        classes = network.class_of_feature()
        (_, lower), (_, upper) = network.named_layers([name, decision])
        result = lower.learn_together(upper, inputs, labels, pool, classes, decision in active, epoch)
        winners = {name: list_winners(result.winners), decision: list_winners(result.decisions)}
        decisions = classes_of(result.decisions[:, 0].long(), classes)
        outcome = Outcome.of(decisions, labels.cpu())
        return Learned(outcome, decisions[:, None].repeat(1, 2), {stage: winners[stage] for stage in active})


def make_phase(stages: tuple[str, ...], rules: Mapping[str, Rule]) -> Phase:
    """Return the phase of these stages and rules, of the class that the rules name; of a class and its subclass, this.

    Raises InputError if they name other classes, or anything else.
    """
    kinds = [rule.phase for rule in rules.values() if rule.phase is not None]
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Phase)):
            raise InputError(f"the phase of a rule must be a subclass of engine.phases.Phase, not {kind!r}")
    chosen = max([Phase, *kinds], key=lambda kind: len(kind.mro()))
    for name in ("learn_features", "learn_decisions", "learn_together"):
        of_base = signature(getattr(Phase, name))
        if not takes(getattr(chosen, name), *of_base.parameters):
            raise InputError(f"{name} of {chosen.__name__} must have the arguments {of_base}")
    return chosen(stages, rules)


def list_winners(winners: torch.Tensor) -> torch.Tensor:
    """Return the features that have won, int64 (wins,), of winners (…, 3) or (…, 4) whose feature is -1 for none."""
    features = winners[..., 0]
    return features[features >= 0].long()
