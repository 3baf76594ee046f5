"""Activation maps: the first spikes of every stage for some images, as pictures and as arrays."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from engine.stages import INPUT, Region
from engine.torch_backend import sum_weights
from errors import drawing
from network_trainer import NetworkTrainer
from utils import write_atomically, write_npz

FILE_NAME_LENGTH = 40  # characters of a class name in the name of a file, which has at most 255 bytes

Arrays = dict[str, np.ndarray]


def save_activation_maps(
    model: NetworkTrainer,
    latencies: torch.Tensor,
    labels: np.ndarray,
    indices: np.ndarray,
    folder: Path,
    class_names: Sequence[str],
    stages: Sequence[str] = (),
    draw: bool = True,
    channels: Sequence[str] = (),
) -> list[str]:
    """Save the first-spike maps of every stage for the images ``indices`` of a set.

    ``<index>_label-<class>.npz`` contains the map of each stage, uint8 (F, H, W): the time step of each neuron's spike,
    ``steps`` for silence. "input" is the map of the encoder. The file also contains label, index and steps. If the
    network decides, it contains the decision (-1: silent). If the decision stage has no threshold, it also contains its
    potentials at the last time step, float32 (F, H, W): ``potentials``, or ``potentials_3x3``, … for the branches of a
    vote; and ``race``, or ``race_3x3``, …: the highest potential of each class after each time step.
    ``<stage>/<index>_label-<class>.png`` shows all maps of a stage; the branches of a vote have a picture each.

    Args:
        latencies: the network's input for the images ``indices``, uint8 (N, C, H, W), in this order.
        labels: the classes of the whole set.
        stages: names of the stages to save, bottom up: those that have learned, and the stages between them. (): all.
        draw: whether to draw the pictures.
        channels: names of the maps of the input, see ``channels.name_channels``; none: they are numbered.

    Returns a line for each image whose pictures could not be drawn.

    Raises OSError or InputError if the folder cannot be written to.
    """
    wanted = [INPUT, *(stages or model.declaration)]
    folder.mkdir(parents=True, exist_ok=True)
    lost: list[str] = []
    for place, index in enumerate(indices):
        latency = latencies[place : place + 1]
        class_name = class_names[labels[index]]
        label = re.sub(r"[^\w-]", "-", class_name[:FILE_NAME_LENGTH])  # the class "T-shirt/top" becomes "T-shirt-top"
        file = f"{index:05d}_label-{label}"
        walked = dict(model.walk(latency, wanted))
        maps = {name: values[0].cpu().numpy() for name, values in walked.items()}
        content: dict = {**maps, "label": labels[index], "index": index, "steps": model.time_steps}
        title = f"image {index}, label {class_name}"
        potentials: Arrays = {}
        if model.decision in wanted:
            potentials, race = compute_potentials(model, walked)
            decision = int(model.predict(walked))
            content |= {**potentials, **race, "decision": decision}
            title += f", decision {[*class_names, 'silent'][decision]}"
        write_npz(folder / f"{file}.npz", content)
        pictures = _draw_pictures(model, maps, potentials, class_names, title, channels) if draw else ()
        with drawing(f"the maps of {title}", lost.append):
            for stage, branch, picture in pictures:
                (folder / stage).mkdir(exist_ok=True)
                write_atomically(folder / stage / f"{file}{branch}.png", picture.save)
    return lost


def _draw_pictures(model, maps, potentials, class_names, title, channels):
    """Yield (stage, branch or "", picture) of an image of ``save_activation_maps``."""
    from report.sheets import draw_decision, draw_maps

    regions = find_neurons(model, *maps[INPUT].shape[1:])
    for name in maps:
        full_title = f"{model.name}, {name}: {title}"
        if name == INPUT or model.declaration[name].fires:
            names = channels if name == INPUT else ()
            yield name, "", draw_maps(maps[name], model.time_steps, full_title, regions[name], names)
    for key, values in potentials.items():
        branch = key.removeprefix("potentials")
        full_title = f"{model.name}, {model.decision}: {title}{branch.replace('_', ', branch ')}"
        yield model.decision, branch, draw_decision(values, class_names, full_title)


@torch.no_grad()
def compute_potentials(model: NetworkTrainer, maps: Mapping[str, torch.Tensor]) -> tuple[Arrays, Arrays]:
    """Compute the potentials of a decision stage without a threshold for an image.

    maps: {name: map (1, C, H, W)}, from which the map that this stage reads can be computed.

    Returns {"potentials" + branch: float32 (F, H, W), at the last time step}, and {"race" + branch: float32
    (T, classes), the highest of each class after each time step}; both are empty if the stage has a threshold.
    """
    decision = model.find_decision()
    ((_, below),) = model.walk(maps, [model.input_name(decision)])
    steps = torch.arange(model.time_steps, device=below.device).view(-1, 1, 1, 1)
    so_far = torch.where(below <= steps, below, model.time_steps)
    last = {}
    race = {}
    for layer_name, layer in model.named_layers([decision]):
        if layer.stage.fires:
            break
        branch = layer_name.removeprefix(decision)
        potentials = sum_weights(layer, so_far).float().cpu().numpy()
        last[f"potentials{branch}"] = potentials[-1]
        race[f"race{branch}"] = potentials.reshape(model.time_steps, model.num_classes, -1).max(2)
    return last, race


def find_neurons(model: NetworkTrainer, height: int, width: int) -> dict[str, list[Region]]:
    """Return the regions of each stage's maps that contain neurons: {"input" or stage: its regions}.

    A map has one part, but that of ``Branches``, and those computed from it, one for each branch: there the smaller
    outputs are in the middle of the largest output, with padding around them. height, width: of the network's input.
    """
    shapes = model.shapes(height, width)
    regions = {INPUT: [Region(*(slice(0, size) for size in shapes[INPUT]))]}
    for name, stage in model.declaration.items():
        below = model.inputs_of(name)[0]
        regions[name] = stage.regions(regions[below], shapes[below], shapes[name])
    return regions
