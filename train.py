"""Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP: ``python train.py --help``."""

import argparse
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

import checkpoint
import datasets
from checkpoint import Progress
from errors import InputError
from flags import parse
from image_file import read_image
from models import build_model
from network_trainer import Activity, Interrupted
from report import Evaluation, write_results
from runlog import RunLog
from s1c1 import S1C1
from summary import list_models, summarize
from utils import (
    choose_device,
    environment,
    latest_run,
    new_run_folder,
    peak_memory,
    set_threads,
    write_json,
    write_text,
)

DRY_RUN_IMAGES = {"train": 300, "validation": 100, "test": 100}


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    args, given = parse(argv)
    try:
        command = (
            show_models if args.list_models
            else show_summary if args.summary
            else resume if args.resume
            else predict if args.predict
            else evaluate if args.evaluate
            else train
        )  # fmt: skip
        args.given, args.command_line = given, shlex.join(["train.py", *argv])
        command(args)
    except InputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(interrupted)
        return 130
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        return 130
    return 0


def show_models(args):
    print(list_models())


def show_summary(args):
    data = datasets.load(args.dataset or "mnist", args.data_dir)
    encoder = S1C1()
    model = build_model(needed(args.model), in_channels=encoder.channels, num_classes=data.num_classes)
    print(summarize(model, *data.train_images.shape[1:]))


def train(args):
    """A new run."""
    device, encoder = prepare_machine(args), S1C1()
    check_numbers(args)
    args.dataset = args.dataset or "mnist"
    build_model(needed(args.model), in_channels=encoder.channels)  # an unknown name is refused before the data is read
    data = Data(args)
    model = build_model(
        args.model, in_channels=encoder.channels, num_classes=data.set.num_classes, seed=args.seed, device=device,
        backend=args.backend, steps=encoder.time_steps,
    )  # fmt: skip
    model.sizes(*data.set.train_images.shape[1:])  # refuses images that are too small
    args.epochs = epochs_of(model, args)
    name = f"{args.model}-{args.dataset}-seed{args.seed}" + ("-dry" if args.dry_run else "")
    folder = new_run_folder(args.output, name)
    flags = {key: value for key, value in vars(args).items() if key not in ("given", "command_line")}
    write_json(folder / "args.json", {"command_line": args.command_line, "flags": flags, **environment()})
    write_text(folder / "summary.txt", summarize(model, *data.set.train_images.shape[1:]) + "\n")
    fit_and_report(args, folder, model, encoder, data, Progress())


def resume(args):
    """Go on with an interrupted run in its own folder, with its own flags."""
    folder = latest_run(args.output) if args.resume == "latest" else Path(args.resume)
    content = checkpoint.load(folder / "checkpoints" / "last.pt")
    saved = argparse.Namespace(**{**vars(args), **content["run"]["flags"]})
    changed = sorted(
        f"--{key.replace('_', '-')} {value} (the run has {vars(saved)[key]})"
        for key, value in vars(args).items()
        if key in args.given - {"resume", "output", "threads", "device", "backend", "save_every", "data_dir"}
        and value != vars(saved)[key]
    )
    if changed:
        raise InputError(f"a run goes on with its own flags; leave out {', '.join(changed)}")
    for key in args.given & {"threads", "device", "backend", "save_every", "data_dir"}:
        setattr(saved, key, getattr(args, key))
    for left in folder.glob("**/.[0-9]*.*"):  # of a write that was killed
        left.unlink()
    device = prepare_machine(saved)
    model = checkpoint.rebuild(content, device, saved.backend)
    fit_and_report(saved, folder, model, S1C1(**content["encoding"]), Data(saved), Progress(**content["progress"]))


