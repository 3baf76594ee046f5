"""mozafari2018 by a script on SpykeTorch; ``benchmarks.peers`` runs it by path.

    python benchmarks/peer_spyketorch.py FILE THREADS DIR

DIR contains the package SpykeTorch: this repository, or a checkout of the original. FILE contains the weights, images
and labels. Prints the times and the decisions as JSON.
"""

import json
import sys

sys.path.insert(0, sys.argv[3])

import numpy as np
import torch
from reference import Reference, make_waves
from timing import measure_per_image

IMAGES = 20


def main():
    path, threads, _ = sys.argv[1:]
    torch.set_num_threads(int(threads))
    content = np.load(path)
    network = Reference([torch.from_numpy(content[name]) for name in ("s1", "s2", "s3")], content["classes"])
    waves = make_waves(torch.from_numpy(content["latencies"][:IMAGES]), int(content["time_steps"]))
    labels = content["labels"][:IMAGES].tolist()
    decisions = [network.evaluate(wave) for wave in waves]
    rows = {
        "s1 STDP step": lambda: [network.learn_s1(wave) for wave in waves],
        "s2 STDP step": lambda: [network.learn_s2(wave) for wave in waves],
        "s3 R-STDP step": lambda: [network.learn_s3(*pair) for pair in zip(waves, labels, strict=True)],
        "evaluation": lambda: [network.evaluate(wave) for wave in waves],
    }
    times = {row: measure_per_image(work, IMAGES) for row, work in rows.items()}
    print(json.dumps({"SpykeTorch": {"times": times, "decisions": decisions}}))


if __name__ == "__main__":
    main()
