"""The networks. Every module here that declares a ``NetworkTrainer`` with a name adds itself to ``MODELS``."""

import difflib
import traceback
from importlib import import_module
from pkgutil import iter_modules

from errors import FaultyModuleError, InputError
from network_trainer import MODELS

# Modules here that could not be imported: name → traceback. A fault in one must not hide the networks of the others.
FAULTY = {}

for _module in iter_modules(__path__):
    try:
        import_module(f"{__name__}.{_module.name}")
    except Exception:
        FAULTY[_module.name] = traceback.format_exc()


def network_names():
    """Of all networks, sorted, without their other names."""
    return sorted({cls.name for cls in MODELS.values()})


def build_model(name, **kwargs):
    """A new network; ``kwargs`` (in_channels, num_classes, seed, device, dtype, …) are those of ``NetworkTrainer``.

    Errors: InputError for an unknown name.
    """
    return model_class(name)(**kwargs)


def model_class(name):
    """The class of a network's name or alias, in capitals or not. Errors: InputError for an unknown name."""
    known = {model.lower(): cls for model, cls in MODELS.items()}
    if name.lower() in known:
        return known[name.lower()]
    if name.lower() in FAULTY:
        raise FaultyModuleError(f"models/{name.lower()}.py cannot be imported:\n{FAULTY[name.lower()].rstrip()}")
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    faulty = f"; --list-models says what is wrong with {', '.join(FAULTY)}" if FAULTY else ""
    raise InputError(f"unknown model {name!r}{hint}; there are {', '.join(sorted(MODELS))}{faulty}")
