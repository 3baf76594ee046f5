"""Register classes by name. Networks, rules and encoders register when they are declared."""

import sys
from collections.abc import Sequence

from errors import InputError


def register(registry: dict[str, type], names: Sequence[str], cls: type) -> None:
    """Add a class to {name: class}. The same class, declared again, replaces its earlier declaration.

    Raises InputError if another class has one of the names.
    """
    for name in names:
        other = registry.get(name, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            files = (getattr(sys.modules.get(c.__module__), "__file__", c.__module__) for c in (other, cls))
            message = f"two classes are called {name!r}, in {' and in '.join(files)}: rename one of them"
            raise InputError(message, field=name)
    registry.update(dict.fromkeys(names, cls))
