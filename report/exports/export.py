"""A trained network as one NumPy file, for designers of hardware and of simulators: weights, thresholds, test vectors.

``docs/outputs.md`` describes each array, and ``tutorial/read_export.py`` computes the test vectors with NumPy alone.
"""

import copy
import json
from pathlib import Path

import numpy as np
import torch

from engine.declaration import to_plain
from engine.encoder import Encoder
from errors import InputError
from network_trainer import NetworkTrainer
from report.exports.bits import quantize
from utils import write_atomically

VECTORS = 20  # test vectors
TYPES = np.int8, np.int16, np.int32  # of whole weights: the smallest that contains all


def collect_arrays(
    model: NetworkTrainer,
    encoder: Encoder,
    class_names: tuple[str, ...],
    latencies: torch.Tensor,
    bits: int | None = None,
) -> dict:
    """Return {name: array}, the arrays that describe a network, and its test vectors.

    Args:
        encoder: the encoder, whose name, fields and fitted tensors are described.
        latencies: uint8 (N, C, H, W), the inputs of the test vectors.
        bits: the number of bits of the weights, which are then whole numbers (``bits.py``); None: the weights are those
            of the network.

    Test vectors of floats are computed in float64. Raises InputError if the first spike decides.
    """
    if model.decision and model.declaration[model.decision].fires:
        raise InputError(f"--export and --draw cannot represent a decision by the first spike, as {model.name} has")
    weights = {layer_name: layer.weight.numpy(force=True) for layer_name, layer in model.named_layers()}
    whole_weights = {}
    if bits is None:
        network = copy.deepcopy(model).double()
    else:
        network, whole_weights = quantize(model, bits)
    arrays = {"input": latencies.numpy(force=True)}
    arrays |= {f"encoder.{name}": tensor.numpy() for name, tensor in encoder.state.items()}
    stages = []
    for name, stage in network.declaration.items():
        convolutions = []
        for layer_name, layer in network.named_layers([name]):
            conv = layer.stage
            convolution = {"label": layer_name, "kernel": conv.kernel, "padding": conv.padding}
            convolution["levels"] = list(conv.levels)
            convolution["threshold"] = layer.threshold if conv.fires else None
            weight = weights[layer_name]
            if layer_name in whole_weights:
                convolution["unit"] = whole_weights[layer_name].unit
                weight = _to_smallest_type(whole_weights[layer_name].weight.numpy())
            arrays[f"{layer_name}.weight"] = weight
            convolutions.append(convolution)
        entry = {"name": name, "kind": type(stage).__name__, "inputs": network.inputs_of(name)}
        if convolutions:
            entry["convolutions"] = convolutions
        else:
            entry |= {key: value for key, value in vars(stage).items() if key != "inputs"}
        stages.append(entry)
    (encoder_fields,) = to_plain(encoder).values()
    maps = dict(network.walk(latencies))
    description = {
        "network": model.name,
        "time_steps": model.time_steps,
        "input": [model.in_channels, *model.image_size],
        "encoder": {"name": encoder.name, **encoder_fields},
        "bits": bits,
        "stages": stages,
    }
    if network.decision is not None:
        description |= {"classes": class_names, "decision": network.decision}
        arrays["class_of_feature"] = network.class_of_feature()
        del maps[network.decision]  # its neurons do not fire
        inputs = network.map_of(latencies, network.input_name(network.decision))[:]  # packed, if maps are gathered
        for layer_name, layer in network.named_layers([network.decision]):
            arrays[f"{layer_name}.potentials"] = layer.peaks(inputs).numpy(force=True)
        arrays["decisions"] = network.predict(latencies).numpy(force=True)
    arrays |= {f"{name}.first_spikes": spikes.numpy(force=True) for name, spikes in maps.items()}
    arrays["description"] = np.array(json.dumps(description))
    return arrays


def write_arrays(path: Path, arrays: dict) -> None:
    """Write an npz file without pickled objects. Raises InputError if it cannot be written."""
    write_atomically(path, lambda temporary: _save(temporary, arrays))


def _save(path, arrays):
    with open(path, "wb") as file:  # np.savez adds .npz to the name of a file
        np.savez_compressed(file, **arrays)


def _to_smallest_type(weight):
    for number in TYPES:
        converted = weight.astype(number)
        if (converted == weight).all():
            return converted
    return weight