def fit_and_report(args, folder, model, encoder, data, progress):
    """Train the network from where ``progress`` stands, test it, and write the files of the run."""
    began = time.perf_counter()
    done = len(progress.history)
    log = RunLog(folder, args.tensorboard, step=done)
    log.say(f"{'Resuming' if done or progress.batch else 'Run folder'}: {folder}")
    warm_up(model, encoder, log)
    flags = {key: value for key, value in vars(args).items() if key not in ("given", "command_line")}
    run_info = {"flags": flags, "dataset": args.dataset, "class_names": list(data.set.class_names)}
    run_info["image_size"] = list(data.set.train_images.shape[1:])
    checkpoints = folder / "checkpoints"
    stop = StopRequest()
    saved_at = time.monotonic()

    def save(path="last.pt", state=None, progress=None):
        checkpoint.save(checkpoints / path, model, encoder.config(), run_info, progress, state)

    if not (checkpoints / "last.pt").exists():
        save(progress=progress)  # from here on the run can be resumed

    def after_batch(progress):
        nonlocal saved_at
        if stop.asked or time.monotonic() - saved_at >= args.save_every:
            save(progress=progress)
            saved_at = time.monotonic()
        if stop.asked:
            command = f"python train.py --resume {shlex.quote(str(folder))}"
            raise Interrupted(f"\nstopped and saved; go on with\n    {command}")

    def after_epoch(progress, wins):
        nonlocal saved_at
        if progress.best and progress.best["step"] == len(progress.history):
            save("best.pt", progress.best["state"])
        save(progress=progress)
        saved_at = time.monotonic()

    images = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test_labels)}
    log.say("; ".join(f"{count:,} {split}" for split, count in images.items()) + f" images of {args.dataset}")
    start = time.perf_counter()
    train = Activity(encode(encoder, data.set.train_images[data.train], model), data.set.train_labels[data.train])
    validation = None
    if len(data.validation):
        held_out = data.validation
        validation = Activity(encode(encoder, data.set.train_images[held_out], model), data.set.train_labels[held_out])
    seconds = {"encoding": time.perf_counter() - start}
    try:
        with stop:
            model.fit(
                train, validation, args.epochs, log, args.batch_size, args.seed, args.patience, progress, after_batch,
                after_epoch,
            )  # fmt: skip
    finally:
        log.end_bar()
    del train
    save(progress=progress)

    test = encode(encoder, data.test_images, model), data.test_labels
    evaluations = {"test.last": Evaluation(model, *test)}
    if progress.best:
        checkpoint.restore(model, progress.best["state"], model.name)
        evaluations["validation.best"] = Evaluation(model, validation.latencies, validation.labels, validation.at)
        evaluations["test.best"] = Evaluation(model, *test)
    else:
        save("best.pt")
        evaluations["test.best"] = evaluations["test.last"]
    evaluations["test.best"].write_predictions(folder / "predictions.csv", data.set.class_names)
    seconds |= {f"phase {name}": value for name, value in progress.phase_seconds.items()}
    seconds["wall"] = time.perf_counter() - began
    best = {key: value for key, value in (progress.best or {}).items() if key != "state"}
    write_results(
        folder / "results.json", evaluations, best_epoch=best or None, seconds=seconds, peak_memory_mb=peak_memory(),
        command_line=args.command_line, seed=args.seed, images=images,
    )  # fmt: skip
    if best:
        log.say(f"best epoch on the validation set: {best['phase']} epoch {best['epoch']}")
        log.say(f"validation      {evaluations['validation.best'].describe()}")
    log.say(f"test, best      {evaluations['test.best'].describe()}")
    log.say(f"test, last      {evaluations['test.last'].describe()}")
    log.say(f"{seconds['wall']:.0f} s, {peak_memory():,.0f} MB at most; everything is in {folder}")
    log.close()


def evaluate(args):
    """Test a trained network, without training."""
    device = prepare_machine(args)
    content = load_network(args)
    if "model" in args.given and args.model != content["model"]:
        raise InputError(f"--evaluate {args.evaluate} holds a {content['model']}, not a {args.model}")
    args.dataset = args.dataset or content["run"]["dataset"]
    data = datasets.load(args.dataset, args.data_dir)
    if data.num_classes != content["num_classes"]:
        raise InputError(
            f"{args.evaluate} tells {content['num_classes']} classes ({content['run']['dataset']}) apart; "
            f"{args.dataset} has {data.num_classes}"
        )
    model, encoder = checkpoint.rebuild(content, device, args.backend), S1C1(**content["encoding"])
    folder = new_run_folder(args.output, f"{model.name}-{args.dataset}-evaluation")
    write_json(
        folder / "args.json", {"command_line": args.command_line, "checkpoint": str(args.evaluate), **environment()}
    )
    write_text(folder / "summary.txt", summarize(model, *data.test_images.shape[1:]) + "\n")
    count = DRY_RUN_IMAGES["test"] if args.dry_run else len(data.test_labels)
    evaluation = Evaluation(model, encode(encoder, data.test_images[:count], model), data.test_labels[:count])
    evaluation.write_predictions(folder / "predictions.csv", data.class_names)
    write_results(folder / "results.json", {"test": evaluation}, command_line=args.command_line)
    print(f"{model.name} on the test images of {args.dataset}: {evaluation.describe()}")
    print(f"everything is in {folder}")


