"""The network mozafari2018 and how it learns, in one file: from images to decisions.

    python -m tutorial.one_file --images 300 --epochs 1 1 1

Each neuron spikes at most once for an image. So the output of a layer is one number for each neuron, the time step of
its spike: 0 to 14, or 15 if it is silent. The layers s1 and s2 learn features without labels (STDP), first s1, then s2.
The layer s3 decides, and learns from the reward of its decisions (R-STDP). Weights change after each image. In float64,
the engine's network learns the same weights to the last bit. For speed, it sets those below 2.2e-308 to 0.
Papers: Mozafari et al. 2018 (Pattern Recognition 94, 2019, arXiv 1804.00227); Kheradpisheh et al. 2018 (Neural Networks
99). The numbers are those of SpykeTorch's script for MNIST.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the imports are, also for ``python tutorial/one_file.py``

from s1c1 import S1C1  # isort: skip  before torch, see engine/__init__.py
import argparse

import numpy as np
import torch
from torch.nn.functional import conv2d, max_pool2d, pad
from tqdm import tqdm

from errors import InputError
from imagesets import load

T = 15  # number of time steps; as a spike time: silent
TOLERANCE = 64 * np.finfo(np.float64).eps  # relative; sums that differ by less are equal: rounding must not decide
CLASSES = np.repeat(np.arange(10), 20)  # the class of each feature of s3


def add(weight: torch.Tensor, inputs: torch.Tensor, step: int) -> torch.Tensor:
    """Return the potentials (F, H, W) after a time step: V(t) = Σ w · [t_in <= t] (Mozafari et al. 2018).

    There is no leak and no reset. All neurons of a feature have the same weights, k·k for each input map.
    weight: float64 (F, C, k, k). inputs: the spike times t_in, int64 (C, H, W); around the maps, neurons are silent.
    """
    return conv2d((inputs <= step).double()[None], weight, padding="same")[0]


def fire(weight: torch.Tensor, inputs: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the spike times t_out, int64 (F, H, W), and the potentials at these times; 0 of silent neurons.

    t_out = min {t : V(t) > threshold}, or T if there is none (Mozafari et al. 2018). Weights are not negative, so a
    potential never falls: a neuron that spikes at t is above the threshold in T - t time steps.
    """
    potentials = torch.stack([add(weight, inputs, step) for step in range(T)])  # (T, F, H, W)
    times = T - (potentials > threshold * (1 + TOLERANCE)).sum(0)
    at_spike = potentials.gather(0, times.clamp(max=T - 1)[None])[0]
    return times, torch.where(times < T, at_spike, 0)


