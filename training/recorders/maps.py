"""Activation maps during the training."""

from engine.progress import EpochStep
from report.activation_maps import save_activation_maps
from report.channels import name_channels
from training.recorders.recorder import Recorder


class Maps(Recorder):
    """Saves the maps of all stages that have learned in ``maps/``, every ``--map-every`` epochs, and logs them."""

    files = ("maps/**/*_label-*",)

    def record_epoch(self, step: EpochStep) -> None:
        plan = self.plan
        settings = plan.settings
        row = step.row
        if row.step % settings.map_every:
            return
        stages = list(plan.model.declaration)
        learned = stages[: 1 + max(map(stages.index, step.phase.stages))]
        scored = plan.splits.get_split(plan.splits.scored)
        indices = plan.map_images
        latencies = self.run.encode(scored[indices].images)
        folder = self.run.folder / "maps" / f"{row.step:04}-{row.phase}-epoch{row.epoch}"
        names = plan.splits.data.class_names
        channels = name_channels(plan.encoder)
        lost = save_activation_maps(
            plan.model, latencies, scored.labels, indices, folder, names, learned, settings.figures, channels
        )
        self.log.info_all(lost)
        self.log.board.log_pictures("maps", folder, row.step)
