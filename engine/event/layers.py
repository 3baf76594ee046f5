"""What the stages call: the layers of ``engine/backend.py`` on the compiled kernels."""

import time

import numpy as np
from numba import get_num_threads

from engine import backend
from engine.event import crew, deciding, firing, pace, peaks, plasticity, together
from engine.event.competition import Competition
from engine.event.layout import BANK, Weights, geometry_of, in_banks, in_rows, turn, turn_back
from engine.geometry import pooled_size


class FiringLayer(backend.FiringLayer):
    """A layer with a threshold, its weights in the layout of the kernels."""

    def _prepare(self):
        self.array = self.weight.numpy()
        self.rows, self.stride = in_rows(self.array)

    def _geometry(self, latency):
        return geometry_of(self.array, latency.shape[1:], self.time_steps, self.padding, self.stride)

    def _fire(self, latency, out, pool):
        threshold = self.array.dtype.type(self.threshold)
        firing.fire(
            latency.numpy(), self.rows, self._geometry(latency), threshold, pool, get_num_threads(), out.numpy()
        )

    def _learn(self, latency, rule, rates, winners):
        geometry, weights, competition, change = self._to_learn(latency, rule)
        plasticity.learn(
            latency.numpy(), geometry, weights, competition, change, rates.astype(self.array.dtype), winners.numpy()
        )
        turn_back(weights.turned, self.array)

    def _to_learn(self, latency, rule):
        geometry, change = self._geometry(latency), rule.plasticity(self.array.dtype.type)
        inside = np.array([plasticity.within(self.rows, geometry.features, geometry.stride, change)])
        radius = min(rule.radius, max(geometry.out_height, geometry.out_width))  # no neuron is farther away
        competition = Competition(self.array.dtype.type(self.threshold), rule.winners, radius)
        return geometry, Weights(turn(self.array), self.rows, inside), competition, change

    def _learn_together(self, top, latency, labels, pool, rules, rates, found):
        lower = together.Firing(*self._to_learn(latency, rules[0]), pool)
        size = pooled_size(lower.geometry.out_height, lower.geometry.out_width, pool)
        inner = latency.new_empty((1, self.features, *size))
        upper = top._deciding(inner, found.classes, rules[1], rates[1] is not None)
        dtype = self.array.dtype
        nothing = np.zeros((len(latency), 1, 2), dtype)
        together.learn(
            latency.numpy(), labels.numpy(), lower, upper, rates[0].astype(dtype),
            nothing if rates[1] is None else rates[1].astype(dtype), found.winners.numpy(),
            deciding.Decisions(found.decisions.numpy(), found.highest.numpy()),
        )  # fmt: skip
        turn_back(lower.weights.turned, self.array)
        turn_back(upper.weights.turned, top.array)


class DecisionLayer(backend.DecisionLayer):
    """A layer without a threshold, its weights in the layout of the kernels."""

    def _prepare(self):
        self.array = self.weight.numpy()
        self.turned = turn(self.array)
        self.banks = in_banks(self.turned)

    def _geometry(self, latency):
        return geometry_of(self.array, latency.shape[1:], self.time_steps, self.padding, BANK)

    def _peaks(self, latency, out):
        peaks.find_peaks(latency.numpy(), self._geometry(latency), self.banks, out.numpy())

    def _deciding(self, latency, classes, rule, learning):
        change = rule.plasticity(self.array.dtype.type)
        inside = np.array([change.lower <= self.array.min() and self.array.max() <= change.upper])
        weights = Weights(self.turned, self.banks, inside)
        return deciding.Deciding(self._geometry(latency), weights, change, classes, rule.most_learners, learning)

    def _learn(self, latency, labels, classes, rule, rates, left_out, found):
        layer = self._deciding(latency, classes, rule, True)
        threads = crew.useful_threads(layer.geometry, len(latency), get_num_threads())
        pacer, start = pace.pace_of(self.array.shape, threads), time.perf_counter()
        threads = pacer.threads() if pacer else threads
        scratch = deciding.make_scratch(layer.geometry, self.banks, layer.most_learners)
        members = crew.make_crew(layer.geometry, layer.weights, len(latency), threads)
        with crew.helpers(members, latency.numpy()):
            deciding.learn(
                latency.numpy(), labels.numpy(), layer, rates.astype(self.array.dtype), left_out, members, scratch,
                deciding.Decisions(found.decisions.numpy(), found.highest.numpy()),
            )  # fmt: skip
        if pacer:
            pacer.note(threads, len(latency), time.perf_counter() - start)
        turn_back(self.turned, self.array)
