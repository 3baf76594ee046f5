"""In what order the files of tests are run, and what every test must leave as it found it."""

import os
import re
import signal
import sys

import matplotlib
import numba
import numpy as np
import pytest
import torch
from matplotlib._pylab_helpers import Gcf

from network_trainer import MODELS

# pytest's own, what imports of scikit-learn and torch set, and what matplotlib finds out as the first figure is made
ALLOWED = re.compile(r"the variable (PYTEST_CURRENT_TEST|KMP_\w+|TORCHINDUCTOR_\w+)|matplotlib's backend(_fallback)?")
# Of two processes one begins with the file that compiles most of the kernels. The other meanwhile runs those that need
# none of these, and finds them in the cache when it comes to the rest: there what takes longest begins first.
FIRST = (
    "test_event.py",
    "test_s1c1.py", "test_figures.py", "test_images.py", "test_compiled.py", "test_datasets.py", "test_spyketorch.py",
    "test_original_scripts.py", "test_own_data.py", "test_image_files.py", "test_house.py",
    "test_resume.py", "test_readme.py", "test_run.py", "test_refused.py", "test_sweep.py", "test_rules.py",
    "test_backends.py", "test_traces.py", "test_networks.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


def pytest_configure():
    """A shell starts what runs behind it with SIGINT ignored; the tests of Ctrl-C are not to depend on that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def surroundings_are_left_as_they_were():
    threads = numba.get_num_threads(), torch.get_num_threads()
    before = surroundings()
    yield
    numba.set_num_threads(threads[0])  # which --threads is there to change
    torch.set_num_threads(threads[1])
    after = surroundings()
    assert [what for what in before | after if before.get(what) != after.get(what)] == []


def surroundings():
    """{what: value} of what belongs to the whole process."""
    found = {
        "the working directory": os.getcwd(),
        "the module path": list(sys.path),
        "the handler of SIGINT": signal.getsignal(signal.SIGINT),
        "the handler of SIGTERM": signal.getsignal(signal.SIGTERM),
        "torch's default type": torch.get_default_dtype(),
        "numpy's treatment of errors": np.geterr(),
        "pyplot's figures": Gcf.get_all_fig_managers(),
    }
    found |= {f"the network {name}": cls for name, cls in MODELS.items()}
    found |= {f"the variable {name}": value for name, value in os.environ.items()}
    parameters = dict.items(matplotlib.rcParams)  # plainly: to ask for the backend is to choose one
    found |= {f"matplotlib's {name}": value for name, value in parameters}
    return {what: value for what, value in found.items() if not ALLOWED.fullmatch(what)}
