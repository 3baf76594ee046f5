"""mozafari2018 in the way of upstream scripts, with the SpykeTorch interface only.

It computes whole spike waves, with a convolution for each time step, image by image, and each step from the input up.
The rates are constant: they do not double for STDP, nor adapt to the outcomes for R-STDP.
"""

import torch

from SpykeTorch import functional as sf
from SpykeTorch import snn


class Reference:
    """A network with the weights of the three layers of a trained ``mozafari2018``.

    classes: the class of each feature of s3.
    """

    def __init__(self, weights, classes):
        self.convs = []
        for weight in weights:
            features, channels, kernel, _ = weight.shape
            conv = snn.Convolution(channels, features, kernel)
            conv.load_weight(weight)
            self.convs.append(conv)
        first, second, third = self.convs
        rates = (0.004, -0.003)
        self.stdp = [snn.STDP(first, rates), snn.STDP(second, rates)]
        self.reward = snn.STDP(third, rates, False, 0.2, 0.8)
        self.punishment = snn.STDP(third, (-0.004, 0.0005), False, 0.2, 0.8)
        self.classes = classes

    def learn_s1(self, wave):
        padded = sf.pad(wave, (2, 2, 2, 2))
        _, potentials = sf.fire(self.convs[0](padded), 15, True)
        inhibited = sf.pointwise_inhibition(potentials)
        winners = sf.get_k_winners(inhibited, 5, 3, inhibited.sign())
        self.stdp[0](padded, inhibited, inhibited.sign(), winners)

    def _s2_input(self, wave):
        spikes = sf.fire(self.convs[0](sf.pad(wave, (2, 2, 2, 2))), 15)
        return sf.pad(sf.pooling(spikes, 2, 2), (1, 1, 1, 1))

    def learn_s2(self, wave):
        padded = self._s2_input(wave)
        _, potentials = sf.fire(self.convs[1](padded), 10, True)
        inhibited = sf.pointwise_inhibition(potentials)
        winners = sf.get_k_winners(inhibited, 8, 1, inhibited.sign())
        self.stdp[1](padded, inhibited, inhibited.sign(), winners)

    def _decide(self, wave):
        spikes = sf.fire(self.convs[1](self._s2_input(wave)), 10)
        padded = sf.pad(sf.pooling(spikes, 3, 3), (2, 2, 2, 2))
        potentials = self.convs[2](padded)
        spikes = sf.fire(potentials)
        winners = sf.get_k_winners(sf.threshold(potentials), 1, 0, spikes)
        return padded, potentials, spikes, winners

    def evaluate(self, wave):
        winners = self._decide(wave)[-1]
        return int(self.classes[winners[0][0]]) if winners else -1

    def learn_s3(self, wave, label):
        padded, potentials, spikes, winners = self._decide(wave)
        if winners:
            rule = self.reward if int(self.classes[winners[0][0]]) == label else self.punishment
            rule(padded, potentials, spikes, winners)


def make_waves(latencies, steps):
    """Return latency maps (N, C, H, W) as the spike waves (N, T, C, H, W) that such a script reads."""
    return (latencies[:, None] <= torch.arange(steps)[:, None, None, None]).float()
