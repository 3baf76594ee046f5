"""The compiled backend, event by event, on a CPU.

Every input spike adds its weights, once and at its time, to the potentials it reaches; a frame-based simulation
convolves the whole cumulative wave again at every time step. Learning stays one image after another; what runs in
parallel (images in stages that do not learn, banks of features in the decision stage) does not change a single bit.

The files follow the spike: ``layout`` (how weights and potentials lie in memory), ``firing`` (spikes in order of time,
potentials, first spikes), ``competition`` (who wins), ``plasticity`` (what a winner's synapses become); ``peaks`` and
``deciding`` (the decision stage), ``together`` (it and a firing stage at once); ``layers`` (what the stages call);
``simd`` (the vector loops).
"""

from engine.backend import learn_together
from engine.event.layers import DecisionLayer, FiringLayer

__all__ = ["DecisionLayer", "FiringLayer", "learn_together"]
