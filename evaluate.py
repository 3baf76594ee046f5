"""Test a trained network, or classify image files with it: ``python evaluate.py --help``."""

import sys
from pathlib import Path

from errors import InputError, make_printable, warn
from training.command import command_line, prepare_start, print_output, report_error

if __name__ == "__main__":
    prepare_start()

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np

from encoders import IMAGES
from engine.stages import INPUT
from imagesets import DataSet
from imagesets.data_set import is_path
from imagesets.pictures import images_at
from imagesets.splits import choose_evenly
from models import model_class
from report.evaluation import Evaluation, measure_decision_time
from report.exports.draw import DRAWN, REHEARSED, TESTED, write_drawing_page
from report.exports.nir import write_nir
from report.figures import save
from report.operations import count_operations, describe_operations
from report.page import PAGE, write_page
from report.report import Report
from report.results import format_table, tabulate
from report.sheets import draw_sheet
from run_folder import LATEST, RunFolder, read_header
from training.ask import choose_to_label
from training.changes import write_start
from training.checkpoint import Checkpoint, RunRecord
from training.comparison import check_alike, compare_networks
from training.data import Split, Splits, choose_few, load_data, load_data_of_run
from training.log import RunLog
from training.parsing import to_text
from training.plan import choose_images, choose_map_images, choose_stage, count_neurons, describe, prepare_machine
from training.readout import save_features
from training.references import measure_references
from training.settings import EvaluateSettings
from training.sheet import HEADER, name_training_images
from training.testing import report_test
from training.trained import TrainedNetwork, compute_maps, load_network
from utils import check_memory, check_place, claim_folder, put_in_place, to_folder_name, write_csv, write_json

ASK_COLUMNS = 10  # of the picture of --ask


@command_line
def main(words: list[str]) -> int | None:
    """Test, classify or export, as the words of a command line request. Returns the exit code, None for 0."""
    settings = EvaluateSettings.parse(words)
    file = settings.nir or settings.draw
    if file:
        check_place(Path(file))
    network, *others = load_networks(settings)
    if others:
        evaluate_several(settings, [network, *others])
    elif settings.nir:
        write_nir(Path(settings.nir), network.model, network.class_names)
    elif settings.draw:
        draw(Path(settings.draw), settings, network)
    elif settings.save_features:
        return write_features(settings, network, settings.save_features)
    elif settings.ask:
        ask(settings, network)
    elif settings.predict:
        return predict(settings, network)
    else:
        evaluate(settings, network)
    if file:
        print_output(f"{network.model.name} of {network.checkpoint.path} is written to {file}")
    return None


def evaluate(settings: EvaluateSettings, network: TrainedNetwork) -> None:
    """Test a network on the test images of a data set, and write a report in a folder."""
    network.model.find_decision()
    model = network.model
    encoder = network.encoder
    checkpoint = network.checkpoint
    data, tested = read_test_images(settings, network)
    images = tested.images
    labels = tested.labels
    indices = choose_map_images(settings, labels)
    check_memory("the latencies of the test images", len(images) * count_neurons(model, INPUT))
    run = RunFolder(checkpoint.path.resolve().parent.parent)
    name = f"{model.name}-{data.name}"
    if run.last.is_file():
        name = run.path.name if data.name == checkpoint.record.dataset else f"{run.path.name}-{data.name}"
    folder, log, facts = begin_test(settings, data, name, {"checkpoint": str(checkpoint.path)}, [network])
    latencies = encoder.encode(images).to(model.device)
    evaluation = Evaluation(*model.decide(latencies), labels)
    title = f"{model.name}, {data.name}"
    trained = network.settings
    if checkpoint.record.flags:
        title = trained.title(data.name)
    title += f", {checkpoint.path.name}"
    facts["operations"] = count_operations(model, latencies)
    facts["decision_time"] = measure_decision_time(model, latencies, labels)
    measured = {}
    if trained.references and not trained.test:  # the run itself has not scored them on test images
        measured = measure_references(split_data(settings, network), encoder, model, trained.seed)
    table = tabulate("test", {model.name: evaluation}, data.class_names, measured)
    facts |= {**measured, "table": table, "diagnosis": table["classes"]}
    report = Report(
        model=model,
        encoder=encoder,
        images=images,
        labels=labels,
        latencies=latencies,
        class_names=data.class_names,
        title=title,
        evaluations={("test", ""): evaluation},
        facts=facts,
        shown=indices,
        names=data.name_images("test", tested.indices),
    )
    report_test(report, folder, log, settings.figures, formats=settings.figure_formats)
    if settings.figures:
        log.write(PAGE, partial(write_page, folder, report))
    log.info(f"{model.name} on {data.name}, test images: {evaluation.describe()}", in_terminal=False)
    log.info_all([*format_table(table), describe_operations(facts["operations"])])
    log.close()
    log.info(f"page: {folder / PAGE}" if settings.figures else f"see {folder}")


