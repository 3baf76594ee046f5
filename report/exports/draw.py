"""The page on which images are drawn: ``draw.html``, which extends the page of a run, and its script ``draw.js``."""

from pathlib import Path
from typing import Any

import torch

from engine.stages import Branches
from errors import InputError
from report.page import collect_data, encode, load_template
from s1c1 import S1C1
from utils import write_text


def write_drawing_page(path: Path, network: Any, **more: object) -> None:
    """Write a page on which images are drawn. The network answers in the browser, by ``draw.js``.

    Args:
        network: a ``TrainedNetwork`` that decides.
        more: what the template ``draw.html`` also reads. ``arrays``: those of ``collect_arrays`` for some test images;
            ``indices`` of these images in ``test``, the data set; ``settings``: those of the command.

    Raises InputError if the page cannot compute the network, or if the file cannot be written.
    """
    model = network.model
    encoder = network.encoder
    if type(encoder) is not S1C1 or encoder.colours > 1:
        raise InputError(f"the page of --draw encodes grey images by S1C1; it cannot compute {encoder}")
    for name, stage in model.declaration.items():
        if isinstance(stage, Branches):
            raise InputError(f"the page of --draw cannot compute branches, which {name} of {model.name} has")
    is_double = any(layer.weight.dtype == torch.float64 for _, layer in model.named_layers())
    if is_double and not more["settings"].bits:
        raise InputError(f"the page of --draw cannot compute float64 weights, which {model.name} has: add --bits 8")
    more |= {"data": collect_data(network), "network": network, "encode": encode}
    write_text(path, load_template("exports/draw.html").render(more))
