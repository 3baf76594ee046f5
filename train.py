"""Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP: ``python train.py --help``."""

import gc
import json
import os
import re
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

# numba reads it when it is imported, below: 0 ends in a traceback there, many thousands in a crash.
if not re.fullmatch("[1-9][0-9]{0,2}", os.environ.get("NUMBA_NUM_THREADS", "1")):
    print("train.py: NUMBA_NUM_THREADS must be 1 to 999; unset it to use all cores", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    gc.disable()  # what is imported is no garbage: to look for some takes a quarter of the start

import datasets
from datasets.augmentation import Augmentation, add_noise
from datasets.own import is_own
from datasets.pictures import images_at
from engine.event import pace
from errors import InputError, report_error
from models import model_class
from network_trainer import Progress
from report.activation_maps import save_activation_maps
from report.activity import activity
from report.activity import describe as describe_activity
from report.evaluation import Evaluation
from report.page import read_rows, write_page
from report.summary import list_models, summarize
from report.writing import Report, write_report, write_results
from training import config
from training.checkpoint import find_checkpoint, load_checkpoint, rebuild_network
from training.encoders import build_encoder, changed, chosen, encoder_config, for_colours
from training.features import check_features
from training.finished import is_finished, lengthen, lengthens
from training.flags import parse
from training.image_files import CHARACTERS, read_image
from training.initial import initialize_from
from training.log import RunLog, replace_unprintable
from training.run import DRY_RUN_IMAGES, Data, Run, Stopped, wanted_maps
from training.settings import MAY_CHANGE, Settings, flag
from training.shared import begin_after
from training.stopping import resumable
from utils import (
    choose_device,
    create_run_folder,
    describe_environment,
    find_latest_run,
    find_temporaries,
    lock_folder,
    set_threads,
    to_folder_name,
    write_json,
    write_text,
)


def main(argv=None):
    replace_unprintable()
    commands = {
        "train": train, "resume": resume, "evaluate": evaluate, "predict": predict, "summary": show_summary,
        "list_models": show_models,
    }  # fmt: skip
    try:
        settings = parse(sys.argv[1:] if argv is None else argv)
        commands[settings.command](settings)
    except (InputError, OSError) as error:
        return report_error("train.py", error)
    except Stopped as stopped:
        return stopped.code
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        return 130
    return 0


def show_models(settings):
    print(list_models())


def show_summary(settings):
    network = model_class(settings.model)
    data = load_data(settings)
    encoder = encoder_of(network, settings, data)
    print(describe(build(network, encoder, data, settings), data, settings))


def train(settings):
    """A new run."""
    device = prepare_machine(settings)
    network = model_class(settings.model)  # an unknown name is refused before the data is read
    settings = replace(
        settings, model=network.name, dataset=settings.dataset or "mnist",
        device=str(device),  # on which a resumed run goes on
    )  # fmt: skip
    data = Data(settings)
    encoder = encoder_of(network, settings, data.set)
    settings = replace(settings, encoder=encoder_config(encoder)["name"])
    model = build(network, encoder, data.set, settings, device)
    settings = replace(settings, epochs=epochs_of(model, settings))
    if settings.patience and model.decision is None:
        raise InputError(f"--patience waits for a better validation accuracy; {model.name} decides nothing")
    if settings.patience and not len(data.validation):
        raise InputError("--patience needs validation images; leave out --val-split 0")
    if not settings.test and (model.decision is None or not len(data.validation)):
        why = f"{model.name} decides nothing" if model.decision is None else "leave out --val-split 0"
        raise InputError(f"--no-test scores the validation images in place of the test images; {why}")
    _, labels, chosen = data.part(settings.scored)
    wanted_maps(settings, labels[chosen])  # refuses indices that are too large
    summary = describe(model, data.set, settings)  # refuses images that are too small
    augmentation = Augmentation.parse(" ".join(settings.augment) or network.augmentation)
    if augmentation:
        model.check_copies()
    settings = replace(settings, augment=tuple(str(augmentation).split()))
    check_features(settings, model, data)
    origin, notes, progress = {}, [], Progress()
    if settings.after:
        progress, origin, notes = begin_after(settings.after, model, encoder, data, settings)
    if settings.init_from:
        place = find_checkpoint(settings.init_from, settings.output)
        origin["init_from"], notes = initialize_from(place, model, encoder, data)
    what = f"{model.name}-{to_folder_name(data.set.name)}-seed{settings.seed}" + ("-dry" if settings.dry_run else "")
    folder = create_run_folder(settings.output, what, settings.name)
    (folder / "checkpoints").mkdir()
    record = {"command_line": settings.command_line, "flags": settings.to_dict(), **origin, **describe_environment()}
    write_json(folder / "args.json", record)
    write_text(folder / "summary.txt", summary + "\n")
    with lock_folder(folder), resumable(folder):
        run = Run(settings, folder, model, encoder, data, progress, notes)
        run.save()  # from here on it can be resumed
        run.train()


def resume(settings):
    """Go on with an interrupted run in its own folder, with its own settings, or with more epochs of its last phase."""
    folder = find_latest_run(settings.output) if settings.resume == "latest" else Path(settings.resume)
    place = folder / "checkpoints" / "last.safetensors"
    content = load_checkpoint(place)
    if content.progress is None:
        raise InputError(f"{place} holds a network, but no run to go on with")
    encoder, progress = build_encoder(content.encoding), content.progress
    saved = replace(
        Settings.from_dict(content.run.get("flags")), encoder=encoder_config(encoder)["name"],
        model=model_class(content.model).name,  # a flag may have been another name of it
    )  # fmt: skip
    if not saved.epochs:
        raise InputError(f"{place} does not say how many epochs its run has: run.flags.epochs is missing")
    if settings.model is not None:
        settings = replace(settings, model=model_class(settings.model).name)
    longer = "epochs" in settings.given and lengthens(settings.epochs, saved.epochs)
    may_change = {*MAY_CHANGE, "epochs"} if longer else MAY_CHANGE
    changed = [
        f"{flag(name)} {_spelled(getattr(settings, name))} (the run has {_spelled(getattr(saved, name))})"
        for name in sorted(settings.given - may_change - {"resume", "output"})
        if getattr(settings, name) != getattr(saved, name)
    ]
    if changed:
        raise InputError(f"a run goes on with its own flags; leave out {', '.join(changed)}")
    done, trained = progress.phase == len(saved.epochs), saved
    saved = replace(saved, **{name: getattr(settings, name) for name in settings.given & may_change})
    if done and not longer and is_finished(folder, saved.figures):
        longer = _spelled((*saved.epochs[:-1], saved.epochs[-1] + 1))
        print(f"{folder} is finished; a larger last number of epochs lengthens it: --epochs {longer}")
        return
    if done and longer and 0 < saved.patience <= progress.epochs_since_best:
        raise InputError(f"{folder} was ended by --patience {saved.patience}, not by its number of epochs")
    device = prepare_machine(saved)
    model = rebuild_network(content, device, saved.backend)
    data = Data(saved)
    if data.set.fingerprint != content.run["fingerprint"]:
        raise InputError(
            f"{data.set.name} has changed since the run began: its fingerprint was {content.run['fingerprint']} and "
            f"is {data.set.fingerprint}; put the images back, or begin a new run"
        )
    with lock_folder(folder), resumable(folder):
        for left in find_temporaries(folder):
            left.unlink()
        if longer:
            lengthen(folder, saved)
        if longer and done:
            progress.phase, progress.epoch = progress.phase - 1, trained.epochs[-1]
        Run(replace(saved, device=str(device)), folder, model, encoder, data, progress).train(is_resumed=True)


def evaluate(settings):
    """Test a trained network, without training."""
    device = prepare_machine(settings)
    place, content = load_network(settings)
    trained = Settings.from_dict(content.run["flags"])
    settings = replace(
        settings, dataset=settings.dataset or trained.dataset or content.run["dataset"],
        image_size=settings.image_size or trained.image_size,
    )  # fmt: skip
    data = load_data(settings)
    check_fit(place, content, data, settings.dataset)
    count = DRY_RUN_IMAGES["test"] if settings.dry_run else len(data.test_labels)
    images, labels = data.test_images[:count], data.test_labels[:count]
    if settings.noise:
        images = add_noise(images, settings.noise)
    indices = wanted_maps(settings, labels)
    model, encoder = rebuild(place, content, device, settings), build_encoder(content.encoding)
    summary = describe(model, data, trained)  # refuses images that are too small
    folder = create_run_folder(settings.output, f"{model.name}-{to_folder_name(data.name)}-evaluation", settings.name)
    record = {"command_line": settings.command_line, "checkpoint": str(place), **describe_environment()}
    write_json(folder / "args.json", record)
    write_text(folder / "summary.txt", summary + "\n")
    latencies = encoder.encode(images).to(device)
    evaluation = Evaluation(model, latencies, labels)
    tested = f"{data.name} with noise {settings.noise}" if settings.noise else data.name
    title = f"{config.title(model.name, trained.set)}{tested}, seed {trained.seed}, {place.name}"
    report = Report(model, encoder, images, labels, latencies, data.class_names, title, evaluation=evaluation)
    write_report(folder, report, settings.figures)
    if len(indices):
        save_activation_maps(
            model, latencies[indices], labels, indices, folder / "maps", data.class_names, draw=settings.figures
        )
    counts = activity(model, latencies)
    noise = {"noise": settings.noise} if settings.noise else {}
    write_results(
        folder / "results.json", {"test": evaluation}, checkpoint=str(place), dataset=data.name,
        fingerprint=data.fingerprint, **noise, activity=counts,
    )  # fmt: skip
    if settings.figures:
        write_page(folder, report, folder / "maps")
    log = RunLog(folder)
    for note in (*data.notes, *changed_since(content.run, data)):
        log.info(note)
    log.info(f"{model.name} on {tested}, test images: {evaluation.describe()}")
    log.info(describe_activity(counts))
    if settings.tensorboard:
        log.info(f"TensorBoard: {show_evaluation(place, folder, evaluation, settings, content)}")
    log.info(f"see {folder}")


def show_evaluation(place, folder, evaluation, settings, content):
    """Add scores and figures to TensorBoard's events of the evaluated run, of a lone checkpoint to ``folder``.

    Returns the folder. What an earlier evaluation added goes.
    """
    from training.tensorboard import Board

    run = place.parent.parent
    history = read_rows(run / "metrics.csv") if place.parent.name == "checkpoints" else []
    drawn, folder = folder / "figures", run if history else folder
    split = "test" if settings.dataset == content.run["dataset"] else f"test_{settings.dataset}"
    board, step = Board(folder), len(history) + 2  # the run's own end is one step behind its last epoch
    board.log_scores(split, evaluation.metrics, step)
    board.log_pictures("report", drawn, step)
    board.close()
    return folder


def predict(settings):
    """Print the classes of image files."""
    device = prepare_machine(settings)
    place, content = load_network(settings)
    model, encoder = rebuild(place, content, device, settings), build_encoder(content.encoding)
    run, found = content.run, []
    centred = run["dataset"] in CHARACTERS and not settings.raw
    for path in chain.from_iterable(map(images_at, settings.predict)):
        image, note = read_image(path, *run["image_size"][:2], centred, getattr(encoder, "colours", 1))
        decisions, scores = model.decide(encoder.encode(image[None]).to(device))
        decision = None if int(decisions[0]) < 0 else run["class_names"][int(decisions[0])]
        entry = {"image": str(path), "class": decision, "note": note}
        if settings.scores:
            entry["scores"] = dict(zip(run["class_names"], scores[0].tolist(), strict=True))
        found.append(entry)
    if settings.json:
        print(json.dumps(found, indent=1))
        return
    for entry in found:
        decision = "silent: no neuron of the last stage fired" if entry["class"] is None else entry["class"]
        print(f"{entry['image']}: {decision}" + (f"  ({entry['note']})" if entry["note"] else ""))
        if settings.scores:
            print("    " + "  ".join(f"{name} {score:.6g}" for name, score in entry["scores"].items()))


# ---------------------------------------------------------------------------------------------------------------------


def prepare_machine(settings):
    set_threads(settings.threads)
    pace.automatic = settings.threads == "auto"
    return choose_device(settings.device, settings.backend)


def load_data(settings):
    place = settings.data_dir or datasets.DATA_DIR
    return datasets.load(settings.dataset or "mnist", place, settings.image_size or None)


def changed_since(run, data):
    """A sentence if the data set is no longer the one of that name that a network was trained on."""
    before = run["fingerprint"]
    if run["dataset"] != data.name or before == data.fingerprint:
        return []
    return [f"{data.name} has changed since the training (fingerprint {before}, now {data.fingerprint}): images that "
            "are tested now may have been trained on"]  # fmt: skip


def encoder_of(network, settings, data):
    """The network's encoder, or the one that --encoder names, with what --set makes of it, for the data's colours."""
    _, parameters = config.divided(settings.set)
    return build_encoder(for_colours(changed(chosen(network, settings.encoder), parameters), data.colours))


def check_fit(place, content, data, dataset):
    """Errors: InputError unless the network of a checkpoint can be tested on the data."""
    run = content.run
    if data.num_classes != content.num_classes:
        raise InputError(
            f"{place} tells {content.num_classes} classes ({run['dataset']}) apart; {data.name} has {data.num_classes}"
        )
    if is_own(dataset) and list(data.class_names) != list(run["class_names"]):
        raise InputError(
            f"{place} tells the classes {', '.join(run['class_names'])} apart; those of {data.name} are "
            f"{', '.join(data.class_names)}"
        )
    colours = content.encoding.get("colours", 1)
    if data.colours != colours:
        kinds = {1: "grey", 3: "colour"}
        raise InputError(f"{place} takes {kinds[colours]} images; those of {data.name} are {kinds[data.colours]}")


def describe(model, data, settings):
    """The table of stages, and what was set otherwise than declared. Errors: InputError for images too small."""
    table = summarize(model, *data.image_size)
    return "\n".join([table, *([f"set: {' '.join(settings.set)}"] if settings.set else [])])


def build(network, encoder, data, settings, device="cpu"):
    """A new network for what the encoder makes of the data set's images."""
    return network(
        in_channels=encoder.channels, num_classes=data.num_classes, seed=settings.seed, device=device,
        backend=settings.backend, time_steps=encoder.time_steps,
        overrides=config.divided(settings.set)[0], image_size=data.image_size[:2],
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
    place = find_checkpoint(settings.evaluate or "latest", settings.output)
    content = load_checkpoint(place)
    if settings.model is not None and model_class(settings.model).name != content.model:
        raise InputError(f"--evaluate {place} holds a {content.model}, not a {settings.model}")
    if not content.run:
        raise InputError(f"{place} does not say which images its network was trained on; save it with train.py")
    return place, content


def rebuild(place, content, device, settings):
    """The network of a checkpoint, which decides. Errors: InputError if it does not."""
    model = rebuild_network(content, device, settings.backend)
    if model.decision is None:
        raise InputError(f"{place} holds a {model.name}, of which no stage decides: there is nothing to test")
    return model


def _spelled(value):
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    code = main()
    gc.freeze()  # nor is it at the end
    sys.exit(code)
