"""A training run: settings, data, encoders, checkpoints and logs.

The modules of this program are not in a package, so a file of a user's with the name of one of them, such as utils.py,
may be found in place of it. The import of this package raises ImportError with the path of such a file.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "SpykeTorch", "encoders", "engine", "errors", "imagesets", "models", "network_trainer", "report", "run_folder",
    "s1c1", "training", "utils",
)  # fmt: skip
COMMANDS = "train", "evaluate", "sweep"


def check_names() -> None:
    """Raise ImportError if Python has imported, or would import, other files in place of modules of this program."""
    others = []
    for name in NAMES:
        module = sys.modules.get(name)
        found = module.__spec__ if module else find_spec(name)
        places = [found.origin] if found and found.origin else list(getattr(module, "__path__", ()))
        for place in places:
            if Path(place).resolve() not in (ROOT / f"{name}.py", ROOT / name / "__init__.py"):
                others.append(f"{name} is {place}")
    if others:
        command = f"python {ROOT / 'evaluate.py'} RUN"
        raise ImportError(
            f"this program cannot be imported beside other modules with the names of its own: {', '.join(others)}. "
            f"Rename them, or use a command, which finds its own modules: `{command} --predict FILE --json` prints "
            f"classes and scores, `{command} --save-features STAGE` saves features (docs/other_libraries.md)"
        )


check_names()

import engine  # noqa: E402, F401  before torch, see engine/__init__.py
