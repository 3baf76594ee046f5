"""The log of the training: the console, log.txt and metrics.csv."""

from engine.decision import Outcome
from engine.progress import BatchStep, ChunkStep, EndStep, EpochStep, PhaseStep
from training.log import Pace, estimate_left
from training.recorders.recorder import Recorder


class Log(Recorder):
    """Shows the progress with the time that is left, and logs epochs, and why phases end."""

    files = ("metrics.csv",)

    def record_phase(self, step: PhaseStep) -> None:
        self.pace = Pace()
        self.log.close_bar()
        self.log.announce(step.phase.name)

    def record_chunk(self, step: ChunkStep) -> None:
        self.log.show(step.title, step.done, step.total)

    def record_batch(self, step: BatchStep) -> None:
        progress = self.progress
        outcome = Outcome(*progress.outcome) if step.learned.outcome else None
        fraction = step.done / step.total
        self.pace.time_batch(progress, fraction)
        count = step.length - progress.epoch - fraction
        left = estimate_left(progress, self.plan.lengths, self.pace.seconds, count)
        self.log.show(step.title, step.done, step.total, outcome, left)

    def record_epoch(self, step: EpochStep) -> None:
        progress = self.progress
        phase = step.phase
        row = step.row
        self.pace.time_epoch(row.seconds)
        count = self.plan.lengths.count(progress.phase, progress.history[-row.epoch :])
        title = f"{phase.name} {phase.main_rule.title:<6} epoch {row.epoch:>3}/{count}"
        learned = "train, spread labels" if self.plan.settings.spread else "train"
        self.log.log_epoch(progress.history, title, learned)

    def record_end(self, step: EndStep) -> None:
        if step.ended_by != "epochs":
            reason = self.plan.settings.describe(step.ended_by)
            epoch = self.progress.history[-1].epoch
            self.log.info(f"{step.phase.name} ends after epoch {epoch}, by {reason}")
