"""A script as users of SpykeTorch write it: one layer learns the strokes of small digits, which are classified by the
mean spike counts of the features.

    python shallow_script.py STATE_FILE

It needs the package SpykeTorch and nothing else of the repository. It saves the state dict with the names that the
original library gives to a layer's rule, and prints the path of the package and the accuracies on 200 test digits
before and after training.
"""

import sys

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

import SpykeTorch
from SpykeTorch import functional as sf
from SpykeTorch import snn, utils


class Digits:
    """Images of 16×16 pixels as waves of on- and off-centre cells."""

    def __init__(self, part, filter, time_steps=8):
        digits = load_digits()
        self.images, self.labels = torch.from_numpy(digits.images[part]).float(), digits.target[part].tolist()
        self.filter = filter
        self.border = filter.max_window_size // 2
        self.temporal = utils.Intensity2Latency(time_steps)

    def __getitem__(self, index):
        image = nn.functional.interpolate(self.images[None, None, index], scale_factor=2, mode="bilinear")
        image = sf.local_normalization(self.filter(sf.pad(image, (self.border,) * 4)), 4)
        return self.temporal.intensity_to_latency(image).sign().byte(), self.labels[index]

    def __len__(self):
        return len(self.labels)


class Shallow(nn.Module):
    def __init__(self, in_channels, features=16):
        super().__init__()
        self.conv = snn.Convolution(in_channels, features, 5, 0.8, 0.05)
        self.stdp = snn.STDP(self.conv, (0.02, -0.015))
        self.pool = snn.Pooling(4, 4)
        self.winners = []

    def forward(self, wave):
        """Return the wave of the pooled features; keep what the rule needs."""
        self.input = sf.pad(wave.float(), (2, 2, 2, 2))
        spikes, potentials = sf.fire(self.conv(self.input), 6, return_thresholded_potentials=True)
        if self.training:
            potentials = sf.pointwise_inhibition(potentials)
            spikes = potentials.sign()
            self.winners = sf.get_k_winners(potentials, 3, 2, spikes)
        self.potentials, self.spikes = potentials, spikes
        return self.pool(spikes)

    def learn(self):
        self.stdp(self.input, self.potentials, self.spikes, self.winners)


@torch.no_grad()
def compute_accuracy(network, train, test):
    """Return the accuracy if each test digit gets the class with the nearest mean spike counts."""
    network.eval()
    counts, labels = zip(*((network(wave).sum(0).flatten(), label) for wave, label in train), strict=True)
    counts, labels = torch.stack(counts), torch.tensor(labels)
    means = torch.stack([counts[labels == digit].mean(0) for digit in range(10)])
    right = [torch.cdist(network(wave).sum(0).view(1, -1), means).argmin() == label for wave, label in test]
    return sum(right).item() / len(test)


def main(state_file):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    filter = utils.Filter([utils.DoGKernel(3, 0.5, 1), utils.DoGKernel(3, 1, 0.5)], thresholds=1)
    train, test = (utils.CacheDataset(Digits(part, filter)) for part in (slice(300), slice(-200, None)))
    network = Shallow(filter.number_of_kernels)
    before = compute_accuracy(network, train, test)
    network.train()
    for waves, _ in DataLoader(train, batch_size=100, shuffle=True):
        for wave in waves:
            network(wave)
            network.learn()
        if network.stdp.learning_rate[0][0].item() < 0.15:
            ap = network.stdp.learning_rate[0][0].item() * 2
            network.stdp.update_all_learning_rate(ap, -0.75 * ap)
    after = compute_accuracy(network, train, test)
    state = {"conv.weight": network.conv.weight, "stdp.conv_layer.weight": network.conv.weight}
    for feature, (ltp, ltd) in enumerate(network.stdp.learning_rate):
        state |= {f"stdp.ltp_{feature}": ltp.float(), f"stdp.ltd_{feature}": ltd.float()}
    torch.save(state, state_file)
    twin = Shallow(filter.number_of_kernels)
    twin.load_state_dict(torch.load(state_file, weights_only=True))
    wave, _ = test[0]
    assert torch.equal(twin.eval()(wave), network(wave))
    assert all(entry is not None for entry in train.cache)
    print(SpykeTorch.__file__, before, after, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
