"""One training run, from the data to the last figure, in a folder of its own."""

import shlex
import signal
import sys
import threading
import time

import numpy as np

import datasets
from errors import InputError
from models import build_model
from network_trainer import Activity, Interrupted
from report.evaluation import Evaluation
from report.summary import summarize
from report.writing import write_report, write_results
from training import checkpoint
from training.run_log import RunLog
from utils import peak_memory

DRY_RUN_IMAGES = {"train": 300, "validation": 100, "test": 100}


class Data:
    """A data set, and the indices of the training and validation images that a run uses.

    The test images are for the end of the run. ``flags``: dataset, data_dir, val_split, ratio, seed, dry_run.
    """

    def __init__(self, flags):
        self.set = datasets.load(flags.dataset, flags.data_dir or datasets.DATA_DIR)
        labels = self.set.train_labels
        held_out = min(5000, len(labels) // 12) if flags.val_split is None else flags.val_split
        self.train, self.validation = np.arange(len(labels)), np.arange(0)
        if held_out:
            try:
                self.train, self.validation = datasets.stratified_split(labels, held_out, flags.seed)
            except InputError as error:
                raise InputError(f"--val-split: {error}") from error
        if flags.ratio != 1:
            self.train = self.train[datasets.stratified_part(labels[self.train], flags.ratio, flags.seed)]
        self.test = np.arange(len(self.set.test_labels))
        if flags.dry_run:
            self.train = self.train[: DRY_RUN_IMAGES["train"]]
            self.validation = self.validation[: DRY_RUN_IMAGES["validation"]]
            self.test = self.test[: DRY_RUN_IMAGES["test"]]

    def counts(self):
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


class Run:
    """``flags``: those of train.py, with one number of epochs for each phase. ``folder`` exists.

    ``progress`` says where to begin; ``train`` keeps it in ``checkpoints/last.pt``, and the weights of the epoch with
    the best validation accuracy in ``checkpoints/best.pt``.
    """

    def __init__(self, flags, folder, model, encoder, data, progress):
        self.flags, self.folder, self.model, self.encoder = flags, folder, model, encoder
        self.data, self.progress = data, progress
        self.stop = StopRequest()
        self.saved_at = time.monotonic()
        self.info = {
            "flags": {key: value for key, value in vars(flags).items() if key not in ("given", "command_line")},
            "dataset": data.set.name,
            "class_names": list(data.set.class_names),
            "image_size": list(data.set.train_images.shape[1:]),
        }

    def train(self):
        """Train from where the progress stands, test, and write every file. Errors: Interrupted after Ctrl-C."""
        began = time.perf_counter()
        steps = len(self.progress.history)
        self.log = RunLog(self.folder, self.flags.tensorboard, step=steps)
        going_on = steps or self.progress.batch
        self.log.say(f"{'resuming' if going_on else 'run folder'}  {self.folder}")
        self.log.say("  ".join(f"{count:,} {split}" for split, count in self.data.counts().items()) + " images")
        if not going_on:
            self.save()  # from here on the run can be resumed
        warm_up(self.model, self.encoder, self.log)

        start = time.perf_counter()
        train, validation = self.activity(self.data.train), self.activity(self.data.validation)
        encoding = time.perf_counter() - start
        try:
            with self.stop:
                self.model.fit(
                    train, validation, self.flags.epochs, self.log, self.flags.batch_size, self.flags.seed,
                    self.flags.patience, self.progress, self.after_batch, self.after_epoch,
                )  # fmt: skip
        finally:
            self.log.end_bar()
        del train
        self.save()
        self.report(validation, {"encoding": encoding}, began)
        self.log.close()

    def activity(self, chosen):
        """The encoded training images of the indices; None if there are none."""
        if not len(chosen):
            return None
        return Activity(self.encode(self.data.set.train_images[chosen]), self.data.set.train_labels[chosen])

    def encode(self, images):
        return self.encoder.encode(images).to(self.model.device)

    def save(self, name="last.pt", state=None):
        progress = self.progress if name == "last.pt" else None
        path = self.folder / "checkpoints" / name
        checkpoint.save(path, self.model, self.encoder.config(), self.info, progress, state)
        self.saved_at = time.monotonic()

    def after_batch(self, progress):
        if self.stop.asked or time.monotonic() - self.saved_at >= self.flags.save_every:
            self.save()
        if self.stop.asked:
            command = f"python train.py --resume {shlex.quote(str(self.folder))}"
            raise Interrupted(f"stopped and saved; go on with\n    {command}")

    def after_epoch(self, progress, wins):
        row = progress.history[-1]
        phase = self.model.phases[progress.phase]
        if self.log.writer:
            from training.tensorboard_log import log_stages

            log_stages(self.log.writer, self.model, phase, wins, row["step"])
            self.log.writer.flush()  # before the checkpoint: what it counts as done is on the disk
        if self.flags.map_every and row["step"] % self.flags.map_every == 0:
            self.save_maps(f"{row['step']:04}-{phase.name}-epoch{row['epoch']}")
        if progress.best and progress.best["step"] == row["step"]:
            self.save("best.pt", progress.best["state"])
        self.save()  # when all else of the epoch is on the disk: after a kill before this, it is done again

    def save_maps(self, name):
        """Activation maps of the wanted test images into ``maps/name``."""
        labels = self.data.set.test_labels[self.data.test]
        indices = wanted_maps(self.flags, labels)
        if len(indices):
            from report.activation_maps import save_activation_maps

            latencies = self.encode(self.data.set.test_images[indices])
            place = self.folder / "maps" / name
            save_activation_maps(self.model, latencies, labels, indices, place, self.data.set.class_names)

    def report(self, validation, seconds, began):
        """Test the best and the last weights, and write what the run leaves."""
        images, labels = self.data.set.test_images[self.data.test], self.data.set.test_labels[self.data.test]
        latencies = self.encode(images)
        # what is below the stages that learned last is the same for the best and the last weights
        first = self.model.phases[-1].stages[0]
        inputs = self.model.pass_through(latencies, self.model.between(None, first))
        evaluations = {"test.last": Evaluation(self.model, inputs, labels, first)}
        best = self.progress.best
        if best:
            checkpoint.restore(self.model, best["state"], self.model.name)
            held_out = Evaluation(self.model, validation.latencies, validation.labels, validation.at)
            evaluations |= {"validation.best": held_out, "test.best": Evaluation(self.model, inputs, labels, first)}
        else:
            self.save("best.pt")
            evaluations["test.best"] = evaluations["test.last"]
        self.log.say("drawing the figures")
        weights = f"best epoch {best['epoch']} of {best['phase']}" if best else "last epoch"
        title = f"{self.model.name}, {self.data.set.name}, seed {self.flags.seed}, {weights}"
        figures = write_report(
            self.folder, self.model, evaluations["test.best"], images, latencies, self.data.set.class_names, title,
            self.progress.history,
        )  # fmt: skip
        self.save_maps("end")
        summary = summarize(self.model, *images.shape[1:])
        if self.log.writer:
            from training.tensorboard_log import log_embedding, log_figures, log_result

            step = len(self.progress.history)
            log_figures(self.log.writer, figures, step)
            log_embedding(self.log.writer, self.model, latencies, labels, images, self.data.set.class_names, step)
            scores = {key: evaluation.metrics for key, evaluation in evaluations.items()}
            log_result(self.log.writer, self.model, self.info["flags"], scores, summary, step)
        seconds |= {f"phase {name}": value for name, value in self.progress.phase_seconds.items()}
        seconds["since the last start"] = time.perf_counter() - began
        chosen = {key: value for key, value in best.items() if key != "state"} if best else None
        write_results(
            self.folder / "results.json", evaluations, best_epoch=chosen, seconds=seconds,
            peak_memory_mb=peak_memory(), images=self.data.counts(), flags=self.info["flags"],
        )  # fmt: skip
        if best:
            self.log.say(f"best on the validation set: epoch {best['epoch']} of {best['phase']}")
        for key in ("validation.best", "test.best", "test.last"):
            if key in evaluations:
                split, which = key.split(".")
                self.log.say(f"{split:<10} {which}  {evaluations[key].describe()}")
        memory = f", {peak_memory():,.0f} MB at most" if peak_memory() else ""
        self.log.say(f"{seconds['since the last start']:.0f} s{memory}; see {self.folder}")


class StopRequest:
    """While active, Ctrl-C and SIGTERM only set ``asked``; a second Ctrl-C stops at once."""

    def __init__(self):
        self.asked = False

    def __enter__(self):
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this batch; Ctrl-C again stops at once", file=sys.stderr)


def wanted_maps(flags, labels):
    """Indices of the test images whose activation maps are wanted. Errors: InputError if there is no such image."""
    from report.activation_maps import choose_images

    named = np.asarray(flags.map_index or [], np.int64)
    if len(named) and not 0 <= named.min() <= named.max() < len(labels):
        raise InputError(f"--map-index must be 0 to {len(labels) - 1}, the test images; not {flags.map_index}")
    chosen = choose_images(labels, flags.save_maps)
    chosen = chosen[:2] if flags.dry_run else chosen
    return np.concatenate([named, chosen[~np.isin(chosen, named)]])


def warm_up(model, encoder, log):
    """Have every kernel compiled, or taken from the disk, before the first image counts."""
    if model.backend != "event":
        return
    notice = threading.Timer(
        2.0, log.say, ["compiling the kernels for this machine: about half a minute, at the first start only"]
    )
    notice.start()
    try:
        twin = build_model(
            model.name, in_channels=model.in_channels, num_classes=model.num_classes, steps=model.steps,
            dtype=model.convs()[0].weight.dtype,
        )  # fmt: skip
        latencies = encoder.encode(np.zeros((1, 28, 28), np.uint8))
        for phase in twin.phases:
            for name in phase.stages if phase.rule == "stdp" else ():
                twin.train_unsupervised(latencies, name)
        for _ in range(2):  # networks that alternate have two ways of learning
            twin.train_rl(latencies, np.zeros(1, np.int64))
        twin.predict(latencies)
    finally:
        notice.cancel()
