"""Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP: ``python train.py --help``."""

import argparse
import shlex
import sys
from pathlib import Path

import datasets
from errors import InputError
from models import build_model, model_class
from network_trainer import Interrupted, Progress
from report.activation_maps import save_activation_maps
from report.evaluation import Evaluation
from report.summary import list_models, summarize
from report.writing import write_report, write_results
from s1c1 import S1C1
from training import checkpoint
from training.flags import parse
from training.image_file import read_image
from training.run import DRY_RUN_IMAGES, Data, Run, wanted_maps
from utils import (
    choose_device,
    environment,
    held,
    latest_run,
    new_run_folder,
    set_threads,
    temporaries,
    write_json,
    write_text,
)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    try:
        args, given = parse(argv)
        command = (
            show_models if args.list_models
            else show_summary if args.summary
            else resume if args.resume
            else predict if args.predict
            else evaluate if args.evaluate
            else train
        )  # fmt: skip
        refuse_two(given)
        args.given, args.command_line = given, shlex.join(["train.py", *argv])
        command(args)
    except InputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that has become read-only, …
        place = f"{error.filename}: " if error.filename else ""
        print(f"train.py: cannot read or write {place}{error.strerror or error}", file=sys.stderr)
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
    data = datasets.load(args.dataset or "mnist", args.data_dir or datasets.DATA_DIR)
    encoder = S1C1()
    model = build_model(needed(args.model), in_channels=encoder.channels, num_classes=data.num_classes)
    print(summarize(model, *data.train_images.shape[1:]))


def train(args):
    """A new run."""
    device, encoder = prepare_machine(args), S1C1()
    args.device = str(device)  # on which a resumed run goes on
    check_numbers(args)
    args.dataset = args.dataset or "mnist"
    build_model(needed(args.model), in_channels=encoder.channels)  # an unknown name is refused before the data is read
    data = Data(args)
    if args.patience and not len(data.validation):
        raise InputError("--patience needs validation images; leave out --val-split 0")
    model = build_model(
        args.model, in_channels=encoder.channels, num_classes=data.set.num_classes, seed=args.seed, device=device,
        backend=args.backend, steps=encoder.time_steps,
    )  # fmt: skip
    model.sizes(*data.set.train_images.shape[1:])  # refuses images that are too small
    args.epochs = epochs_of(model, args)
    wanted_maps(args, data.set.test_labels[data.test])  # refuses indices that are too large
    name = f"{args.model}-{args.dataset}-seed{args.seed}" + ("-dry" if args.dry_run else "")
    folder = new_run_folder(args.output, name)
    (folder / "checkpoints").mkdir()
    flags = {key: value for key, value in vars(args).items() if key not in ("given", "command_line")}
    write_json(folder / "args.json", {"command_line": args.command_line, "flags": flags, **environment()})
    write_text(folder / "summary.txt", summarize(model, *data.set.train_images.shape[1:]) + "\n")
    with held(folder):
        Run(args, folder, model, encoder, data, Progress()).train()


def resume(args):
    """Go on with an interrupted run in its own folder, with its own flags."""
    folder = latest_run(args.output) if args.resume == "latest" else Path(args.resume)
    content = checkpoint.load(folder / "checkpoints" / "last.pt")
    if content["progress"] is None:
        raise InputError(f"{folder / 'checkpoints' / 'last.pt'} holds a network, but no run to go on with")
    saved = argparse.Namespace(**{**vars(args), **content["run"]["flags"]})
    changed = sorted(
        f"{flag(key)} {value} (the run has {vars(saved)[key]})"
        for key, value in vars(args).items()
        if key in args.given - {"resume", "output", "threads", "device", "backend", "save_every", "data_dir"}
        and value != vars(saved)[key]
    )
    if changed:
        raise InputError(f"a run goes on with its own flags; leave out {', '.join(changed)}")
    for key in args.given & {"threads", "device", "backend", "save_every", "data_dir"}:
        setattr(saved, key, getattr(args, key))
    device = prepare_machine(saved)
    saved.device = str(device)
    model = checkpoint.rebuild(content, device, saved.backend)
    check_numbers(saved)
    encoder, progress = S1C1(**content["encoding"]), Progress(**content["progress"])
    with held(folder):
        for left in temporaries(folder):
            left.unlink()
        Run(saved, folder, model, encoder, Data(saved), progress).train()


