"""The compiled backend: event by event, on a CPU.

Each input spike adds its weights once, at its time, to the potentials that it reaches. (A frame-based simulation
convolves the whole cumulative wave again at each time step.) Images are learned one after another. What runs in
parallel (images in stages that do not learn, banks of features in the decision stage) changes no bit of the results.

The files follow the spike: ``layout`` (weights and potentials in memory), ``firing`` (spikes in the order of time,
potentials, first spikes), ``competition`` (winners), ``plasticity`` (the synapses of winners); ``peaks`` and
``deciding`` (the decision stage), ``together`` (a firing stage that learns with it); ``layers`` (the interface),
``pace`` (the number of threads), ``identity`` (rules whose classes have one name), ``simd`` (the addition of weights).
"""

from engine.backend import update_together
from engine.event.layers import DecisionLayer, FiringLayer

__all__ = ["DecisionLayer", "FiringLayer", "update_together"]
