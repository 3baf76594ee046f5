"""Files of a user's with names of the program's modules: the import names them and what works without an import."""

import subprocess
import sys

import pytest

import training
from utils import ROOT

IMPORT = "from training.trained import load_network"


def run(folder, *lines):
    """Run a script in a folder, as ``python script.py`` does. Returns the process."""
    script = folder / "script.py"
    script.write_text("\n".join(["import sys", *lines]))
    return subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True)


OWN = {*training.NAMES} - {"training"}


@pytest.mark.parametrize(
    "files",
    [["utils.py"], ["errors.py"], ["models/__init__.py"], ["utils.py", "report/__init__.py"], [f"{n}.py" for n in OWN]],
)
def test_files_in_place_of_modules_are_named(files, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("own = 1\n")
    done = run(tmp_path, f"sys.path.append({str(ROOT)!r})", IMPORT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError")
    paths = [str(tmp_path / file) for file in files]
    for about in (*paths, "--predict", "--json", "--save-features", str(ROOT / "evaluate.py")):
        assert about in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("first", ["import utils", "import models"])
def test_a_module_that_was_imported_before_is_named(first, tmp_path):
    """Also if the program comes first in the module path, and of a folder without __init__.py."""
    (tmp_path / "utils.py").touch()
    (tmp_path / "models").mkdir()
    done = run(tmp_path, first, f"sys.path.insert(0, {str(ROOT)!r})", IMPORT)
    named = tmp_path / {"import utils": "utils.py", "import models": "models"}[first]
    assert f" is {named}" in done.stderr
    assert "--save-features" in done.stderr


def test_other_files_are_not_in_the_way(tmp_path):
    """Neither commands, which nothing imports, nor folders that are no packages."""
    for name in ("train", "evaluate", "sweep", "datasets"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "models").mkdir()
    done = run(tmp_path, f"sys.path.append({str(ROOT)!r})", "import training, errors", "print(errors.__file__)")
    assert done.stdout.strip() == str(ROOT / "errors.py"), done.stderr