def evaluate_several(settings: EvaluateSettings, networks: list[TrainedNetwork]) -> None:
    """Test several networks alone and together on the test images of a data set, and write the scores in a folder."""
    check_alike(networks)
    data, tested = read_test_images(settings, networks[0])
    name = f"{len(networks)} networks together"
    paths = [str(network.checkpoint.path) for network in networks]
    folder, log, facts = begin_test(settings, data, f"{name}-{data.name}", {"checkpoints": paths}, networks)
    evaluation, comparison, lines = compare_networks(networks, tested.images, tested.labels)
    table = tabulate("test", {"all together": evaluation}, data.class_names)
    facts |= {**comparison, "table": table, "diagnosis": table["classes"]}
    write_json(folder / "results.json", {"test": evaluation.metrics, **facts})
    names = data.name_images("test", tested.indices)
    evaluation.write_predictions(folder / "predictions.csv", data.class_names, names)
    log.info(f"{name} on {data.name}, test images: {evaluation.describe()}", in_terminal=False)
    log.info_all([*format_table(table), *lines])
    log.board.log_scores("test", evaluation.metrics, 0)
    log.close()
    log.info(f"see {folder}")


def read_test_images(settings: EvaluateSettings, network: TrainedNetwork) -> tuple[DataSet, Split]:
    """Return the data set of the settings, and its test images; a few of a dry run.

    Raises InputError as ``read_data``, and unless the network was trained for the classes of the data set.
    """
    data = read_data(settings, network)
    content = network.checkpoint
    check_equal(content, data, f"{content.num_classes} classes", f"{data.num_classes} classes")
    trained = network.settings.dataset
    has_own_classes = any(not name or is_path(name) for name in (trained, settings.dataset or trained))
    if has_own_classes and content.record.class_names:
        names = [f"the classes {', '.join(classes)}" for classes in (content.record.class_names, data.class_names)]
        check_equal(content, data, *names)
    count = len(data.test_part[1])
    if not count:
        settings.refuse("dataset", f"is missing: {data.name} has no test images, because the run held none out")
    return data, Split(*data.test_part, choose_few("test", count) if settings.dry_run else np.arange(count))


def begin_test(
    settings: EvaluateSettings, data: DataSet, name: str, facts: dict, networks: list[TrainedNetwork]
) -> tuple[Path, RunLog, dict]:
    """Create the folder of a test, with the command, and begin its log. name: what is tested.

    Returns the folder, the log, and ``facts`` with those of the data set, for results.json.
    """
    with claim_folder(settings.output, f"{to_folder_name(name)}-evaluation", settings.name) as claimed:
        folder = put_in_place(claimed)
    summaries = [describe(network.model, network.settings) for network in networks]
    write_start(folder, settings, facts, "\n\n".join(summaries))
    log = RunLog(folder, settings.tensorboard)
    log.info_all(data.notes)
    for network in networks:
        log.info_all(describe_change(network.checkpoint.record, data))
    facts = {**facts, "dataset": data.name, "fingerprint": data.fingerprint}
    if not settings.dry_run:
        facts["checkpoints_sha256"] = [read_header(network.checkpoint.path)["sha256"] for network in networks]
    return folder, log, facts


