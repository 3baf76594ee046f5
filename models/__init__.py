"""The networks. This package imports all of its modules, which register their networks."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from engine.plugins import import_plugin  # noqa: F401  scripts import it from here
from errors import USER_FILES, InputError
from network_trainer import MODELS, NetworkTrainer

for _module in iter_modules(__path__):
    USER_FILES.add(str(Path(__file__).with_name(f"{_module.name}.py")))
    import_module(f"{__name__}.{_module.name}")


def network_names() -> list[str]:
    """Return the names of all networks, sorted, without aliases."""
    return sorted({cls.name for cls in MODELS.values()})


def build_model(name: str, **kwargs: Any) -> NetworkTrainer:
    """Return a new network; the arguments (in_channels, num_classes, seed, device, …) are those of ``NetworkTrainer``.

    Raises InputError for an unknown name.
    """
    return model_class(name)(**kwargs)


def model_class(name: str | None) -> type[NetworkTrainer]:
    """Return the class of a network, by its name or alias, ignoring case. Raises InputError for an unknown name."""
    cls = MODELS.get(str(name).lower())
    if cls is None:
        raise InputError(f"unknown --model {str(name)!r}; choose from {', '.join(network_names())}")
    return cls
