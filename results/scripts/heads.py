"""Other classifiers on the features of trained networks, beside the network's own decisions.

    python -m results.scripts.heads

Logistic regression (scikit-learn) and a linear layer that learns by gradients (torch) read the map below the decision
stage, as in docs/customizing.md, from the first 3,000 training images of MNIST. The networks learned from 55,000.
"""

from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression

from datasets import load
from training.checkpoint import TrainedNetwork, load_network

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
NETWORKS = "mozafari2018", "deep2024", "multiscale2026"
TRAINING = 3000  # images
STEPS = 300


def compute_inputs(network: TrainedNetwork, images) -> torch.Tensor:
    """Compute the features of all maps that the decision stage reads: float32 (N, neurons) from 0 to 1."""
    model = network.model
    maps = [network.features(images, name).flatten(1) for name in model.inputs_of(model.decision)]
    return torch.cat(maps, 1) / model.time_steps


def train_layer(inputs: torch.Tensor, labels: torch.Tensor) -> torch.nn.Linear:
    """Train a linear layer by gradients."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(inputs.shape[1], 10)
    optimizer = torch.optim.Adam(layer.parameters(), 0.001)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(inputs), labels).backward()
        optimizer.step()
    return layer


def main() -> None:
    data = load("mnist")
    labels = data.train_labels[:TRAINING]
    print(f"{'test accuracy, %':16} {'own decisions':>14} {'scikit-learn':>13} {'torch':>7}", flush=True)
    for name in NETWORKS:
        network = load_network(CHECKPOINTS / f"{name}.safetensors")
        inputs = compute_inputs(network, data.train_images[:TRAINING])
        tested = compute_inputs(network, data.test_images)
        own, _ = network.classify(data.test_images)
        regression = LogisticRegression(max_iter=200).fit(inputs.numpy(), labels)
        layer = train_layer(inputs, torch.from_numpy(labels))
        decisions = own.numpy(), regression.predict(tested.numpy()), layer(tested).argmax(1).numpy()
        own, regressed, learned = (100 * (found == data.test_labels).mean() for found in decisions)
        print(f"{name:16} {own:14.2f} {regressed:13.2f} {learned:7.2f}", flush=True)


if __name__ == "__main__":
    main()
