"""The layers of ``engine/backend.py`` on the compiled kernels."""

import time

import numpy as np

from engine import backend
from engine.event import deciding, firing, wide
from engine.event.competition import Competition
from engine.event.identity import make_plasticity
from engine.event.layout import BANK, WIDE_BANK, Weights, geometry_of, make_banks, make_rows, transpose, transpose_back
from engine.event.pace import pace_of
from engine.event.peaks import find_peaks, make_inputs, make_peaks
from engine.event.plasticity import update_batch
from engine.event.simd import lanes
from engine.event.together import LowerLayer, UpperLayer, update_both
from engine.geometry import pooled_size
from engine.threads import run_parts

IMAGES_AT_ONCE = 256  # images whose spikes are listed together when nothing is learned


class _Kernels:
    """What both kinds of layers have: the weights in the layout of the kernels."""

    block: int  # the length of a row is a multiple of this number

    def _prepare(self):
        self.array = self.weight.numpy()
        self.transposed = transpose(self.array)

    def _geometry(self, latency):
        return geometry_of(self.array, latency.shape[1:], self.time_steps, self.padding, self.block)

    def _weights(self, plasticity, rows):
        inside = plasticity.lower <= self.array.min() and self.array.max() <= plasticity.upper
        return Weights(self.transposed, rows, np.array([inside]))


class FiringLayer(_Kernels, backend.FiringLayer):
    """A layer with a threshold, its weights in rows."""

    def _prepare(self):
        super()._prepare()
        self.block = lanes(self.array.dtype)

    def _fire(self, latency, out, pool):
        kernel = firing.fire
        geometry = self._geometry(latency)
        thresholds = self._make_thresholds(geometry)
        if wide.is_faster(geometry):
            kernel = wide.fire
            geometry = geometry._replace(stride=WIDE_BANK)
        rows = make_rows(self.transposed, geometry.stride)
        run_parts(kernel, len(latency), latency.numpy(), rows, geometry, thresholds, pool, out.numpy())

    def _make_thresholds(self, geometry):
        raised = self.raised.numpy()
        start = np.zeros(geometry.stride, self.array.dtype)
        start[: geometry.features] -= raised
        return firing.Thresholds(self.array.dtype.type(self.limit), raised, start)

    def _compete_and_update(self, latency, rule, rates, draws, winners):
        geometry, weights, competition, plasticity = self._prepare_learning(latency, rule)
        rates = rates.astype(self.array.dtype)
        draws = draws._replace(steps=draws.steps * self.threshold)
        update_batch(latency.numpy(), geometry, weights, competition, plasticity, rates, draws, winners.numpy())
        transpose_back(self.transposed, self.array)

    def _prepare_learning(self, latency, rule):
        geometry = self._geometry(latency)
        plasticity = make_plasticity(rule, self.array.dtype)
        radius = min(rule.radius, max(geometry.out_height, geometry.out_width))  # no neuron is farther away
        competition = Competition(self._make_thresholds(geometry), rule.winners, radius)
        weights = self._weights(plasticity, make_rows(self.transposed, geometry.stride))
        return geometry, weights, competition, plasticity

    def _update_together(self, top, latency, labels, pool, rules, rates, result):
        rule, top_rule = rules
        rates, top_rates = rates
        if top_rates is None:
            top_rates = np.empty((0, 1, 2))
        lower = LowerLayer(*self._prepare_learning(latency, rule), pool)
        size = pooled_size(lower.geometry.out_height, lower.geometry.out_width, pool)
        between = latency.new_empty((1, self.features, *size))
        upper = UpperLayer(*top._prepare_learning(between, result.classes, top_rule))
        rates = rates.astype(self.array.dtype)
        top_rates = top_rates.astype(self.array.dtype)
        winners = result.winners.numpy()
        decisions = deciding.Decisions(result.decisions.numpy(), result.highest.numpy())
        update_both(latency.numpy(), labels.numpy(), lower, upper, rates, top_rates, winners, decisions)
        transpose_back(self.transposed, self.array)
        transpose_back(top.transposed, top.array)


class DecisionLayer(_Kernels, backend.DecisionLayer):
    """A layer without a threshold, its weights in banks."""

    block = BANK

    def _prepare(self):
        super()._prepare()
        self.banks = make_banks(self.transposed)

    def _peaks(self, latency, out):
        geometry = self._geometry(latency)
        images = min(len(latency), IMAGES_AT_ONCE)
        inputs = make_inputs(images, geometry)
        peaks = make_peaks(images, geometry.stride, self.array.dtype)
        for part, target in zip(latency.split(images), out.split(images), strict=True):
            find_peaks(part.numpy(), geometry, self.banks, deciding.chunk_size(geometry), inputs, peaks)
            target.numpy()[:] = peaks.values[: len(part), : self.features]

    def _prepare_learning(self, latency, classes, rule):
        """Return the layer, and the memory for as many images as there are in ``latency``."""
        geometry = self._geometry(latency)
        plasticity = make_plasticity(rule, self.array.dtype)
        layer = deciding.DecisionParameters(geometry, self._weights(plasticity, self.banks), plasticity, classes)
        inputs = make_inputs(len(latency), geometry)
        peaks = make_peaks(len(latency), geometry.stride, self.array.dtype)
        buffers = deciding.make_chunk_buffers(geometry, self.array.dtype)
        return layer, inputs, peaks, buffers

    def _decide_and_update(self, latency, labels, rule, rates, left_out, result):
        chunk = deciding.chunk_size(self._geometry(latency))
        layer, inputs, peaks, buffers = self._prepare_learning(latency[:chunk], result.classes, rule)
        latency = latency.numpy()
        labels = labels.numpy()
        rates = rates.astype(self.array.dtype)
        winners = result.decisions.numpy()
        highest = result.highest.numpy()
        start = 0
        pace = pace_of(self.array.shape)
        while start < len(latency):
            part = slice(start, start + chunk)
            begin = time.perf_counter()
            size = chunk // 2 if pace.threads > 1 else chunk  # images of a piece of work
            find_peaks(latency[part], layer.geometry, self.banks, size, inputs, peaks, pace.threads)
            decisions = deciding.Decisions(winners[part], highest[part])
            count = deciding.learn_chunk(
                labels[part], layer, rates[part], left_out[part], inputs, peaks, buffers, decisions
            )
            pace.add(count, time.perf_counter() - begin)
            start += count
        transpose_back(self.transposed, self.array)
