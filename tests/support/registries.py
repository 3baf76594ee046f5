"""What a test declares, as a user's file does, is forgotten after it: networks, stages, rules, encoders …"""

import sys
from contextlib import ExitStack, contextmanager
from unittest import mock

from engine.encoder import ENCODERS
from engine.plugins import PLUGINS
from engine.rules import RULES
from engine.stages import STAGES
from imagesets.data_set import DATASETS
from models import MODELS
from report.report import FIGURES, VALUES
from training.recorders.recorder import RECORDERS


@contextmanager
def forgetting():
    """Forget after the block what is declared and imported in it: a plugin is imported again."""
    known = {*PLUGINS}
    with ExitStack() as stack:
        for registry in (PLUGINS, MODELS, STAGES, RULES, ENCODERS, DATASETS, FIGURES, VALUES, RECORDERS):
            stack.enter_context(mock.patch.dict(registry))
        yield
        for path in {*PLUGINS} - known:
            sys.modules.pop(PLUGINS[path], None)
