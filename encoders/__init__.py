"""The encoders by name, except for S1C1 one file each.

This package imports all of its modules, which register their encoders in ``ENCODERS``. To add an encoder, add a file
with a subclass of ``s1c1.Encoder``.

Networks and checkpoints describe an encoder by its *config*, a dict of its "name" and of the parameters that differ
from the defaults.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

import torch

from engine.graph import CHUNK
from errors import InputError
from s1c1 import ENCODERS, Encoder

DEFAULT = "s1c1"  # the encoder of a config without a name
OF_EVENTS = "events"  # the encoder of recordings
IMAGES = {0: "recordings of events", 1: "grey images", 3: "colour images"}  # by colours

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def build_encoder(config: dict[str, Any]) -> Encoder:
    """Build the encoder of a config. Raises InputError for an unknown name or wrong parameters."""
    parameters = dict(config)
    name = parameters.pop("name", DEFAULT)
    if not isinstance(name, str) or name not in ENCODERS:
        raise InputError(f"unknown --encoder {name!r}; choose from {', '.join(ENCODERS)}")
    try:
        encoder = ENCODERS[name](**parameters)
        _ = encoder.channels, encoder.time_steps, encoder.config()
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as error:
        given = " ".join(f"encoder.{key}={value}" for key, value in parameters.items())
        raise InputError(f"cannot build --encoder {name} with {given}: {error}") from error
    return encoder


def get_encoder_config(encoder: Encoder) -> dict[str, Any]:
    """Return the complete config of an encoder."""
    return {"name": encoder.name, **encoder.config()}


def choose_encoder(
    declared: dict[str, Any],
    name: str | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    colours: int = 1,
) -> Encoder:
    """Build the encoder that a network declares, or another encoder.

    Args:
        declared: the config that the network declares, ``NetworkTrainer.encoder``.
        name: the name of the encoder. None: the declared encoder with the declared parameters.
        parameters: parameters that replace those of the config.
        colours: number of colours of the images, 1 or 3; 0 for recordings of events. If the declared encoder does not
            read recordings, the encoder of recordings replaces it.

    Raises InputError for an unknown encoder, unknown parameters, and images that the encoder does not take.
    """
    declared = {"name": DEFAULT, **declared}
    if colours == 0 and ENCODERS.get(declared["name"], Encoder).colours:
        declared = {"name": OF_EVENTS}
    config = declared if name in (None, declared["name"]) else {"name": name}
    if "colours" in parameters:
        raise InputError("encoder.colours cannot be set: it follows from the images")
    config |= parameters
    encoder = build_encoder(config)
    if encoder.colours == colours:
        return encoder
    if not colours or "colours" not in encoder.config():
        message = f"--encoder {config['name']} takes {IMAGES[encoder.colours]}, not {IMAGES[colours]}"
        raise InputError(message)
    return build_encoder({**config, "colours": colours})


def encode_chunks(encoder: Encoder, images: Any) -> Iterator[tuple[slice, torch.Tensor]]:
    """Encode images chunk by chunk. Yields the part of the images, and its latencies; of no images, an empty part."""
    for first in range(0, len(images) or 1, CHUNK):
        part = slice(first, min(first + CHUNK, len(images)))
        yield part, encoder.encode(images[part])


def name_unit(colours: int) -> str:
    """Return what a network with this number of colours reads, in the plural."""
    return "images" if colours else "recordings"