def predict(args):
    """Print the classes of image files."""
    device = prepare_machine(args)
    content = load_network(args)
    model, encoder = checkpoint.rebuild(content, device, args.backend), S1C1(**content["encoding"])
    names = [*content["run"]["class_names"], "silent: no neuron of the last stage fired"]
    for path in args.predict:
        image, note = read_image(path, *content["run"]["image_size"])
        (decision,) = model.predict(encode(encoder, image[None], model)).tolist()
        print(f"{path}: {names[decision]}" + (f"  ({note})" if note else ""))


# ---------------------------------------------------------------------------------------------------------------------


class Data:
    """A data set, and the indices of the training and validation images that a run uses."""

    def __init__(self, args):
        self.set = datasets.load(args.dataset, args.data_dir)
        labels = self.set.train_labels
        held_out = min(5000, len(labels) // 12) if args.val_split is None else args.val_split
        self.train, self.validation = np.arange(len(labels)), np.arange(0)
        if held_out:
            self.train, self.validation = datasets.stratified_split(labels, held_out, args.seed)
        if args.ratio != 1:
            self.train = self.train[datasets.stratified_part(labels[self.train], args.ratio, args.seed)]
        self.test_images, self.test_labels = self.set.test_images, self.set.test_labels
        if args.dry_run:
            self.train, self.validation = (
                self.train[: DRY_RUN_IMAGES["train"]], self.validation[: DRY_RUN_IMAGES["validation"]],
            )  # fmt: skip
            self.test_images = self.test_images[: DRY_RUN_IMAGES["test"]]
            self.test_labels = self.test_labels[: DRY_RUN_IMAGES["test"]]


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


def needed(model):
    if model is None:
        raise InputError("name a network with --model; --list-models prints them")
    return model


def prepare_machine(args):
    device = choose_device(args.device)
    args.threads = set_threads(args.threads)
    return device


def check_numbers(args):
    for flag, value, least in (
        ("--batch-size", args.batch_size, 1), ("--patience", args.patience, 0), ("--seed", args.seed, 0),
        ("--val-split", args.val_split or 0, 0), ("--save-every", args.save_every, 0),
        ("--save-maps", args.save_maps, 0), ("--map-every", args.map_every, 0),
    ):  # fmt: skip
        if value < least:
            raise InputError(f"{flag} must be {least} or more, not {value}")


def epochs_of(model, args):
    """The number of epochs of each phase."""
    names = [phase.name for phase in model.phases]
    epochs = list(args.epochs or model.epochs)
    if len(epochs) != len(names):
        raise InputError(
            f"--epochs takes {len(names)} numbers for {model.name}, one for each phase ({' '.join(names)}), "
            f"not {len(epochs)}"
        )
    if min(epochs) < 0:
        raise InputError(f"--epochs must be 0 or more for each phase ({' '.join(names)}), not {min(epochs)}")
    return [min(count, 1) for count in epochs] if args.dry_run else epochs


def load_network(args):
    """The content of the checkpoint that --evaluate names."""
    place = Path(args.evaluate) if args.evaluate not in (None, "latest") else latest_run(args.output)
    if place.is_dir():
        place = place / "checkpoints" / "best.pt"
        if not place.is_file():
            place = place.with_name("last.pt")
    args.evaluate = place
    return checkpoint.load(place)


def encode(encoder, images, model):
    return encoder.encode(images).to(model.device)


def warm_up(model, encoder, log):
    """Have every kernel compiled, or taken from the disk, before the first image counts."""
    if model.backend != "event":
        return
    notice = threading.Timer(
        1.5, log.say, ["Compiling the kernels for this machine: about half a minute, at the first start only."]
    )
    notice.start()
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
    notice.cancel()


if __name__ == "__main__":
    sys.exit(main())
