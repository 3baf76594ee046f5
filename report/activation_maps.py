"""Activation maps: the first spikes of every stage for some images, as pictures and as arrays."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engine.graph import StageGraph
from engine.stages import INPUT, Part
from errors import InputError
from utils import write_atomically


def choose_images(labels, per_class, seed=0):
    """Indices of ``per_class`` images of each class, in the order of the classes; fewer where a class has fewer.

    seed: 0 takes the first ones; any other number draws them at random.
    """
    labels = np.asarray(labels)
    order = np.arange(len(labels)) if seed == 0 else np.random.default_rng(seed).permutation(len(labels))
    chosen = [order[labels[order] == label][:per_class] for label in np.unique(labels)]
    return np.concatenate([*chosen, np.arange(0)]).astype(np.int64)


def save_activation_maps(model, latencies, labels, indices, folder, class_names, stages=None, draw=True):
    """Write the first-spike maps of every stage for each of the images ``indices`` of a set.

    ``<index>_label-<class>.npz`` holds, by the name of the stage, the maps uint8 (F, H, W): the time step of each
    neuron's spike, ``steps`` for silence; "input" is the encoder's own. Of a decision stage it holds the potentials at
    the last time step too, float32 (F, H, W): ``potentials``, or of the branches of a vote ``potentials_3x3``, …; and
    label, decision (-1: silent; only of a network that decides), index and steps. ``<stage>/<index>_label-<class>.png``
    shows all maps of a stage. An image takes a tenth of a second, most of it for the pictures.

    Args:
        latencies: the network's input for the images ``indices``, uint8 (N, C, H, W), in that order.
        labels: the classes of the whole set.
        stages: names of the stages that are wanted, those that have learned and what is between them; None: all.
        draw: False leaves the pictures out.

    Errors: InputError if the folder cannot be written to.
    """
    from report.map_pictures import draw_decision, draw_maps

    folder, indices = Path(folder), [int(index) for index in indices]
    wanted = [name for name in (INPUT, *model.stages) if stages is None or name == INPUT or name in stages]
    make_folders(folder, wanted if draw else [])
    parts = find_neurons(model, *latencies.shape[2:])
    maps, potentials, decisions = record(model, latencies, wanted)
    for position, index in enumerate(indices):
        label, file = int(labels[index]), file_name(index, class_names[int(labels[index])])
        arrays = {name: batch[position] for name, batch in maps.items()}
        of_decision = {name: batch[position] for name, batch in potentials.items()}
        facts = {"label": label, "index": index, "steps": model.time_steps}
        if decisions:
            facts["decision"] = decisions[position]
        write_arrays(folder / f"{file}.npz", {**arrays, **of_decision, **facts})
        for name in wanted if draw else ():
            title = f"{model.name}, {name}: image {index}, label {class_names[label]}"
            if name == model.decision:
                said = "silent" if decisions[position] < 0 else class_names[decisions[position]]
                picture = draw_decision(of_decision, model.class_of_feature(), class_names, f"{title}, decision {said}")
            else:
                picture = draw_maps(arrays[name], model.time_steps, title, parts[name])
            write_atomically(folder / name / f"{file}.png", picture.save)


@torch.no_grad()
def record(model, latencies, wanted):
    """What the wanted stages do: maps {stage: uint8 (N, F, H, W)}, potentials {key: float32 (N, F, H, W)}, decisions.

    The last two are empty if the decision stage is not among them.
    """
    maps = {INPUT: latencies}
    for name, latency in model.walk(latencies) if wanted[1:] else ():
        maps[name] = latency
        if name == wanted[-1]:
            break
    decision = model.decision
    below = None
    if decision in wanted:
        below = model.stages[decision].gather([maps[name] for name in model.inputs_of(decision)])
    maps = {name: maps[name].cpu().numpy() for name in wanted}
    if below is None:
        return maps, {}, []
    decisions, _ = model.decide({model.input_name(decision): below})
    return maps, potentials_at_the_end(model, below), decisions.tolist()


def potentials_at_the_end(model, below):
    """Potentials of the decision stage at the last time step, {key: float32 (N, F, H, W)}, for its input ``below``."""
    found = {}
    for label, conv in model.named_convs([model.decision]):
        spiked = (below < model.time_steps).to(conv.weight.dtype)
        branch = label.removeprefix(model.decision)  # "_3x3", … of several
        values = F.conv2d(spiked, conv.weight, padding=conv.padding)
        found[f"potentials{branch}"] = values.float().cpu().numpy()
    return found


def find_neurons(model: StageGraph, height: int, width: int) -> dict[str, list[Part]]:
    """Return where the maps of each stage have neurons: {"input" or stage: its parts}.

    That is all of the map, except for ``Branches``: there the smaller outputs are in the middle of the largest, with
    padding around them. height, width: of the network's input.
    """
    shapes = model.shapes(height, width)
    parts = {INPUT: [Part(*(slice(0, size) for size in shapes[INPUT]))]}
    for name, stage in model.stages.items():
        below = model.inputs_of(name)[0]
        parts[name] = stage.parts(parts[below], shapes[below], shapes[name])
    return parts


def file_name(index, class_name):
    """Without ending. Class names as parts of file names: "T-shirt/top" → "T-shirt-top"."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in class_name)
    return f"{index:05d}_label-{safe}"


def make_folders(folder, names):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write activation maps to {folder}: {error.strerror}") from error


def write_arrays(path, arrays):
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))
