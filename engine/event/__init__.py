"""The compiled backend: event by event, on a CPU.

Each input spike adds its weights once, at its time, to the potentials that it reaches. (A frame-based simulation
convolves the whole cumulative wave again at each time step.) Images are learned one after another. What runs in
parallel (images in stages that do not learn, banks of features in the decision stage) changes no bit of the results.

The files follow the spike: ``layout`` (weights and potentials in memory), ``firing`` (spikes in the order of time,
potentials, first spikes), ``counting`` (of features whose potentials are counts), ``competition`` (winners),
``plasticity`` (the synapses of winners), ``learning`` (all of these, one image after another); ``potentials``,
``screening`` and ``deciding`` (the decision stage), ``together`` (a firing stage that learns with it); ``backend`` (the
functions that layers call), ``identity`` (rules whose classes have one name), ``simd`` (the addition of weights).
"""

from engine.event.backend import fire, learn_decisions, learn_features, learn_together, peaks
