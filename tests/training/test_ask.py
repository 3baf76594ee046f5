"""The images to label first: which they are, the sheet with their labels, and the run that learns from it."""

from unittest import mock

import numpy as np
import pytest
from PIL import Image
from support.command import FEW_DIGITS, MACHINE, NO_REFERENCES, SMALL, read_csv, results, run_evaluate, run_train
from support.refusals import assert_refuses, read_table, refuses
from support.run_folders import load_last, read_log, same

import evaluate
import train
from imagesets import load
from training.sheet import label_by_sheet, read_sheet

LEARN = f"--model mozafari2018 {MACHINE} {NO_REFERENCES}"
SIZES = [12, 15, 18]  # of three groups of equal images


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A folder with pictures of three groups, a run without labels, a sheet of three of them; and {image: group}."""
    output = tmp_path_factory.mktemp("asked")
    (output / "all").mkdir()
    groups = np.repeat([0, 1, 2], SIZES)
    for number, group in enumerate(groups):
        pixels = np.zeros((28, 28), np.uint8)
        pixels[4:24, 9 * group : 9 * group + 3] = 255
        Image.fromarray(pixels).save(output / "all" / f"{number:02}é.png")
    words = f"{LEARN} --dataset folder:{output / 'all'} --no-test --val-split 0 --epochs 1 1 0 --name look --no-figures"
    run_train(words, output)
    run_evaluate("look --ask 3 --name ask", output)
    return output, {f"{number:02}é.png": group for number, group in enumerate(groups)}


def fill(sheet, groups, target):
    """Fill in a sheet and save it as Excel does."""
    names = ["cat", "dog", "owl"]
    rows = [f'"{row["image"]}";1;{names[groups[row["image"]]]} ' for row in read_csv(sheet)]
    target.write_text("\r\n".join(["image;images alike;class", *rows, ""]), "utf-8-sig")
    return target


def test_one_image_of_each_group_is_named_and_its_label_spreads(asked, tmp_path, undrawn, stop_after):
    output, groups = asked
    rows = read_csv(output / "ask" / "ask.csv")
    named = [(groups[row["image"]], row["images alike"], row["class"]) for row in rows]
    assert named == [(2, "18", ""), (1, "15", ""), (0, "12", "")]
    assert (output / "ask" / "ask.png").is_file()
    assert_refuses(evaluate.main, f"look --ask 3 --name ask --output {output}", "exists")
    sheet = fill(output / "ask" / "ask.csv", groups, tmp_path / "sheet.csv")
    words = f"{LEARN} --dataset folder:{output / 'all'} --init-from {output / 'look'} --labels {sheet} --spread"
    words += " --epochs 0 0 2 --batch-size 20"
    stop_after(1)
    run = run_train(words, tmp_path, 130)
    text = sheet.read_text()
    sheet.write_text(text.replace("owl", "bat"))
    assert_refuses(train.main, f"--resume {run}", "sheet.csv has changed")
    sheet.unlink()
    stop_after(None)
    run_train(f"--resume {run}", tmp_path)
    spread = read_csv(run / "spread.csv")
    named = ["cat", "dog", "owl"]
    assert {row["image"]: row["class"] for row in spread} == {image: named[group] for image, group in groups.items()}
    assert [row["label"] for row in spread] == ["given"] * 3 + ["spread"] * 42
    assert results(run)["scores"].startswith("nothing is tested")
    assert "no image is held out" in read_log(run)
    assert_refuses(evaluate.main, f"{run} --output {tmp_path}", "has no test images")
    sheet.write_text(text)
    assert same(load_last(run_train(words, tmp_path)).state, load_last(run).state)


def test_no_more_images_are_named_than_differ(asked, tmp_path, monkeypatch, capsys):
    """The rows of the picture have the numbers of their first images."""
    output, _ = asked
    draw = mock.Mock(wraps=evaluate.draw_sheet)
    monkeypatch.setattr(evaluate, "draw_sheet", draw)
    monkeypatch.setattr(evaluate, "ASK_COLUMNS", 2)
    for count, word in ((45, "45 of 45 images have a spike"), (-1, "--ask"), ("3 --raw", "effect beside --ask")):
        assert_refuses(evaluate.main, f"look --ask {count} --output {output}", word)
    few = run_evaluate(f"{output / 'look'} --ask 20", tmp_path)
    assert "only 3 groups" in capsys.readouterr().out
    assert len(read_csv(few / "ask.csv")) == 3
    assert draw.call_args.args[-1] == ["1 …", "3 …"]


SHEETS = r"""
columns image and class | image,kind\na,1
twice                   | image,class\na,1\na,2
two ways: 'Cat' and 'cat' | image,class\na,Cat\nb,cat\nc,dog
two classes             | image,class\na,cat\nb,
no class                | image,class\na,\nb,
UTF-8                   | image,class\n\xe9,1
"""


def test_sheets_that_cannot_be_used_are_refused(tmp_path):
    path = tmp_path / "ask.csv"
    for word, text in [*read_table(SHEETS), ("columns", "")]:
        path.write_bytes(text.encode().decode("unicode_escape").encode("latin-1"))
        with refuses(word):
            read_sheet(str(path))


def test_a_sheet_of_arrays_keeps_the_test_part_if_it_has_their_classes(tmp_path):
    data = load(str(FEW_DIGITS))
    names = [f"{data.fingerprint}:{index}" for index in (7, 3, 5)]
    sheet = dict(zip(names, ("4", "0", ""), strict=True))
    labelled = label_by_sheet(data, sheet, "ask.csv")
    assert labelled.train_labels.tolist() == [0, 4]
    assert labelled.class_names == data.class_names
    assert np.array_equal(labelled.train_images[:2], data.train_images[[3, 7]])
    assert (labelled.unlabelled, len(labelled.test_part[1])) == (148, 40)
    assert labelled.name_images("train", np.arange(3)) == [3, 7, 0]
    again = label_by_sheet(data, dict(reversed(sheet.items())), "ask.csv")
    assert again.fingerprint == labelled.fingerprint
    others = label_by_sheet(data, {names[0]: "round", names[1]: "straight"}, "ask.csv")
    assert (others.class_names, len(others.test_part[1])) == (("round", "straight"), 0)
    with refuses("no training image"):
        label_by_sheet(data, {"0123456789abcdef:1": "4"}, "ask.csv")


def test_a_decision_stage_that_learned_from_spread_labels_is_not_copied_without_a_word(tmp_path, undrawn, capsys):
    words = f"{SMALL} --val-split 0 --labels 20 --no-figures"
    run = run_train(f"{words} --spread --epochs 0 0 1", tmp_path)
    run_train(f"{words} --epochs 0 0 0 --init-from {run}", tmp_path)
    assert "which is copied, has learned from labels that were spread" in capsys.readouterr().out
