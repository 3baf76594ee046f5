"""Convolutional spiking networks in which every neuron fires at most once, on PyTorch tensors.

The output of a layer is a *spike wave* ``(T, C, H, W)`` of zeros and ones, ``wave[t] = 1`` from the neuron's spike time
on, or, equivalently, a *latency map* ``(C, H, W)`` of spike times, which are ``T`` for silent neurons.

The interface is that of Mozafari et al. 2019, *SpykeTorch*, Front. Neurosci. 13:625. Scripts and state dicts of the
original library work here; ``functional`` describes which results rounding can change. The package needs torch, and
matplotlib for pictures.
"""

from . import functional, snn, utils, visualization

__all__ = ["functional", "snn", "utils", "visualization"]
