"""Activation maps: the first spikes of every stage for some images, as pictures and as arrays."""

from pathlib import Path

import numpy as np

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

    ``<stage>/<index>_label-<class>.png`` shows all maps of a stage; ``<index>_label-<class>.npz`` holds, by the name of
    the stage, the maps uint8 (F, H, W): the time step of each neuron's spike, ``steps`` for silence; and label, index
    and steps. A picture takes about a third of a second.

    Args:
        latencies: the network's input for the images ``indices``, uint8 (N, C, H, W), in that order.
        labels: the classes of the whole set.
        stages: names of the stages that are wanted; None: all.
        draw: False leaves the pictures out.

    Errors: InputError if the folder cannot be written to.
    """
    from report.figures import draw_activation_maps, save

    folder, indices = Path(folder), [int(index) for index in indices]
    wanted = [name for name in model.stages if stages is None or name in stages]
    make_folders(folder, wanted if draw else [])
    stages = {name: maps.cpu().numpy() for name, maps in model.walk(latencies) if name in wanted}
    for position, index in enumerate(indices):
        label = int(labels[index])
        class_name = class_names[label]
        file = f"{index:05d}_label-{_file_name(class_name)}"
        maps = {name: batch[position] for name, batch in stages.items()}
        write_arrays(folder / f"{file}.npz", {**maps, "label": label, "index": index, "steps": model.time_steps})
        for name, values in maps.items() if draw else ():
            title = f"{model.name}, {name} {values.shape}: image {index}, label {class_name}"
            save(draw_activation_maps(values, model.time_steps, title), folder / name / f"{file}.png")


def make_folders(folder, names):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write activation maps to {folder}: {error.strerror}") from error


def write_arrays(path, arrays):
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def _file_name(class_name):
    """Class names as parts of file names: "T-shirt/top" → "T-shirt-top"."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in class_name)
