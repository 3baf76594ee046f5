"""The stages that a network is declared with, each kind in its file, which registers it in ``STAGES``.

They are records without weights. Latency maps flow through the stages: uint8 (N, C, H, W), the time step of each
neuron's only spike, ``time_steps`` for a silent neuron. A stage reads the stage declared before it, or those that
``inputs`` names; "input" is the map of the encoder.

``engine/layers.py`` computes with the kinds that have weights. The others, such as ``Pool``, compute their maps: in
tensor operations and, if these are too slow, by compiled code, which stands below the record. Learning rules are in
``engine/rules.py``.
"""

from engine.stages.convolution import Branches, Gather, SpikingConv, SpikingDense, Vote
from engine.stages.inhibit import Inhibit
from engine.stages.pool import Pool, Windowed, pool_latency, pooled_size
from engine.stages.stage import INPUT, STAGES, Region, Shape, Stage, read_shape, read_stages, set_fields
