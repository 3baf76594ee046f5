"""The tutorial runs from its first cell to its last, with fewer images, and its saved outputs are complete."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).resolve().parent.parent / "tutorial" / "tutorial.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.slow
def test_it_runs(notebook, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    (parameters,) = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", ())]
    parameters.source = "IMAGES, EPOCHS = 300, 1"
    folder = {"metadata": {"path": str(PATH.parent)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=folder).execute()  # raises a cell's error
    read = [output["data"]["text/plain"] for output in code_cells(notebook)[-2].outputs if "data" in output]
    assert [text.split("(")[0] for text in read] == ["Outcome"]


def test_its_outputs_are_kept(notebook):
    """So that it can be read without being run; small, and without paths of a machine."""
    assert PATH.stat().st_size < 1_000_000
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [kind for cell in cells for output in cell.outputs for kind in output.get("data", ())]
    assert kinds.count("image/png") >= 8
    assert str(PATH.parent.parent) not in PATH.read_text()