def find_strongest(potentials: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the index of the highest potential along a dimension; of equal ones, the first."""
    return (potentials >= potentials.amax(dim, keepdim=True) * (1 - TOLERANCE)).int().argmax(dim)


def compete(times: torch.Tensor, potentials: torch.Tensor, winners: int, radius: int) -> list[tuple]:
    """Return the winners, which learn: (feature, row, column, time) (Kheradpisheh et al. 2018, section 2.3).

    At each position, only the first neuron to spike can win; of all these, the earliest wins. It inhibits its feature,
    and all neurons at most ``radius`` rows and columns away. Then the next neuron wins, up to ``winners``. If several
    spike at the same time, the highest potential is first; of equal ones, the lowest feature, row and column.
    """
    first = find_strongest(torch.where(times == times.amin(0), potentials, 0), 0)  # the feature at each position
    times = torch.where(torch.arange(len(times))[:, None, None] == first, times, T)
    chosen = []
    while len(chosen) < winners and times.min() < T:
        time = int(times.min())
        strongest = find_strongest(torch.where(times == time, potentials, 0).flatten(), 0)
        feature, row, column = np.unravel_index(int(strongest), times.shape)
        chosen.append((feature, row, column, time))
        times[feature] = T
        times[:, max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1] = T
    return chosen


def pool(times: torch.Tensor, size: int) -> torch.Tensor:
    """Return the earliest spike time in each window of size·size neurons (Mozafari et al. 2018)."""
    return -max_pool2d(-times.double(), size).long()


def learn(weight, winners, inputs, ltp, ltd, lower=0.0, upper=1.0, stabilize=True) -> None:
    """Change the weights of the winners by STDP (Kheradpisheh et al. 2018, section 2.3).

    Δw = s(w) · ltp if t_in <= t_out, otherwise s(w) · ltd, also if the input is silent. The stabilizer slows
    weights near their bounds, s(w) = (w - lower)(upper - w); without it, s(w) = 1. If no neuron wins, nothing changes.
    """
    k = weight.shape[-1]
    padded = pad(inputs, [k // 2] * 4, value=T)
    for feature, row, column, t_out in winners:  # all were chosen before any of them learns
        t_in = padded[:, row : row + k, column : column + k]
        w = weight[feature]
        s = (w - lower) * (upper - w) if stabilize else 1.0
        weight[feature] = w + s * ((t_in <= t_out).double() * ltp + (t_in > t_out).double() * ltd)
    if winners:  # clamp the weights of all features, because first weights lie outside the bounds, in s3 half of them
        weight.clamp_(lower, upper)


def decide(weight: torch.Tensor, inputs: torch.Tensor) -> list[tuple]:
    """Return the winner, whose class is the decision; [] if the image is silent (Mozafari et al. 2018, section 2.5).

    The neuron with the highest potential at the last time step wins, so it only matters *whether* an input has spiked.
    """
    potentials = add(weight, inputs, T - 1)
    feature, row, column = np.unravel_index(int(find_strongest(potentials.flatten(), 0)), potentials.shape)
    return [(feature, row, column, T - 1)] if potentials.max() > 0 else []


def learn_features(name, weight, maps, epochs, seeds, threshold, winners, radius, double_every) -> None:
    """Learn by STDP. LTP is 0.004, and doubles at image 500, 1,000, … (double_every) up to 0.15. LTD is -0.75 · LTP."""
    orders = [np.random.default_rng((*seeds, epoch)).permutation(len(maps)) for epoch in range(epochs)]
    for number, n in enumerate(tqdm(np.ravel(orders), name, leave=False, disable=None), 1):
        ltp = min(0.004 * 2 ** min(number // double_every, 6), 0.15)  # 0.004 · 2**6 is above 0.15
        times, potentials = fire(weight, maps[n], threshold)
        learn(weight, compete(times, potentials, winners, radius), maps[n], ltp, -0.75 * ltp)


def learn_decisions(weight, maps, labels, epochs, seeds, batch_size) -> None:
    """Learn by R-STDP (Mozafari et al. 2018, section 2.5): STDP after a correct decision, anti-STDP after a wrong one.

    The rates follow the last batch: those of the reward are in proportion to its fraction of wrong decisions, those of
    the punishment to that of correct ones, so a good network learns mostly from its errors. A silent image changes no
    weight, but counts in the size of its batch.
    """
    wrong, correct = 1.0, 1.0
    for epoch in range(epochs):
        order = np.random.default_rng((*seeds, epoch)).permutation(len(maps))
        for batch in np.split(order, range(batch_size, len(order), batch_size)):
            outcomes = []  # whether the decision is correct, for all images that are not silent
            for n in tqdm(batch, f"s3, epoch {epoch + 1}", leave=False, disable=None):
                winners = decide(weight, maps[n])
                if winners:
                    is_correct = CLASSES[winners[0][0]] == labels[n]
                    rates = (0.004 * wrong, -0.003 * wrong) if is_correct else (-0.004 * correct, 0.0005 * correct)
                    learn(weight, winners, maps[n], *rates, lower=0.2, upper=0.8, stabilize=False)
                    outcomes.append(is_correct)
            correct = sum(outcomes) / len(batch)
            wrong = (len(outcomes) - sum(outcomes)) / len(batch)


def train(images, labels, epochs, seed=0, double_every=500, batch_size=1000) -> tuple[dict, np.ndarray]:
    """Train a network. Return {"s1": weights, float64 (30, 6, 5, 5), …}, and the decisions int64 (N,); -1: silent.

    images: uint8 (N, 28, 28). labels: int (N,), 0 to 9. epochs: of s1, s2 and s3. Raises InputError for others.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or not len(images):
        raise InputError(f"images must be uint8 (N, 28, 28), not {images.dtype} {images.shape}")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or not np.isin(labels, CLASSES).all():
        raise InputError(f"labels must be {len(images)} classes from 0 to 9, integers, one for each image")
    if len(epochs) != 3 or not all(isinstance(count, int | np.integer) and count >= 0 for count in epochs):
        raise InputError(f"epochs must be 3 whole numbers from 0 on, of s1, s2 and s3, not {epochs}")
    for name, number, least in ("seed", seed, 0), ("double_every", double_every, 1), ("batch_size", batch_size, 1):
        if not isinstance(number, int | np.integer) or number < least:
            raise InputError(f"{name} must be a whole number from {least} on, not {number!r}")
    rng = np.random.default_rng(seed)
    s1 = torch.from_numpy(rng.normal(0.8, 0.05, (30, 6, 5, 5)))
    s2 = torch.from_numpy(rng.normal(0.8, 0.05, (250, 30, 3, 3)))
    s3 = torch.from_numpy(rng.normal(0.8, 0.05, (200, 250, 5, 5)))
    maps = S1C1().encode(images).long()  # strong contrasts spike first (Mozafari et al. 2018, section 2)
    learn_features("s1", s1, maps, epochs[0], (seed, 0), 15, winners=5, radius=3, double_every=double_every)
    maps = [pool(fire(s1, inputs, 15)[0], 2) for inputs in tqdm(maps, "c1", leave=False, disable=None)]
    learn_features("s2", s2, maps, epochs[1], (seed, 1), 10, winners=8, radius=1, double_every=double_every)
    maps = [pool(fire(s2, inputs, 10)[0], 3) for inputs in tqdm(maps, "c2", leave=False, disable=None)]
    learn_decisions(s3, maps, labels, epochs[2], (seed, 2), batch_size)
    winners = [decide(s3, inputs) for inputs in maps]
    return {"s1": s1, "s2": s2, "s3": s3}, np.array([CLASSES[found[0][0]] if found else -1 for found in winners])


def main(words: list[str] | None = None) -> None:
    """Train from the command line, and print the accuracy on the images that were learned."""
    parser = argparse.ArgumentParser("one_file", argparse.SUPPRESS, __doc__.split("\n")[0])  # errors without the usage
    parser.add_argument("--images", type=int, default=300, help="of MNIST (default: 300, too few for good results)")
    parser.add_argument("--epochs", type=int, nargs=3, default=[1, 1, 1], help="of s1, s2 and s3 (default: 1 1 1)")
    args = parser.parse_args(words)
    data = load("mnist")
    if not 1 <= args.images <= len(data.train_images):
        parser.error(f"--images must be 1 to {len(data.train_images)}, not {args.images}")
    labels = data.train_labels[: args.images]
    try:
        _, decisions = train(data.train_images[: args.images], labels, args.epochs)
    except InputError as error:
        parser.error(str(error))
    print(f"{np.mean(decisions == labels):.2%} of the {len(labels)} images that were learned are classified correctly")


if __name__ == "__main__":
    main()
