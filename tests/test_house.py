"""The floors of the house: each file imports only what stands below it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = {path.stem for path in ROOT.iterdir()}
FLOORS = [  # bottom up, each a file or a folder at the root
    "errors", "utils", "SpykeTorch", "engine", "s1c1", "datasets", "network_trainer",
    "models", "report", "training", "train", "sweep",
]  # fmt: skip
# The published interface and the engine know nothing of the application, wherever they stand.
ALONE = {"SpykeTorch": {"errors", "utils"}, "engine": {"errors", "utils", "SpykeTorch"}}
FILES = [
    (floor, path.relative_to(ROOT))
    for floor in FLOORS
    for path in sorted([*ROOT.glob(f"{floor}.py"), *(ROOT / floor).rglob("*.py")])
]


def imports(path):
    """What of the project a file imports, also within its functions; a relative import stays on its floor."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        yield from HOUSE & {name.split(".")[0] for name in names}


@pytest.mark.parametrize(("floor", "path"), FILES, ids=lambda part: str(part))
def test_imports_lead_downwards(floor, path):
    below = ALONE.get(floor, set(FLOORS[: FLOORS.index(floor)]))
    assert set(imports(ROOT / path)) <= {floor, *below}


def test_every_file_at_the_root_is_a_floor():
    assert {path.stem for path in ROOT.glob("*.py")} <= set(FLOORS)
