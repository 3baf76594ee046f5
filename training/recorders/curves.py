"""The curves in TensorBoard."""

from engine.progress import BatchStep, EpochStep
from training.recorders.recorder import Recorder


class Curves(Recorder):
    """Logs outcomes of batches, scores of epochs, and weights and winners of layers (``training/tensorboard.py``)."""

    files = ("**/events.out.tfevents.*",)

    def record_batch(self, step: BatchStep) -> None:
        outcome = step.learned.outcome
        if outcome:
            self.log.board.log_batch(outcome, step.done, step.total, self.progress.history)

    def record_epoch(self, step: EpochStep) -> None:
        history = self.progress.history
        self.log.board.log_epoch(history)
        self.log.board.log_stages(self.plan.model, step.phase, step.wins, history, self.plan.encoder)
