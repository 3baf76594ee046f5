"""The names of the classes of users' own data."""

from collections.abc import Iterable
from pathlib import Path

from errors import InputError, make_printable

MAX_LISTED = 12  # the largest number of classes in a message
MAX_NAME = 255  # characters of a class name, the limit for the name of a folder


def check_names(names: Iterable[str], path: str | Path) -> tuple[str, ...]:
    """Return printable class names. Raises InputError for a name that is too long."""
    names = tuple(map(make_printable, names))
    for name in names:
        if len(name) > MAX_NAME:
            message = f"has a class name of {len(name)} characters, {name[:20]}…; the maximum is {MAX_NAME}"
            raise InputError(f"{path} {message}")
    return names


def describe_classes(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note with the class of each number, unless all classes have the names of their numbers."""
    if list(class_names) == [str(number) for number in range(len(class_names))]:
        return ()
    return (f"classes: {shorten([f'{number} is {name!r}' for number, name in enumerate(class_names)])}",)


def refuse_unseen(path: Path, unseen: set) -> None:
    if unseen:
        names = shorten(sorted(map(repr, unseen)))
        raise InputError(f"the test part of {path} has classes without a training image: {names}")


def shorten(items: list[str]) -> str:
    text = ", ".join(items[:MAX_LISTED])
    return f"{text} and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else text
