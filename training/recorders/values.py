"""values.json: what functions with ``@after_epoch`` compute."""

from dataclasses import replace
from functools import partial

from engine.progress import EpochStep
from report.report import compute_values, list_values
from training.recorders.recorder import Recorder
from utils import write_json


class Values(Recorder):
    """Adds the values to the epoch's row of the history, and writes those of all epochs."""

    files = ("values.json",)

    def record_epoch(self, step: EpochStep) -> None:
        history = self.progress.history
        values, lost = compute_values(self.plan.model, step.row)
        history[-1] = replace(step.row, values=values)
        self.log.info_all(lost)
        if values:
            self.log.write("values.json", partial(write_json, self.run.folder / "values.json", list_values(history)))
