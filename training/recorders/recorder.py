"""The base class of what a run records."""

from engine.progress import Step
from training.run import Run


class Recorder:
    """One record of a training run.

    A subclass has a method for each kind of step that it records: ``record_phase``, ``record_chunk``, ``record_batch``,
    ``record_epoch`` or ``record_end``, which get a step of ``engine/progress.py``. The progress and the network are
    then as after the step.
    """

    def __init__(self, run: Run):
        self.run = run

    def record(self, step: Step) -> None:
        """Record a step by the method for its kind, if there is one."""
        record = getattr(self, f"record_{step.kind}", None)
        if record:
            record(step)
