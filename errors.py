"""The exceptions that report a mistake of the user, and the one line that a command prints for them."""

import importlib.util
import sys
from pathlib import Path

PACKAGES = (  # of requirements.txt, by the names under which they are imported
    *("torch", "torchvision", "numpy", "numba", "sklearn", "scipy", "safetensors", "tensorboard", "matplotlib", "tqdm"),
    *("jinja2", "PIL", "joblib"),
)


class InputError(ValueError):
    """A flag, a file or an array from outside cannot be used; the message states what would be right.

    Commands print it as one line on stderr and exit with code 2. Any other exception is a bug and keeps its traceback.

    Args:
        message: one line.
        flag, field, path: what the error is about, as far as it is known: a flag ("--epochs"), a field of a
            declaration, a configuration or a checkpoint ("s1.rule.winners"), the path of a file or folder.
    """

    def __init__(self, message: str, *, flag: str | None = None, field: str | None = None, path: object = None):
        super().__init__(message)
        self.flag, self.field, self.path = flag, field, None if path is None else str(path)


class FaultyModuleError(InputError):
    """A Python file of the user cannot be imported; the message ends with the traceback."""


def check_packages() -> None:
    """Exit with code 2 and one line that contains the command to install the packages, if one of them is missing."""
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            program, requirements = Path(sys.argv[0]).name, Path(__file__).with_name("requirements.txt")
            print(
                f"{program}: the package {name} is missing from this Python; activate the environment that has it, or "
                f"install it: {sys.executable} -m pip install -r {requirements}",
                file=sys.stderr,
            )
            sys.exit(2)


def report_error(program: str, error: InputError | OSError) -> int:
    """Print an InputError or an OSError on stderr and return the exit code 2.

    The output is one line, except for the traceback of a faulty module.
    """
    text = str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"cannot read or write {place}{error.strerror or error}"
    if not isinstance(error, FaultyModuleError):
        text = text.replace("\r", "\\r").replace("\n", "\\n")
    print(f"{program}: {text}", file=sys.stderr)
    return 2
