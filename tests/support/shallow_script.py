"""A script as users of SpykeTorch write it: ``python shallow_script.py STATE_FILE``.

One layer learns from small digits. It needs the package SpykeTorch and nothing else of the repository. It saves the
state dict with the names that the original library gives to a layer's rule, and prints the package's path and versions.
"""

import sys
from importlib import metadata

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

import SpykeTorch
from SpykeTorch import functional as sf
from SpykeTorch import snn, utils


class Shallow(torch.nn.Module):
    def __init__(self, features=16):
        super().__init__()
        self.conv = snn.Convolution(2, features, 5, 0.8, 0.05)
        self.stdp = snn.STDP(self.conv, (0.02, -0.015))
        self.pool = snn.Pooling(4, 4)

    def forward(self, wave):
        """Return the wave of the pooled features; learn in training."""
        padded = sf.pad(wave.float(), (2, 2, 2, 2))
        spikes, potentials = sf.fire(self.conv(padded), 6, return_thresholded_potentials=True)
        if self.training:
            potentials = sf.pointwise_inhibition(potentials)
            spikes = potentials.sign()
            self.stdp(padded, potentials, spikes, sf.get_k_winners(potentials, 3, 2, spikes))
        return self.pool(spikes)


def encode(image, filter=utils.Filter([utils.DoGKernel(3, 0.5, 1), utils.DoGKernel(3, 1, 0.5)], 1, thresholds=1)):  # noqa: B008
    response = sf.local_normalization(filter(torch.from_numpy(image).float()[None, None]), 4)
    return utils.Intensity2Latency(8, to_spike=True)(response)


def main(state_file):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = utils.CacheDataset([(encode(image), 0) for image in load_digits().images[:100]])
    network = Shallow()
    before = network.conv.weight.clone()
    for waves, _ in DataLoader(digits, batch_size=50, shuffle=True):
        for wave in waves:
            network(wave)
        ap = network.stdp.learning_rate[0][0].item() * 2
        network.stdp.update_all_learning_rate(ap, -0.75 * ap)
    assert (network.conv.weight != before).flatten(1).any(1).sum() > 4
    state = {"conv.weight": network.conv.weight, "stdp.conv_layer.weight": network.conv.weight}
    for feature, (ltp, ltd) in enumerate(network.stdp.learning_rate):
        state |= {f"stdp.ltp_{feature}": ltp.float(), f"stdp.ltd_{feature}": ltd.float()}
    torch.save(state, state_file)
    twin = Shallow().eval()
    twin.load_state_dict(torch.load(state_file, weights_only=True))
    assert torch.equal(twin(digits[0][0]), network.eval()(digits[0][0]))
    print(SpykeTorch.__file__)
    print(SpykeTorch.__version__, metadata.version("first-spike-networks"))


if __name__ == "__main__":
    main(*sys.argv[1:])
