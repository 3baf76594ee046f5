"""The checkpoints of a run, and its stop."""

import time

from engine.progress import EpochStep, Step
from run_folder import RunFolder
from training.recorders.recorder import Recorder
from training.stopping import Stopped


class Checkpoints(Recorder):
    """Saves ``last.safetensors``, and after an epoch with the best validation accuracy ``best.safetensors``.

    It records after all others: what a checkpoint counts as done is on the disk before the checkpoint. Therefore, it
    also stops the run if a signal has requested it.
    """

    files = ("checkpoints/best.safetensors", "checkpoints/last.safetensors")
    saved_at = 0.0  # seconds of time.perf_counter; 0: not yet

    def record(self, step: Step) -> None:
        """Save if it is due. Raises Stopped if a signal has requested it."""
        super().record(step)
        run = self.run
        is_stopped = run.stop.asked
        seconds = time.perf_counter() - (self.saved_at or run.began)
        is_old = step.kind == "batch" and seconds >= self.plan.settings.save_every
        if is_stopped or is_old or step.kind in ("epoch", "end"):
            self.log.board.flush()  # before: a resumed run continues from the checkpoint
            run.save()
            self.saved_at = time.perf_counter()
        if is_stopped:
            self.log.close_bar()
            self.log.info(f"stopped and saved; continue with\n    {RunFolder(run.folder).resume_command}")
            raise Stopped(run.stop.number, is_saved=True)

    def record_epoch(self, step: EpochStep) -> None:
        best = self.progress.best
        if best and best["step"] == step.row.step:
            self.run.save("best.safetensors", best["state"])
