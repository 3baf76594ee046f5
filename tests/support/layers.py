"""Layers with given weights, which learn with given rates. What is learned is seen in the weights."""

import math
from dataclasses import replace

import torch
from torch import nn

from engine.backends import BACKENDS
from engine.layers import Layer
from engine.stages import SpikingConv


def make_layer(backend, weight, time_steps=15, padding=0, threshold=math.inf, rule=None):
    """Return a layer that has the tensor ``weight`` (F, C, k, k)."""
    features, channels, kernel, _ = weight.shape
    stage = SpikingConv(features, kernel, padding=padding, threshold=threshold, rule=rule)
    layer = Layer(stage, channels, time_steps, backend, weight.dtype)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def learn_features(layer, latency, rule, rates):
    """Learn without labels by a rule that the layer need not have, with rates (N, 1, 2)."""
    return layer.backend.learn_features(layer, latency, rule, rates)


def set_rule(layer, rule):
    """Let a layer learn by another rule, which users cannot do."""
    vars(layer)["stage"] = replace(layer.stage, rule=rule)


def learn_decisions(layer, latency, labels, classes, rates, left_out=None):
    """Learn by the layer's rule, with rates (N, rows, 2)."""
    return layer.backend.learn_decisions(layer, latency, torch.as_tensor(labels), classes, rates, left_out)


def learn_on_both(learn):
    """Return the tensors of ``learn(backend)``, which must be equal on both backends up to rounding."""
    ends = [learn(backend) for backend in BACKENDS]
    torch.testing.assert_close(*ends, rtol=0, atol=1e-12)
    return ends[0]
