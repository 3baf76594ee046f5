"""The encoders by name: what makes spikes of images before the network sees them.

An encoder is a class. Its parameters have defaults; one that cannot be used is refused with ``InputError``. It has

* ``channels``, ``time_steps``: of the latencies it makes;
* ``encode(images)``: uint8 (N, H, W) -> latencies uint8 (N, channels, H, W), the time step of each neuron's spike, 0 to
  time_steps - 1, or time_steps for silence;
* ``config()``: its parameters, as plain numbers, texts and lists, with which it can be made again;
* ``polarity``: for each channel 1 (spikes where light is among dark), -1 (where dark is among light) or 0 (neither);
* ``scales``: the names of its scales. Channels of one scale follow each other, first 1, then -1.
"""

import inspect

from engine.overrides import describe, fits
from errors import InputError
from s1c1 import S1C1

ENCODERS = {
    "s1c1": S1C1,
}
DEFAULT = "s1c1"  # also of checkpoints that name none


def build_encoder(config):
    """The encoder of a dict: its "name", and those of its parameters that differ from the defaults.

    Errors: InputError for an unknown name, and for parameters that this encoder does not take.
    """
    name, parameters = _divided(config)
    if not isinstance(name, str) or name not in ENCODERS:
        raise InputError(f"no encoder is called {name!r}; there are: {', '.join(ENCODERS)}")
    try:
        return ENCODERS[name](**parameters)
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the encoder {name} cannot be made with {parameters}: {error}") from error


def encoder_config(encoder):
    """What ``build_encoder`` makes this encoder of."""
    (name,) = (name for name, kind in ENCODERS.items() if kind is type(encoder))
    return {"name": name, **encoder.config()}


def chosen(network, name=None):
    """The config of the encoder ``name``, or of the network's own: its class says which, and what it is set to."""
    own, _ = _divided(network.encoder)
    return network.encoder if name in (None, own) else {"name": name}


def changed(config, parameters):
    """The config with these parameters otherwise. Errors: InputError for one that there is not, or of another type."""
    name, _ = _divided(config)
    takes = _parameters(name)
    for key, value in parameters.items():
        if key not in takes or key == "colours":  # which follows from the images
            there = ", ".join(f"encoder.{known}" for known in takes if known != "colours")
            raise InputError(f"encoder.{key}: the encoder {name} has no such parameter; there are {there}")
        kind = type(takes[key].default)
        if takes[key].default is not None and not fits(value, kind):
            raise InputError(f"encoder.{key} cannot be {value!r}; it is {describe(kind)}")
    return {**config, **parameters}


def for_colours(config, colours):
    """The config for images of so many colours, 1 or 3. Errors: InputError if the encoder takes grey ones alone."""
    name, _ = _divided(config)
    if colours == 1:
        return config
    if "colours" not in _parameters(name):
        raise InputError(f"the encoder {name} takes grey images, not colour ones")
    return {**config, "colours": colours}


def _parameters(name):
    return inspect.signature(ENCODERS[name]).parameters if name in ENCODERS else {}


def _divided(config):
    """Name and parameters."""
    if not isinstance(config, dict):
        raise InputError(f'an encoder is declared as a dict with its "name" and its parameters, not as {config!r}')
    return config.get("name", DEFAULT), {key: value for key, value in config.items() if key != "name"}
