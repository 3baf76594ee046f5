"""The networks. This package imports all of its modules, which register their networks in ``MODELS``."""

import hashlib
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from errors import USER_FILES, InputError
from network_trainer import MODELS, NetworkTrainer

PLUGINS: dict[Path, str] = {}  # users' own files that are imported: {path: name of the module}

for _module in iter_modules(__path__):
    USER_FILES.add(str(Path(_module.module_finder.path, f"{_module.name}.py")))
    import_module(f"{__name__}.{_module.name}")


def import_plugin(path: str | Path) -> str:
    """Import a user's own file, unless it is imported already, so that what it declares is registered.

    Returns its name and its SHA-256.

    Raises InputError if the file is missing, and the error of the file if it cannot be imported.
    """
    path = Path(path).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"--plugin {path} is not a Python file")
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(path):
            PLUGINS.setdefault(path, name)
    if path not in PLUGINS:
        name = f"plugin_{path.stem}"
        while getattr(sys.modules.get(name), "__file__", str(path)) != str(path):
            name += "_"  # another file has the same name
        USER_FILES.add(str(path))
        spec = spec_from_file_location(name, path)
        module = sys.modules[spec.name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            error.places = [(str(path), 1)]  # the traceback of a file that is not text has no place
            raise
        PLUGINS[path] = name
    return f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def network_names() -> list[str]:
    """Return the names of all networks, sorted, without aliases."""
    return sorted({cls.name for cls in MODELS.values()})


def build_model(name: str, **kwargs: Any) -> NetworkTrainer:
    """Return a new network; the arguments (in_channels, num_classes, seed, device, …) are those of ``NetworkTrainer``.

    Raises InputError for an unknown name.
    """
    return model_class(name)(**kwargs)


def model_class(name: str) -> type[NetworkTrainer]:
    """Return the class of a network, by its name or alias, ignoring case. Raises InputError for an unknown name."""
    name = str(name)
    known = {model.lower(): cls for model, cls in MODELS.items()}
    if name.lower() not in known:
        raise InputError(f"unknown --model {name!r}; choose from {', '.join(network_names())}")
    return known[name.lower()]
