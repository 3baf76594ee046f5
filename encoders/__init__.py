"""The encoders by name, except for S1C1 one file each.

This package imports all of its modules, which register their encoders in ``ENCODERS``. To add an encoder, add a file
with a subclass of ``engine.encoder.Encoder``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch

from engine.declaration import from_plain
from engine.encoder import ENCODERS, Encoder
from engine.graph import CHUNK
from engine.stages import set_fields
from errors import InputError

IMAGES = {1: "grey images", 3: "colour images"}  # by colours

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def read_encoder(plain: Mapping[str, Any]) -> Encoder:
    """Return the encoder that ``declaration.to_plain`` has saved, not fitted. Raises InputError as ``from_plain``."""
    return from_plain(plain, ENCODERS)


def choose_encoder(
    declared: Encoder,
    name: str | None = None,
    values: Mapping[str, Any] = {},
    colours: int = 1,
) -> Encoder:
    """Return the encoder that a network declares, or another encoder, for images with this number of colours.

    Args:
        declared: the encoder that the network declares, ``NetworkTrainer.encoder``.
        name: the name of the encoder. None: the declared encoder.
        values: other values of fields, {"encoder.radius": 4}.
        colours: number of colours of the images, 1 or 3.

    Raises InputError for an unknown encoder, unknown fields, and images that the encoder does not take.
    """
    if "encoder.colours" in values:
        raise InputError("encoder.colours cannot be set: it follows from the images")
    if name is not None:
        values = {"encoder": name, **values}
    encoder = set_fields({"encoder": declared}, values)["encoder"]
    if encoder.colours == colours:
        return encoder
    if "colours" not in {item.name for item in fields(encoder)}:
        raise InputError(f"--encoder {encoder.name} takes {IMAGES[encoder.colours]}, not {IMAGES[colours]}")
    return encoder.set_fields({("colours",): colours})


def encode_chunks(encoder: Encoder, images: Any) -> Iterator[tuple[slice, torch.Tensor]]:
    """Encode images chunk by chunk. Yields the part of the images, and its latencies; of no images, an empty part."""
    for first in range(0, len(images) or 1, CHUNK):
        part = slice(first, min(first + CHUNK, len(images)))
        yield part, encoder.encode(images[part])