def evaluate(args):
    """Test a trained network, without training."""
    refuse_training_flags(args)
    device = prepare_machine(args)
    check_numbers(args)
    content = load_network(args)
    args.dataset = args.dataset or content["run"]["dataset"]
    data = datasets.load(args.dataset, args.data_dir or datasets.DATA_DIR)
    if data.num_classes != content["num_classes"]:
        raise InputError(
            f"{args.evaluate} tells {content['num_classes']} classes ({content['run']['dataset']}) apart; "
            f"{args.dataset} has {data.num_classes}"
        )
    count = DRY_RUN_IMAGES["test"] if args.dry_run else len(data.test_labels)
    images, labels = data.test_images[:count], data.test_labels[:count]
    indices = wanted_maps(args, labels)
    model, encoder = checkpoint.rebuild(content, device, args.backend), S1C1(**content["encoding"])
    folder = new_run_folder(args.output, f"{model.name}-{args.dataset}-evaluation")
    write_json(
        folder / "args.json", {"command_line": args.command_line, "checkpoint": str(args.evaluate), **environment()}
    )
    write_text(folder / "summary.txt", summarize(model, *data.test_images.shape[1:]) + "\n")
    latencies = encoder.encode(images).to(device)
    evaluation = Evaluation(model, latencies, labels)
    title = f"{model.name}, {args.dataset}, seed {content['run']['flags']['seed']}, {args.evaluate.name}"
    write_report(folder, model, evaluation, images, latencies, data.class_names, title)
    if len(indices):
        save_activation_maps(model, latencies[indices], labels, indices, folder / "maps", data.class_names)
    write_results(folder / "results.json", {"test": evaluation}, checkpoint=str(args.evaluate))
    print(f"{model.name} on {args.dataset}, test images: {evaluation.describe()}")
    print(f"see {folder}")


def predict(args):
    """Print the classes of image files."""
    refuse_training_flags(args, "dataset", "data_dir", "save_maps", "map_index")
    device = prepare_machine(args)
    content = load_network(args)
    model, encoder = checkpoint.rebuild(content, device, args.backend), S1C1(**content["encoding"])
    names = [*content["run"]["class_names"], "silent: no neuron of the last stage fired"]
    for path in args.predict:
        image, note = read_image(path, *content["run"]["image_size"])
        (decision,) = model.predict(encoder.encode(image[None]).to(device)).tolist()
        print(f"{path}: {names[decision]}" + (f"  ({note})" if note else ""))


# ---------------------------------------------------------------------------------------------------------------------


def needed(model):
    if model is None:
        raise InputError("name a network with --model; --list-models prints them")
    return model


def refuse_two(given):
    """Errors: InputError if more than one thing is to be done; --evaluate also says which network is to predict."""
    what = [flag(key) for key in ("list_models", "summary", "resume", "evaluate", "predict") if key in given]
    if len(what) > 1 and what != ["--evaluate", "--predict"]:
        raise InputError(f"{' and '.join(what)} are different things to do; leave one out")


def refuse_training_flags(args, *more):
    training = {"epochs", "batch_size", "seed", "patience", "ratio", "val_split", "map_every", "save_every"}
    useless = args.given & {*training, "tensorboard", *more}
    if useless:
        what = "--predict takes image files" if args.predict else "--evaluate does not train"
        raise InputError(f"{what}; leave out {', '.join(map(flag, sorted(useless)))}")


def flag(key):
    return f"--{key.replace('_', '-')}"


def prepare_machine(args):
    set_threads(args.threads)
    return choose_device(args.device, args.backend)


def check_numbers(args):
    for flag, value, least in (
        ("--batch-size", args.batch_size, 1), ("--patience", args.patience, 0), ("--seed", args.seed, 0),
        ("--val-split", args.val_split or 0, 0), ("--save-every", args.save_every, 0),
        ("--save-maps", args.save_maps, 0), ("--map-every", args.map_every, 0),
    ):  # fmt: skip
        if not value >= least:  # nan is neither
            raise InputError(f"{flag} must be {least} or more, not {value}")
    if args.map_every and not (args.save_maps or args.map_index):
        raise InputError("--map-every needs to know which images: add --save-maps N or --map-index I")


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
    content = checkpoint.load(place)
    if args.model is not None and model_class(args.model).name != content["model"]:
        raise InputError(f"--evaluate {place} holds a {content['model']}, not a {args.model}")
    if not content["run"].keys() >= {"dataset", "class_names", "image_size"}:
        raise InputError(f"{place} does not say which images its network was trained on; save it with train.py")
    return content


if __name__ == "__main__":
    sys.exit(main())
