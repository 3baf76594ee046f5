"""Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP: ``python train.py --help``."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

# numba reads it when it is imported, below: 0 ends in a traceback there, many thousands in a crash.
if not re.fullmatch("[1-9][0-9]{0,2}", os.environ.get("NUMBA_NUM_THREADS", "1")):
    print("train.py: NUMBA_NUM_THREADS must be 1 to 999; unset it to use all cores", file=sys.stderr)
    sys.exit(2)

import datasets
from errors import InputError
from models import model_class
from network_trainer import Interrupted, Progress
from report.activation_maps import save_activation_maps
from report.evaluation import Evaluation
from report.page import write_page
from report.summary import list_models, summarize
from report.writing import write_report, write_results
from training import checkpoint
from training.encoders import build_encoder, chosen, encoder_config
from training.features import check_features
from training.flags import parse
from training.image_file import CHARACTERS, read_image
from training.run import DRY_RUN_IMAGES, Data, Run, wanted_maps
from training.run_log import RunLog, print_what_can_be_printed
from training.settings import MAY_CHANGE, Settings, flag
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
    print_what_can_be_printed()
    commands = {
        "train": train, "resume": resume, "evaluate": evaluate, "predict": predict, "summary": show_summary,
        "list_models": show_models,
    }  # fmt: skip
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        commands[settings.command](settings)
    except InputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that has become read-only, …
        place = f"{error.filename}: " if error.filename else ""
        print(f"train.py: cannot read or write {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except Interrupted:
        return 130
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        return 130
    return 0


def show_models(settings):
    print(list_models())


def show_summary(settings):
    network = model_class(settings.model)
    encoder = build_encoder(chosen(network, settings.encoder))
    data = load_data(settings)
    print(summarize(build(network, encoder, data, settings), *data.train_images.shape[1:]))


def train(settings):
    """A new run."""
    device = prepare_machine(settings)
    network = model_class(settings.model)  # an unknown name is refused before the data is read
    encoder = build_encoder(chosen(network, settings.encoder))
    settings = replace(
        settings, model=network.name, encoder=encoder_config(encoder)["name"], dataset=settings.dataset or "mnist",
        device=str(device),  # on which a resumed run goes on
    )  # fmt: skip
    data = Data(settings)
    model = build(network, encoder, data.set, settings, device)
    settings = replace(settings, epochs=epochs_of(model, settings))
    if settings.patience and model.decision is None:
        raise InputError(f"--patience waits for a better validation accuracy; {model.name} decides nothing")
    if settings.patience and not len(data.validation):
        raise InputError("--patience needs validation images; leave out --val-split 0")
    wanted_maps(settings, data.set.test_labels[data.test])  # refuses indices that are too large
    summary = summarize(model, *data.set.train_images.shape[1:])  # refuses images that are too small
    check_features(settings, model, data)
    what = f"{model.name}-{settings.dataset}-seed{settings.seed}" + ("-dry" if settings.dry_run else "")
    folder = new_run_folder(settings.output, what, settings.name)
    (folder / "checkpoints").mkdir()
    record = {"command_line": settings.command_line, "flags": settings.to_dict(), **environment()}
    write_json(folder / "args.json", record)
    write_text(folder / "summary.txt", summary + "\n")
    with held(folder):
        Run(settings, folder, model, encoder, data, Progress()).train()


def resume(settings):
    """Go on with an interrupted run in its own folder, with its own settings."""
    folder = latest_run(settings.output) if settings.resume == "latest" else Path(settings.resume)
    content = checkpoint.load(folder / "checkpoints" / "last.pt")
    if content["progress"] is None:
        raise InputError(f"{folder / 'checkpoints' / 'last.pt'} holds a network, but no run to go on with")
    encoder, progress = build_encoder(content["encoding"]), Progress(**content["progress"])
    saved = replace(
        Settings.from_dict(content["run"].get("flags")), encoder=encoder_config(encoder)["name"],
        model=model_class(content["model"]).name,  # a flag may have been another name of it
    )  # fmt: skip
    if settings.model is not None:
        settings = replace(settings, model=model_class(settings.model).name)
    changed = [
        f"{flag(name)} {_spelled(getattr(settings, name))} (the run has {_spelled(getattr(saved, name))})"
        for name in sorted(settings.given - MAY_CHANGE - {"resume", "output"})
        if getattr(settings, name) != getattr(saved, name)
    ]
    if changed:
        raise InputError(f"a run goes on with its own flags; leave out {', '.join(changed)}")
    saved = replace(saved, **{name: getattr(settings, name) for name in settings.given & MAY_CHANGE})
    device = prepare_machine(saved)
    model = checkpoint.rebuild(content, device, saved.backend)
    data = Data(saved)
    with held(folder):
        for left in temporaries(folder):
            left.unlink()
        Run(replace(saved, device=str(device)), folder, model, encoder, data, progress).train()


def evaluate(settings):
    """Test a trained network, without training."""
    device = prepare_machine(settings)
    place, content = load_network(settings)
    settings = replace(settings, dataset=settings.dataset or content["run"]["dataset"])
    data = load_data(settings)
    if data.num_classes != content["num_classes"]:
        raise InputError(
            f"{place} tells {content['num_classes']} classes ({content['run']['dataset']}) apart; "
            f"{settings.dataset} has {data.num_classes}"
        )
    count = DRY_RUN_IMAGES["test"] if settings.dry_run else len(data.test_labels)
    images, labels = data.test_images[:count], data.test_labels[:count]
    indices = wanted_maps(settings, labels)
    model, encoder = rebuild(place, content, device, settings), build_encoder(content["encoding"])
    summary = summarize(model, *data.test_images.shape[1:])  # refuses images that are too small
    folder = new_run_folder(settings.output, f"{model.name}-{settings.dataset}-evaluation", settings.name)
    record = {"command_line": settings.command_line, "checkpoint": str(place), **environment()}
    write_json(folder / "args.json", record)
    write_text(folder / "summary.txt", summary + "\n")
    latencies = encoder.encode(images).to(device)
    evaluation = Evaluation(model, latencies, labels)
    title = f"{model.name}, {settings.dataset}, seed {content['run']['flags']['seed']}, {place.name}"
    write_report(
        folder, model, evaluation, images, latencies, data.class_names, title, draw=settings.figures,
        polarity=encoder.polarity, scales=encoder.scales,
    )  # fmt: skip
    if len(indices):
        save_activation_maps(
            model, latencies[indices], labels, indices, folder / "maps", data.class_names, draw=settings.figures
        )
    write_results(folder / "results.json", {"test": evaluation}, checkpoint=str(place))
    if settings.figures:
        maps = folder / "maps" if len(indices) else None
        write_page(
            folder, model, images.shape[1:3], data.class_names, title, maps, images, encoder.polarity, encoder.scales
        )
    log = RunLog(folder)
    log.say(f"{model.name} on {settings.dataset}, test images: {evaluation.describe()}")
    log.say(f"see {folder}")


def predict(settings):
    """Print the classes of image files."""
    device = prepare_machine(settings)
    place, content = load_network(settings)
    model, encoder = rebuild(place, content, device, settings), build_encoder(content["encoding"])
    names = [*content["run"]["class_names"], "silent: no neuron of the last stage fired"]
    for path in settings.predict:
        image, note = read_image(path, *content["run"]["image_size"], centred=content["run"]["dataset"] in CHARACTERS)
        (decision,) = model.predict(encoder.encode(image[None]).to(device)).tolist()
        print(f"{path}: {names[decision]}" + (f"  ({note})" if note else ""))


# ---------------------------------------------------------------------------------------------------------------------


def prepare_machine(settings):
    set_threads(settings.threads)
    return choose_device(settings.device, settings.backend)


def load_data(settings):
    return datasets.load(settings.dataset or "mnist", settings.data_dir or datasets.DATA_DIR)


def build(network, encoder, data, settings, device="cpu"):
    """A new network for what the encoder makes of the data set's images."""
    return network(
        in_channels=encoder.channels, num_classes=data.num_classes, seed=settings.seed, device=device,
        backend=settings.backend, time_steps=encoder.time_steps,
    )  # fmt: skip


