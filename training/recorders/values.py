"""values.json: what functions with ``@after_epoch`` compute."""

from dataclasses import replace
from functools import partial

from engine.progress import EpochStep
from errors import describe_error
from report.report import VALUES
from training.recorders.recorder import Recorder
from utils import copy_plain, write_json


class Values(Recorder):
    """Adds the values to the epoch's row of the history, and writes those of all epochs that have any.

    Values become what a checkpoint would return, tuples lists for instance, so that a resumed run has the same.
    """

    files = ("values.json",)

    def record_epoch(self, step: EpochStep) -> None:
        history = self.progress.history
        values = {}
        for name, compute in VALUES.items():
            try:
                values[name] = copy_plain(compute(self.plan.model, step.row))
            except Exception as error:  # of a user's own function, or its values are not plain JSON
                self.log.info(f"there are no values {name} of this epoch: {describe_error(error)}")
        history[-1] = replace(step.row, values=values)
        if values:
            names = "step", "phase", "epoch", "values"
            rows = [{name: row[name] for name in names} for row in history if row.values]
            self.log.write("values.json", partial(write_json, self.run.folder / "values.json", rows))
