"""The page of a run that trains."""

import math
import time
from functools import partial

from engine.progress import EpochStep
from report.page import PAGE, write_training_page
from training.recorders.recorder import Recorder

PAGE_EVERY = 10.0  # seconds between two pages


class Page(Recorder):
    """Writes the page after an epoch, if the last page is old."""

    files = (PAGE,)
    written_at = -math.inf

    def record_epoch(self, step: EpochStep) -> None:
        if time.monotonic() - self.written_at < PAGE_EVERY:
            return
        row = step.row
        title = f"{self.plan.title}, epoch {row.epoch} of {row.phase}"
        history = [*self.progress.history]
        self.log.write(PAGE, partial(write_training_page, self.run.folder, self.plan.model, title, history))
        self.written_at = time.monotonic()
