"""Users' own files, whose networks, stages, rules, encoders, data sets and figures register when they are imported."""

import hashlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from errors import USER_FILES, InputError

PLUGINS: dict[Path, str] = {}  # the files that are imported: {path: name of the module}


def import_plugin(path: str | Path) -> str:
    """Import a user's own file, unless it is imported already, so that what it declares is registered.

    Files beside it can be imported, also later: its folder becomes the last one in which Python searches for modules.

    Returns its name and its SHA-256, see ``digest_plugin``.

    Raises InputError if the file is missing, and the error of the file if it cannot be imported.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"a plugin is the path of a Python file, not {path!r}")
    path = Path(path).resolve()
    if not path.is_file():
        raise InputError(f"--plugin: there is no file {path}")
    if path.suffix != ".py":
        raise InputError(f"--plugin {path} is not a Python file: its name must end with .py")
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(path):
            PLUGINS.setdefault(path, name)
    if path not in PLUGINS:
        name = f"plugin_{path.stem}"
        while getattr(sys.modules.get(name), "__file__", str(path)) != str(path):
            name += "_"  # another file has the same name
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        USER_FILES.add(str(path))
        spec: Any = spec_from_file_location(name, path)
        module = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            vars(error)["places"] = [(str(path), 1)]  # the traceback of a file that is not text has no place
            raise
        PLUGINS[path] = name
    return digest_plugin(path)


def digest_plugin(path: Path) -> str:
    """Return the name of a plugin and the SHA-256 of its content, not of the files that it imports."""
    return f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
