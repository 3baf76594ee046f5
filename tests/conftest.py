"""What is compiled before the tests start, and what each test must leave unchanged."""

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import settings
from matplotlib._pylab_helpers import Gcf
from support.registries import forgetting

import utils
from errors import USER_FILES

# pytest's own, what imports of scikit-learn and torch set, and what matplotlib finds out as the first figure is made
ALLOWED = re.compile(r"the variable (PYTEST_CURRENT_TEST|KMP_\w+|TORCHINDUCTOR_\w+)|matplotlib's backend(_fallback)?")
settings.register_profile("tests", deadline=None)  # a first call compiles, and other processes take time
settings.load_profile("tests")
WARM_KERNELS = Path(__file__).resolve().parent / "support" / "warm_kernels.py"


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run all tests, also those that are marked as slow")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]
    if os.name == "nt":
        for item in items:
            if item.get_closest_marker("unix"):
                item.add_marker(pytest.mark.skip(reason="Windows has no such links, named pipes or signals"))


def pytest_xdist_auto_num_workers(config):
    """Two; none for a single file, which starts sooner in this process, and can be debugged with --pdb."""
    files = {argument.partition("::")[0] for argument in config.args}
    return 0 if len(files) == 1 and files.pop().endswith(".py") else 2


def pytest_sessionstart(session):
    """Compile kernels before xdist starts its workers, because each worker would compile them."""
    config = session.config
    if config.getoption("numprocesses", 0) and not hasattr(config, "workerinput") and not config.option.collectonly:
        types = ("float32", "float64")
        for process in [subprocess.Popen([sys.executable, WARM_KERNELS, dtype]) for dtype in types]:
            process.wait()


def pytest_configure():
    """Do not ignore SIGINT, as a shell's background processes do, because tests press Ctrl-C. Set the environment."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)  # the other worker needs the other core, and small tensors only wait for further threads
    for name in ("find_commit", "version"):  # a run asks for them twice, and git takes time
        setattr(utils, name, functools.cache(getattr(utils, name)))
    os.environ["PYTHONWARNINGS"] = "error::RuntimeWarning"  # of the processes that the tests start


@pytest.fixture(params=["event", "torch"], scope="session")
def backend(request):
    """The name of each backend: a test with this argument runs on both."""
    return request.param


@pytest.fixture(autouse=True)
def surroundings_are_left_as_they_were():
    threads = torch.get_num_threads()
    before = surroundings()
    own_files = set(USER_FILES)
    # the folder of a plugin stays in the module path until the process ends
    with forgetting(), mock.patch.object(sys, "path", [*sys.path]), np.errstate(all="raise"):
        yield
    USER_FILES.intersection_update(own_files)
    torch.set_num_threads(threads)  # which --threads is there to change
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
    found |= {f"the variable {name}": value for name, value in os.environ.items()}
    parameters = dict.items(matplotlib.rcParams)  # plainly: to ask for the backend is to choose one
    found |= {f"matplotlib's {name}": value for name, value in parameters}
    return {what: value for what, value in found.items() if not ALLOWED.fullmatch(what)}
