"""Register by name: networks, stages, rules, encoders, data sets and figures register when they are declared."""

from collections.abc import Sequence
from typing import Any

from errors import InputError


def register(registry: dict[str, Any], names: Sequence[str], new: Any) -> None:
    """Add a class or function to {name: class}. The same one, declared again, replaces its earlier declaration.

    Raises InputError if another class or function has one of the names, and if one contains a /.
    """
    for name in names:
        if "/" in name:
            raise InputError(f"a name cannot contain /: {name!r}")
        other = registry.get(name, new)
        if (other.__module__, other.__qualname__) != (new.__module__, new.__qualname__):
            raise InputError(
                f"{name!r} is declared twice, in {other.__module__} and in {new.__module__}: rename one of them"
            )
    registry.update(dict.fromkeys(names, new))
