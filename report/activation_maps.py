"""Activation maps: the first spikes of every stage for some images, as pictures and as arrays."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engine.stages import INPUT, Region
from network_trainer import NetworkTrainer
from utils import write_atomically

TOGETHER = 10  # images whose maps are in memory at a time
NAME_LENGTH = 40  # characters of a class name in the name of a file, which has at most 255 bytes


def choose_images(labels: Sequence[int], per_class: int) -> np.ndarray:
    """Return the indices of the first ``per_class`` images of each class, in the order of the classes, int64."""
    labels = np.asarray(labels)
    indices = [np.arange(0)]
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        indices.append(of_class[:per_class])
    return np.concatenate(indices)


def save_activation_maps(
    model: NetworkTrainer,
    latencies: torch.Tensor,
    labels: Sequence[int],
    indices: Sequence[int],
    folder: Path,
    class_names: Sequence[str],
    stages: Sequence[str] | None = None,
    draw: bool = True,
    show: Callable[[str, int, int], None] = lambda *_: None,
) -> None:
    """Save the first-spike maps of every stage for the images ``indices`` of a set.

    ``<index>_label-<class>.npz`` contains the map of each stage, uint8 (F, H, W): the time step of each neuron's spike,
    ``steps`` for silence. "input" is the map of the encoder. The file also contains label, index and steps. If the
    network decides, it contains the decision (-1: silent) and the potentials of the decision stage at the last time
    step, float32 (F, H, W): ``potentials``, or ``potentials_3x3``, … for the branches of a vote.
    ``<stage>/<index>_label-<class>.png`` shows all maps of a stage; the branches of a vote have a picture each. An
    image takes 40 to 77 ms (results/drawing.log), most of it for the pictures.

    Args:
        latencies: the network's input for the images ``indices``, uint8 (N, C, H, W), in this order.
        labels: the classes of the whole set.
        stages: names of the stages to save: those that have learned, and the stages between them. None: all.
        draw: whether to draw the pictures.
        show: shows the progress, as ``RunLog.show``.

    Raises OSError or InputError if the folder cannot be written to.
    """
    for first in range(0, len(indices), TOGETHER):
        show("drawing the maps", first, len(indices))
        batch = slice(first, first + TOGETHER)
        _save_maps(model, latencies[batch], labels, indices[batch], folder, class_names, stages, draw)


def _save_maps(model, latencies, labels, indices, folder, class_names, stages, draw):
    """Save the maps of the images of ``save_activation_maps``, all together."""
    from report.map_pictures import draw_decision, draw_maps

    wanted = [name for name in (INPUT, *model.stages) if stages is None or name == INPUT or name in stages]
    drawn = wanted if draw else []
    for place in (folder, *(folder / name for name in drawn)):
        place.mkdir(parents=True, exist_ok=True)
    regions = find_neurons(model, *latencies.shape[2:])
    maps = compute_maps(model, latencies, wanted)
    potentials = {}
    decisions = None
    if model.decision in wanted:
        potentials = compute_potentials(model, latencies)
        decisions = model.predict(latencies).tolist()
    for position, index in enumerate(indices):
        label = int(labels[index])
        file = name_file(int(index), class_names[label])
        maps_of_image = {name: batch[position] for name, batch in maps.items()}
        potentials_of_image = {name: batch[position] for name, batch in potentials.items()}
        facts = {"label": label, "index": int(index), "steps": model.time_steps}
        if decisions:
            facts["decision"] = decisions[position]
        content = {**maps_of_image, **potentials_of_image, **facts}
        write_atomically(folder / f"{file}.npz", lambda path, content=content: np.savez_compressed(path, **content))
        for name in drawn:
            title = f"{model.name}, {name}: image {index}, label {class_names[label]}"
            if name == model.decision:
                decision = [*class_names, "silent"][decisions[position]]
                for key, values in potentials_of_image.items():
                    branch = key.removeprefix("potentials")
                    full_title = f"{title}, decision {decision}{branch.replace('_', ', branch ')}"
                    picture = draw_decision(values, model.class_of_feature(), class_names, full_title)
                    write_atomically(folder / name / f"{file}{branch}.png", picture.save)
            else:
                picture = draw_maps(maps_of_image[name], model.time_steps, title, regions[name])
                write_atomically(folder / name / f"{file}.png", picture.save)


def compute_maps(model: NetworkTrainer, latencies: torch.Tensor, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Compute the maps of some stages, bottom up: {"input" or stage: uint8 (N, F, H, W)}."""
    maps = {INPUT: latencies.cpu().numpy()}
    for name, latency in model.walk(latencies, wanted[1:]):
        maps[name] = latency.cpu().numpy()
    return maps


@torch.no_grad()
def compute_potentials(model: NetworkTrainer, latencies: torch.Tensor) -> dict[str, np.ndarray]:
    """Compute the potentials of the decision stage at the last time step.

    Returns {"potentials" + branch: float32 (N, F, H, W)}.
    """
    below = model.map_of(latencies, model.input_name(model.decision))
    spiked = below[:] < model.time_steps  # [:] unpacks it
    potentials = {}
    for label, layer in model.named_layers([model.decision]):
        values = F.conv2d(spiked.to(layer.weight.dtype), layer.weight, padding=layer.stage.padding)
        branch = label.removeprefix(model.decision)
        potentials[f"potentials{branch}"] = values.float().cpu().numpy()
    return potentials


def find_neurons(model: NetworkTrainer, height: int, width: int) -> dict[str, list[Region]]:
    """Return the regions of each stage's maps that contain neurons: {"input" or stage: its regions}.

    A map has one part, except for ``Branches``: there the smaller outputs are in the middle of the largest output, with
    padding around them. height, width: size of the network's input.
    """
    shapes = model.shapes(height, width)
    regions = {INPUT: [Region(*(slice(0, size) for size in shapes[INPUT]))]}
    for name, stage in model.declaration.items():
        below = model.inputs_of(name)[0]
        regions[name] = stage.regions(regions[below], shapes[below], shapes[name])
    return regions


def name_file(index: int, class_name: str) -> str:
    """Return the name of an image's files, without the suffix. The class "T-shirt/top" becomes "T-shirt-top" in it."""
    label = re.sub(r"[^\w-]", "-", class_name[:NAME_LENGTH])
    return f"{index:05d}_label-{label}"
