"""Convolutional spiking networks in which every neuron fires at most once, on PyTorch tensors.

The output of a layer is a *spike wave* ``(T, C, H, W)`` of zeros and ones, ``wave[t] = 1`` from the neuron's spike time
on, or, equivalently, a *latency map* ``(C, H, W)`` of spike times, which are ``T`` for silent neurons.

The interface is that of Mozafari et al. 2019, *SpykeTorch*, Front. Neurosci. 13:625. Scripts and state dicts of the
original library work here. ``functional`` describes which results rounding can change. The package needs torch, and
matplotlib for pictures.

The operations of a small layer take microseconds. Several threads of torch therefore wait for each other most of the
time, and by default they spin while they wait. If other programs use the same cores, an image can take 20 times as long
as with one thread. Therefore the package sets ``OMP_WAIT_POLICY=passive``, unless the variable is set. OpenMP reads it
when torch is loaded: import SpykeTorch before torch, set the variable in the shell, or call
``torch.set_num_threads(1)``.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from . import functional, snn, utils, visualization

__version__ = "2.3.0"
__all__ = ["functional", "snn", "utils", "visualization"]
