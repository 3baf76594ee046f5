"""Users' own files, whose networks, rules, encoders, data sets and figures register when they are imported."""

import ast
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

from errors import USER_FILES, InputError, warn

PLUGINS: dict[Path, str] = {}  # the files that are imported: {path: name of the module}
LIBRARIES = Path(np.__file__).parent.parent
PROGRAM = {  # the modules of this program, which files beside a plugin cannot replace
    "SpykeTorch", "encoders", "engine", "errors", "imagesets", "models", "network_trainer", "report", "s1c1",
    "training", "utils",
}  # fmt: skip


def import_plugin(path: str | Path) -> str:
    """Import a user's own file, unless it is imported already, so that what it declares is registered.

    Files beside it can be imported, also later: its folder becomes the last one in which Python searches for modules.

    Returns its name and its SHA-256, see ``digest_plugin``.

    Raises InputError if the file is missing or if it imports another file in place of the one beside it, and the error
    of the file if it cannot be imported.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"a plugin is the path of a Python file, not {path!r}")
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
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        files, imports = find_imports(path)
        USER_FILES.update(map(str, files))
        spec = spec_from_file_location(name, path)
        module = sys.modules[spec.name] = module_from_spec(spec)
        try:
            with _old_names(path, imports):
                spec.loader.exec_module(module)
            _check_imports(path, files)
        except BaseException as error:
            del sys.modules[name]
            error.places = [(str(path), 1)]  # the traceback of a file that is not text has no place
            raise
        PLUGINS[path] = name
    return digest_plugin(path)


def digest_plugin(path: Path) -> str:
    """Return the name of a plugin and its SHA-256, over its content and that of the files beside it that it imports."""
    digest = hashlib.sha256(path.read_bytes())
    files, _ = find_imports(path)
    for file in sorted(files[1:]):
        name = file.relative_to(path.parent).as_posix()
        digest.update(f"\n{name} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return f"{path.name} {digest.hexdigest()}"


def find_imports(path: Path) -> tuple[list[Path], set[str]]:
    """Return a file and the files beside it that it imports, directly or through others, and all names of modules.

    Imports count also if they are in functions. Of a package, all files count. Beside an installed file, none count.
    """
    files = [path]
    names = set()
    for file in files:  # grows meanwhile
        nodes = []
        with suppress(SyntaxError, ValueError):  # the import raises it
            nodes = ast.walk(ast.parse(file.read_bytes()))
        imported = set()
        for node in nodes:
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module)
        names |= imported
        if path.parent == LIBRARIES:
            break
        for name in {name.partition(".")[0] for name in imported} - PROGRAM:
            beside = [path.with_name(f"{name}.py"), *path.with_name(name).rglob("*.py")]
            files += [found for found in beside if found.is_file() and found not in files]
    return files, names


def _check_imports(path: Path, files: list[Path]) -> None:
    """Raise InputError if a module has the name of one of the files, which are beside ``path``, but is another file."""
    targets = [file.resolve() for file in files]
    for file in files[1:]:
        name = file.relative_to(path.parent).with_suffix("").parts[0]
        found = getattr(sys.modules.get(name), "__file__", None)
        if found and Path(found).resolve() not in targets:
            raise InputError(f"{path} imports {name}, which is {found} and not {file}: rename one of them")


@contextmanager
def _old_names(path: Path, imports: set[str]) -> Iterator[None]:
    """Let a plugin import ``imagesets`` as ``datasets``, its name until version 1.1, unless this is another package.

    An ImportError of this other package names ``imagesets``.
    """
    old = {name for name in imports if name.partition(".")[0] == "datasets"}
    is_other = "datasets" in sys.modules or getattr(find_spec("datasets"), "origin", None) is not None
    if old and not is_other:
        warn(f"{path.name} imports datasets, which is called imagesets now")
        for name in {"datasets", *old}:
            sys.modules[name] = import_module(name.replace("datasets", "imagesets", 1))
    try:
        yield
    except ImportError as error:
        if str(error.name).partition(".")[0] == "datasets":
            error.msg += "; the data sets of this program are in imagesets now"
        raise
    finally:
        if not is_other:
            for name in {"datasets", *old}:
                sys.modules.pop(name, None)
