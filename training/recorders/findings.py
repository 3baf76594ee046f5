"""What is wrong with the training, and the advice on it."""

from engine.progress import EndStep
from network_trainer import LatencyDataset
from report.diagnosis import Diagnosis
from training.advice import choose_next
from training.recorders.recorder import Recorder
from training.run import Run


class Findings(Recorder):
    """Logs what is wrong with the images before the training, and with the stages after their phase.

    train: the encoded training images.
    """

    def __init__(self, run: Run, train: LatencyDataset):
        super().__init__(run)
        plan = self.plan
        self.diagnosis = Diagnosis(plan.model, plan.encoder, train, plan.lengths)
        run.log_findings(self.diagnosis.diagnose_border(plan.record.border or 0.0))

    def record_end(self, step: EndStep) -> None:
        run = self.run
        record = self.plan.record
        record.earlier = {"findings": record.findings, "advice": record.advice}
        run.log_findings(self.diagnosis.diagnose(step.phase, self.progress.history[-1]))
        if record.advice != record.earlier["advice"] and (advised := choose_next(self.plan, run.folder, record.advice)):
            self.log.info(f"up to now: {advised.command}")