def predict(settings: EvaluateSettings, network: TrainedNetwork) -> int:
    """Print the classes of image files. Returns 2 if a file cannot be used, else 0."""
    network.model.find_decision()
    images, entries, code = read_files(settings, network)
    names = network.class_names
    if images:
        for entry, decision, scores in zip(entries, *network.classify(images), strict=True):
            if decision >= 0:
                entry["class"] = names[decision]
            entry["scores"] = dict(zip(names, scores.tolist(), strict=True))
    if settings.json:
        print_output(json.dumps(entries, indent=1))
        return code
    for entry in entries:
        decision = "silent: no neuron of the decision stage fired" if entry["class"] is None else entry["class"]
        note = f"  ({entry['note']})" if entry["note"] else ""
        print_output(f"{make_printable(entry['image'])}: {decision}{note}")
        if settings.scores:
            scores = [f"{name} {score:.6g}" for name, score in entry["scores"].items()]
            print_output(f"    {'  '.join(scores)}")
    return code


def read_files(settings: EvaluateSettings, network: TrainedNetwork) -> tuple[list, list[dict], int]:
    """Read the files of --predict; those that cannot be used are named on stderr.

    Returns the images, an entry for each of them, and the exit code: 2 if a file cannot be used, else 0.
    """
    code = 0
    images = []
    entries = []
    for path in chain.from_iterable(map(images_at, settings.predict)):
        try:
            image, note = network.read_image(path, settings.raw)
        except (InputError, OSError) as error:
            code = report_error("evaluate.py", error)
            continue
        images.append(image)
        entries.append({"image": str(path), "class": None, "note": note})
    return images, entries, code


def write_features(settings: EvaluateSettings, network: TrainedNetwork, stage: str) -> int:
    """Save the features of image files, or of the splits of a data set, in a new folder. Returns as ``predict``."""
    model = network.model
    stage = choose_stage(model, stage)
    code = 0
    more = {}
    if settings.predict:
        title = "files"
        images, entries, code = read_files(settings, network)
        if not images:
            return code
        chosen = {title: Split(np.asarray(network.gather(images)), np.full(len(images), -1), np.arange(len(images)))}
        more["files"] = np.array([entry["image"] for entry in entries])
    else:
        splits = split_data(settings, network)
        title = splits.data.name
        chosen = {name: splits.get_split(name) for name, indices in splits.indices.items() if len(indices)}
    choose_stage(model, stage, max(map(len, chosen.values())))
    facts = {"checkpoint": str(network.checkpoint.path)}
    folder_name = f"{model.name}-{to_folder_name(title)}-features"
    with claim_folder(settings.output, folder_name, settings.name) as claimed:
        write_start(claimed, settings, facts, describe(model, network.settings))
        for name, split in chosen.items():
            latencies = compute_maps(model, network.encoder, split.images, stage)
            save_features(claimed, name, split, latencies, stage, model.time_steps, **more)
        folder = put_in_place(claimed)
    counts = [f"{name} {len(split):,}" for name, split in chosen.items()]
    print_output(f"the features of {stage} are in {folder / 'features'}: {', '.join(counts)}")
    return code


def split_data(settings: EvaluateSettings, network: TrainedNetwork) -> Splits:
    """Divide the data set of the settings as the run has divided its own. Another data set has its own parts alone."""
    data = read_data(settings, network)
    for note in describe_change(network.checkpoint.record, data):
        print_output(note)
    trained = network.settings
    if data.fingerprint != network.checkpoint.record.fingerprint:
        trained = replace(trained, ratio=1.0, labels=None, val_split=None if data.val_count else 0)
    return Splits(replace(trained, test=True, dry_run=settings.dry_run), data)


