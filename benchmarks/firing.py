"""Measure the layers of features while they do not learn: ``python -m benchmarks.firing``, on a quiet machine.

The trained ``multiscale2026`` computes the first spikes of digits on one thread: pooled, as the next stage reads them;
pooled, from inputs that all spike at one time step, as moved copies do; and not pooled.
"""

from functools import partial

import torch

import imagesets
from benchmarks.measure import format_header, format_row
from benchmarks.timing import measure_per_image
from s1c1 import S1C1
from training.trained import load_network
from utils import ROOT, find_processor, set_threads

IMAGES = 300
NETWORK = ROOT / "results" / "checkpoints" / "multiscale2026.safetensors"


def main():
    set_threads(1)
    print(f"{find_processor()}, one thread; {NETWORK.stem}, ms per image\n")
    print(format_header(("layer", "features", "kernel", "pooled", "spikes at one time", "not pooled")))
    model = load_network(NETWORK).model
    latencies = S1C1().encode(imagesets.load("mnist").test_images[:IMAGES])
    for label, layer in model.named_layers():
        if not layer.stage.fires:
            continue
        inputs = model.map_of(latencies, model.input_name(label))[:]
        at_once = torch.where(inputs < layer.time_steps, 0, layer.time_steps).to(torch.uint8)
        size = model.declaration[f"c{label[1:]}"].size
        cases = (inputs, size), (at_once, size), (inputs, 1)
        times = [measure_per_image(partial(layer.fire, *case), IMAGES) for case in cases]
        features, _, kernel, _ = layer.weight.shape
        print(format_row((label, features, f"{kernel}×{kernel}", *times)), flush=True)


if __name__ == "__main__":
    main()
