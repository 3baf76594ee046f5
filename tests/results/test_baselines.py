"""The classifiers of pixels that learn from few labels."""

import numpy as np
import pytest
from support.draws import draw_pixels

from results.scripts import baselines


def test_classifiers_of_pixels_learn_from_the_labelled_images():
    """Two groups of images, dark and bright. Three images of each have a label."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (200 * labels[:, None, None] + rng.integers(0, 40, (40, 4, 4))).astype(np.uint8)
    chosen = np.arange(4, 10)
    scored = [(images[:30], labels[:30]), (images[30:], labels[30:])]
    few = baselines.FewLabels(images, labels, scored)
    for name in baselines.FEW_LABELS:
        accuracies, _ = few.score(name, chosen)
        assert accuracies == [100, 100], name


@pytest.mark.slow
def test_the_command_measures_each_classifier_from_few_labels(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["baselines", "digits", "--labels", "20", "100", "--seeds", "1"])
    baselines.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(baselines.FEW_LABELS)
    for line, name in zip(lines[1::2], baselines.FEW_LABELS, strict=True):  # 100 labels
        assert line.startswith("digits, seed 1, 100 labels: " + name)
        assert 70 < float(line.split()[-5]) < 100


@pytest.mark.parametrize("folds", [1, 11])
def test_folds_need_labels_of_each_class(folds, capsys):
    assert baselines.main(["digits", "--labels", "100", "--folds", str(folds)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("baselines.py: --folds must be 2 to 10")
    assert err.count("\n") == 1


def test_validation_images_of_the_data_do_not_train(tmp_path, capsys):
    images = draw_pixels(87, 8, 8)
    parts = {f"{name}_{part}": array[chosen] for name, array in (("x", images), ("y", np.arange(87) % 3))
             for part, chosen in (("train", slice(60)), ("val", slice(60, 72)), ("test", slice(72, 87)))}  # fmt: skip
    np.savez(tmp_path / "own.npz", **parts)
    assert baselines.main([str(tmp_path / "own.npz")]) == 0
    assert capsys.readouterr().out.count("60 + 15 images") == 2


def test_folds_of_the_labelled_images_choose_settings():
    """Two groups overlap, so five neighbours are better than one. The held-out images have the wrong labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(1200) % 2
    images = rng.normal(115 + 25 * labels[:, None, None], 30, (1200, 1, 2)).clip(0, 255).astype(np.uint8)
    scored = [(images[600:], 1 - labels[600:]), (images[600:], labels[600:])]
    few = baselines.FewLabels(images[:600], labels[:600], scored)
    chosen = np.arange(400)
    (_, misled), setting = few.score("nearest neighbour", chosen)
    assert setting == "1"
    (_, accuracy), setting = few.score("nearest neighbour", chosen, folds=5)
    assert setting == "5"
    assert accuracy > misled
    (wrong, right), _ = few.score("label spreading", chosen, folds=5)
    assert right > 60 > 40 > wrong
