"""Convolutional spiking networks in which every neuron fires at most once, on PyTorch tensors.

The activity of a layer is a *spike wave* ``(T, C, H, W)`` of zeros and ones, ``wave[t] = 1`` from the neuron's spike
time on, or, equivalently, a *latency map* ``(C, H, W)`` that holds the spike times and ``T`` for a silent neuron.

``functional`` holds the operations, ``snn`` the modules with weights and the STDP rule, ``utils`` the encoding of
images and ``visualization`` the pictures. The interface is that of Mozafari et al. 2019, *SpykeTorch*, Front. Neurosci.
13:625; scripts and state dicts of the original library work here as they are. ``functional`` says what to expect where
float32 cannot tell two potentials apart. Nothing but torch is needed, and matplotlib for the pictures.
"""

from . import functional, snn, utils, visualization

__all__ = ["functional", "snn", "utils", "visualization"]