def epochs_of(model, settings):
    """The number of epochs of each phase."""
    names = [phase.name for phase in model.phases]
    epochs = settings.epochs or tuple(model.epochs)
    if len(epochs) != len(names):
        raise InputError(
            f"--epochs takes {len(names)} numbers for {model.name}, one for each phase ({' '.join(names)}), "
            f"not {len(epochs)}"
        )
    return tuple(min(count, 1) for count in epochs) if settings.dry_run else epochs


def load_network(settings):
    """The checkpoint that --evaluate names: its path and content."""
    place = latest_run(settings.output) if settings.evaluate in (None, "latest") else Path(settings.evaluate)
    if place.is_dir():
        place = place / "checkpoints" / "best.pt"
        if not place.is_file():
            place = place.with_name("last.pt")
    content = checkpoint.load(place)
    if settings.model is not None and model_class(settings.model).name != content["model"]:
        raise InputError(f"--evaluate {place} holds a {content['model']}, not a {settings.model}")
    if not content["run"].keys() >= {"dataset", "class_names", "image_size"}:
        raise InputError(f"{place} does not say which images its network was trained on; save it with train.py")
    return place, content


def rebuild(place, content, device, settings):
    """The network of a checkpoint, which decides. Errors: InputError if it does not."""
    model = checkpoint.rebuild(content, device, settings.backend)
    if model.decision is None:
        raise InputError(f"{place} holds a {model.name}, of which no stage decides: there is nothing to test")
    return model


def _spelled(value):
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


if __name__ == "__main__":
    sys.exit(main())
