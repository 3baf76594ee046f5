"""Every operation of SpykeTorch against the values in golden/ops.npz, float32.

Spikes, winners and weights are equal; sums may differ by the order of their additions, see ``allowed``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from SpykeTorch import functional as sf
from SpykeTorch import snn, utils
from SpykeTorch import visualization as vis

pytestmark = pytest.mark.other_torch
GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "ops.npz")
INPUTS = {"filter/in", "norm/in", "lateral/in", "latency/in", "wave", "conv/weight", "deep_feature/in"}
RESULTS = [key for key in GOLDEN.files if key not in INPUTS]
EPS = torch.finfo(torch.float32).eps
ROUNDINGS = {  # of numbers of one sign, by the first part of the key; see ``allowed``
    "dog": 1,  # computed in float64
    "gabor": 1,
    "gabor_div": 1,
    "norm": 81 + 2,  # the mean of a 9×9 window; ε is added, and it divides
    "lateral": 48 + 2,  # the rings of a 7×7 kernel; 1 is added, and it multiplies
    "conv": 45,  # five channels under a 3×3 kernel
}


def golden(key):
    return torch.from_numpy(GOLDEN[key])


def allowed(key):
    """The largest difference of a result from the golden one, elementwise; 0 where no float32 sum is computed.

    Processors and libraries add the terms of a sum in different orders, with products rounded before or not. In any
    order, n terms and the rounding of their products are within n · u · Σ|terms| of the exact sum, to first order in
    u = EPS / 2 (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1), so two machines differ by at
    most n · EPS · Σ|terms|. A further rounding counts as one more term. Terms that are 0 are not rounded, and if all
    terms have one sign, Σ|terms| is the result.
    """
    family = key.split("/")[0]
    if family != "filter":
        return ROUNDINGS.get(family, 0) * EPS * golden(key).double().abs()
    image, kernels = golden("filter/in").double(), utils.Filter(dogs()).kernels.double()
    magnitude = sf.conv2d(image.abs(), kernels.abs(), padding=6)
    terms = sf.conv2d(image.sign().abs(), kernels.sign().abs(), padding=6)
    bound = (terms + 1) * EPS * magnitude  # 1: the kernels are rounded, too
    if key == "filter/scalar":  # a response this close to the threshold may be on either side of it
        responses = golden("filter/none").double()
        bound[(responses - 50).abs() <= bound] += 50
    return bound


def dogs():
    return [
        utils.DoGKernel(3, 3 / 9, 6 / 9),
        utils.DoGKernel(7, 14 / 9, 7 / 9),
        utils.DoGKernel(13, 13 / 9, 26 / 9),
    ]


def dog(key):
    window, sigma1, sigma2 = key.split("/")[1].split("_")
    ninths = {f"{n / 9:.4f}": n / 9 for n in range(1, 40)}  # the key holds four digits of a ninth
    return utils.DoGKernel(int(window), ninths[sigma1], ninths[sigma2])()


def gabor(key):
    window, *angle_and_div = key.split("/")[1].split("_")
    return utils.GaborKernel(int(window), *map(float, angle_and_div))()


def filtered(key):
    options = {"scalar": {"thresholds": 50}, "none": {}, "abs": {"use_abs": True}}[key.split("/")[1]]
    return utils.Filter(dogs(), padding=6, **options)(golden("filter/in"))


def latency(key):
    if key == "latency/spikes":
        return utils.Intensity2Latency(10, to_spike=True)(golden("latency/in"))
    return utils.Intensity2Latency(15)(golden("latency/in"))


def convolution():
    layer = snn.Convolution(5, 7, 3)
    layer.load_weight(golden("conv/weight"))
    return layer


def fire(key):
    spikes, potentials = sf.fire(golden("conv/out"), 14, return_thresholded_potentials=True)
    return spikes if key == "fire/spikes" else potentials


def winners(key):
    if key == "winners/last_step":
        chosen, count = sf.get_k_winners(golden("conv/out"), spikes=sf.fire(golden("conv/out"))), 1
    elif key == "stdp/winners":
        chosen, count = sf.get_k_winners(golden("pointwise"), 4, 1, golden("pointwise").sign()), 4
    else:
        _, kind, numbers = key.split("/")
        count, radius = map(int, numbers.split("_"))
        if kind == "inhibited":
            chosen = sf.get_k_winners(golden("pointwise"), count, radius, golden("pointwise").sign())
        else:
            chosen = sf.get_k_winners(golden("fire/potentials"), count, radius)
    return torch.tensor(chosen + [(-1, -1, -1)] * (count - len(chosen)))


def stdp(key):
    _, name, calls = key.split("/")
    options = {} if name == "stabilised" else {"use_stabilizer": False, "lower_bound": 0.2, "upper_bound": 0.8}
    rates = {"stabilised": (0.004, -0.003), "bounded": (0.04, -0.03), "anti": (-0.004, 0.0005)}[name]
    layer = convolution()
    rule = snn.STDP(layer, rates, **options)
    wave, potentials = golden("wave"), golden("pointwise")
    rule(wave, potentials, potentials.sign(), golden("stdp/winners").tolist())
    if calls == "2":
        rule.update_all_learning_rate(0.02, -0.015)
        rule.update_learning_rate(2, 0.1, -0.2)
        rule(wave, potentials, potentials.sign(), kwta=3, inhibition_radius=1)
    return layer.weight.data


def receptive_field(key):
    return torch.tensor(vis.get_deep_receptive_field((5, 5, 1, 1), (2, 2, 2, 2), (3, 3, 1, 1), (3, 3, 3, 3)))


def deep_feature(key):
    if "pool" in key:
        feature = golden("deep_feature/pool")[:, 1:-1, 1:-1]  # what was pooled is kept only in the middle of the result
        feature, stride = vis.get_deep_feature(feature, (2, 2), (2, 2), (2, 2))
    else:
        weights = golden("conv/weight")[:1]
        feature, stride = vis.get_deep_feature(golden("deep_feature/in"), (2, 2), (3, 3), (1, 1), weights)
    return torch.tensor(stride) if "stride" in key else feature


COMPUTE = {
    "dog": dog,
    "gabor": gabor,
    "gabor_div": gabor,
    "inhibition_kernel": lambda key: utils.generate_inhibition_kernel([0.15, 0.12, 0.10, 0.07, 0.05]),
    "filter": filtered,
    "norm": lambda key: sf.local_normalization(golden("norm/in"), 4),
    "lateral": lambda key: utils.LateralIntencityInhibition([0.15, 0.12, 0.10])(golden("lateral/in")),
    "latency": latency,
    "pad": lambda key: sf.pad(golden("wave"), (1, 2, 3, 0)),
    "pooling/2": lambda key: sf.pooling(golden("wave"), 2),
    "pooling/3_2_1": lambda key: snn.Pooling(3, 2, 1)(golden("wave")),
    "conv": lambda key: convolution()(golden("wave")),
    "fire": fire,
    "fire/none": lambda key: sf.fire(golden("conv/out")),
    "threshold": lambda key: sf.threshold(golden("conv/out"), 14),
    "threshold/none": lambda key: sf.threshold(golden("conv/out")),
    "pointwise": lambda key: sf.pointwise_inhibition(golden("fire/potentials")),
    "feature_inhibition": lambda key: sf.feature_inhibition(golden("fire/potentials"), [1, 4]),
    "winners": winners,
    "stdp": stdp,
    "stdp/winners": winners,
    "receptive_field": receptive_field,
    "deep_feature": deep_feature,
}


@pytest.mark.parametrize("key", RESULTS)
def test_golden(key):
    family = key.split("/")[0]
    result, expected = COMPUTE.get(key, COMPUTE.get(family))(key), golden(key)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    excess = (result.double() - expected.double()).abs() - allowed(key)
    assert excess.max() <= 0
