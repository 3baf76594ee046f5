"""The classifiers of pixels that learn from few labels."""

import numpy as np

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


def test_the_command_measures_each_classifier_from_few_labels(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["baselines", "digits", "--labels", "20", "100", "--seeds", "1"])
    baselines.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(baselines.FEW_LABELS)
    for line, name in zip(lines[1::2], baselines.FEW_LABELS, strict=True):  # 100 labels
        assert line.startswith("digits, seed 1, 100 labels: " + name)
        assert 70 < float(line.split()[-2]) < 100