def ask(settings: EvaluateSettings, network: TrainedNetwork) -> None:
    """Write the sheet of the images to label first, and draw them, in a new folder."""
    data = read_data(settings, network)
    names = name_training_images(data)
    log = RunLog()
    places, sizes = choose_to_label(network, data.train_images, settings.ask, log.show)
    log.close_bar()
    tiles = data.train_images[places].reshape(len(places), *data.image_size, -1)
    rows = [f"{first + 1} …" for first in range(0, len(places), ASK_COLUMNS)]
    picture = draw_sheet(tiles, ASK_COLUMNS, "Images to label first", "in the order of ask.csv", rows)
    labels = [(names[place], size, "") for place, size in zip(places, sizes, strict=True)]
    with claim_folder(settings.output, f"{to_folder_name(data.name)}-ask", settings.name) as claimed:
        write_csv(claimed / "ask.csv", [HEADER, *labels])
        save(picture, claimed / "ask.png")
        folder = put_in_place(claimed)
    if len(places) < settings.ask:
        print_output(f"only {len(places)} groups of images differ for the network")
    print_output(f"fill in the column class of {folder / 'ask.csv'}: {len(places)} of {len(names):,} images")
    print_output(f"{folder / 'ask.png'} shows them in this order")


def draw(path: Path, settings: EvaluateSettings, network: TrainedNetwork) -> None:
    """Write a page on which images are drawn."""
    network.model.find_decision()
    data, tested = read_test_images(settings, network)
    chosen = choose_map_images(settings, tested.labels)
    if not len(chosen):
        chosen = choose_evenly(len(tested), DRAWN)
    examples = {}
    labelled = split_data(settings, network).get_split("labelled")  # no validation images
    for name, split, per_class in (("rehearsed", labelled, REHEARSED), ("tested", tested, TESTED)):
        some = split[choose_images(split.labels, per_class)]
        examples[name] = some.images, some.labels
    shown = tested.images, tested.labels, chosen
    write_drawing_page(path, network, *shown, examples, data_name=data.name, settings=settings)


# ---------------------------------------------------------------------------------------------------------------------


def load_networks(settings: EvaluateSettings) -> list[TrainedNetwork]:
    """Load the networks of the settings. Raises InputError if one of them is another network."""
    device = prepare_machine(settings)
    networks = [load_network(run, settings.output, device, settings.backend) for run in settings.run]
    for name, network in zip(settings.run, networks, strict=True):
        content = network.checkpoint
        if name == LATEST:
            warn(f"{LATEST} is {content.path}")  # not on stdout, where programs read the answers
        if settings.model is not None and model_class(settings.model).name != content.model:
            raise InputError(f"{content.path} contains {content.model}, not {settings.model}")
    return networks


def read_data(settings: EvaluateSettings, network: TrainedNetwork) -> DataSet:
    """Read the data set of the settings, by default that of the training.

    Raises InputError unless the network reads such images.
    """
    content = network.checkpoint
    trained = network.settings
    dataset = settings.dataset or trained.dataset or content.record.dataset
    if not dataset:
        settings.refuse("dataset", f"is missing: {content.path} does not name its training data")
    size = settings.image_size or trained.image_size
    if settings.dataset:
        data = load_data(replace(settings, image_size=size))
    else:
        ground = settings.ground or trained.ground
        found = replace(trained, dataset=dataset, image_size=size, ground=ground, data_dir=settings.data_dir)
        if settings.ask:  # among all images, whatever the run has learned with labels
            found = replace(found, labels=None, test=False, val_split=0)
        data = load_data_of_run(found, content.record)
    check_equal(content, data, IMAGES[network.encoder.colours], IMAGES[data.colours])
    sizes = [f"images of --image-size {to_text(size)}" for size in (content.picture_size, data.image_size)]
    check_equal(content, data, *sizes)
    return data


def check_equal(content: Checkpoint, data: DataSet, trained: str, tested: str) -> None:
    """Raise InputError unless what a network was trained for, in words, is what a data set has."""
    if trained != tested:
        raise InputError(f"{content.path} was trained for {trained}, but {data.name} has {tested}")


def describe_change(record: RunRecord, data: DataSet) -> Iterator[str]:
    """Yield a line if the data set has the name of the training data, but other images."""
    if record.dataset == data.name and record.fingerprint != data.fingerprint:
        change = f"its fingerprint was {record.fingerprint} and is now {data.fingerprint}"
        yield f"{data.name} is not the same as in the training ({change}), so test images may have been training images"


if __name__ == "__main__":
    sys.exit(main())
