"""The scores of a network against numbers worked out by hand."""

import json

import numpy as np
import pytest
import torch
from support.command import read_csv

from engine.decision import measure_balanced
from engine.rules import MarginRule
from engine.stages import SpikingDense
from network_trainer import NetworkTrainer
from report.evaluation import Evaluation, compute_roc_curves, evaluate_predictions, measure_decision_time
from report.results import describe_balance

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2])
PREDICTIONS = np.array([0, 0, 1, -1, 1, 0, -1, 1])
SCORES = np.array([[9, 1, 0], [8, 2, 0], [3, 6, 0], [4, 3, 0], [2, 7, 0], [5, 4, 0], [1, 1, 0], [0, 5, 9]])


def test_every_number_by_hand():
    result = evaluate_predictions(LABELS, PREDICTIONS, SCORES)
    assert result["count"] == 8
    assert (result["accuracy"], result["loss"], result["silent"]) == (3 / 8, 3 / 8, 2 / 8)
    assert result["confusion_matrix"] == [[2, 1, 0, 1], [1, 1, 0, 1], [0, 1, 0, 0]]
    per_class = result["per_class"]
    assert per_class["support"] == [4, 3, 1]
    assert per_class["precision"] == pytest.approx([2 / 3, 1 / 3, 0])
    assert per_class["recall"] == pytest.approx([1 / 2, 1 / 3, 0])
    assert per_class["f1"] == pytest.approx([4 / 7, 1 / 3, 0])  # 2·TP / (images of the class + images called so)
    assert result["precision_macro"] == pytest.approx(1 / 3)
    assert result["recall_macro"] == pytest.approx(5 / 18)
    assert result["f1_macro"] == pytest.approx((4 / 7 + 1 / 3) / 3)
    # pairs in order: class 0: {9, 8, 3, 4} over {2, 5, 1, 0}: 4 + 4 + 3 + 3 of 16
    # class 1: {7, 4, 1} over {1, 2, 6, 3, 5}: 5 + 3 + 1/2 (a tie) of 15; class 2: 7 of 7
    assert result["roc_auc_macro"] == pytest.approx((14 / 16 + 8.5 / 15 + 1) / 3)
    assert json.loads(json.dumps(result)) == result


def test_all_silent():
    result = evaluate_predictions(np.array([0, 1]), np.array([-1, -1]), np.zeros((2, 2)))
    assert (result["accuracy"], result["loss"], result["silent"]) == (0, 0, 1)
    assert result["f1_macro"] == result["precision_macro"] == result["recall_macro"] == 0
    assert result["roc_auc_macro"] == 0.5  # constant scores
    assert result["confusion_matrix"] == [[0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize("labels", [[1], [1, 1, 1]])
def test_a_single_class_has_no_roc(labels):
    labels = np.array(labels)
    result = evaluate_predictions(labels, labels, np.ones((len(labels), 3), np.float32))
    assert result["accuracy"] == 1
    assert result["roc_auc_macro"] is None
    assert result["recall_macro"] == pytest.approx(1 / 3)  # the two absent classes count as 0
    json.dumps(result)


def test_roc_leaves_out_absent_classes():
    scores = np.array([[3, 0, 9], [1, 2, 9], [2, 3, 9]])
    labels = np.array([0, 0, 1])
    curves = compute_roc_curves(labels, scores)
    assert curves[2] is None
    # class 0: {3, 1} over {2}: the first positive, the negative, then the second positive
    false_positives, true_positives, area = curves[0]
    assert false_positives.tolist() == [0, 0, 1, 1]
    assert true_positives.tolist() == [0, 0.5, 0.5, 1]
    assert area == 0.5
    assert curves[1][2] == 1
    assert evaluate_predictions(labels, np.array([0, 1, 1]), scores)["roc_auc_macro"] == 0.75


def evaluate_decisions(decisions, labels, classes):
    """The evaluation of a network with these decisions."""
    return Evaluation(torch.as_tensor(decisions), torch.zeros(len(labels), classes), labels)


def test_the_balanced_accuracy_of_unequal_classes():
    """By hand: 5 of 6, 1 of 2 and 0 of 1, in the mean 44.4 %; a class without images does not count."""
    labels = [0] * 6 + [1] * 2 + [2]
    evaluation = evaluate_decisions([0, 0, 0, 0, 0, 1, 1, 0, -1], labels, 4)
    metrics = evaluation.metrics
    balance, missed = describe_balance(metrics, ["many", "some", "rare", "absent"])
    assert '6 images of "many" to 1 images of "rare"' in balance
    assert "44.44 %" in balance
    assert missed.endswith(' of "rare"')
    (text,) = describe_balance(evaluate_decisions(labels, labels, 3).metrics, "abc")
    assert " 100.00 %" in text
    missed = evaluate_decisions([0] * 111 + [1], [0] * 100 + [*range(1, 13)], 13).metrics
    assert [*describe_balance(missed, "abcdefghijklm")][-1].endswith('"j", "k" and 2 more')


@pytest.mark.parametrize("counts", [(15, 15), (2, 1), (5, 1), (7, 2), (1135, 892), (100, 0)])
def test_classes_of_about_the_same_size_are_not_unequal(counts):
    labels = np.repeat([0, 1], counts)
    assert [*describe_balance(evaluate_decisions(labels, labels, 3).metrics, "abc")] == []
    assert measure_balanced(2 * labels, 2 * labels) is None  # no image of class 1


def test_the_roc_auc_of_a_network_compares_images_of_any_number_of_spikes():
    scores = torch.tensor([[3, 1], [30, 10], [1, 3], [10, 30]])  # all correct, from few spikes and from many
    evaluation = Evaluation(scores.argmax(1), scores, [0, 0, 1, 1])
    assert evaluation.metrics["accuracy"] == evaluation.metrics["roc_auc_macro"] == 1
    assert evaluation.metrics["roc_auc_macro_raw"] == 0.75  # class 0: {3, 30} over {1, 10}
    assert "ROC AUC 1.0000" in evaluation.describe()


def test_differences_are_paired_by_image():
    """By hand: of 10 images 3 are gained and 1 is lost: 0.2 ± 1.96 √(4 - 4/10) / 10; p = 2 (4 + 1) / 16."""
    labels = [0] * 10
    before = evaluate_decisions([1, 1, -1, 0, 0, 0, 0, 0, 1, 1], labels, 2)
    after = evaluate_decisions([0, 0, 0, 1, 0, 0, 0, 0, 1, -1], labels, 2)
    expected = {"difference": 0.2, "interval": 0.371884, "p": 0.625, "gained": 3, "lost": 1}
    assert after.compare(before) == pytest.approx(expected, rel=1e-5)
    back = {**expected, "difference": -0.2, "gained": 1, "lost": 3}
    assert before.compare(after) == pytest.approx(back, rel=1e-5)
    assert after.compare(after) == {"difference": 0, "interval": 0, "p": 1, "gained": 0, "lost": 0}


def test_labels_are_no_formulas_of_a_spreadsheet(tmp_path):
    evaluation = evaluate_decisions([-1] * 5, range(5), 5)
    names = ["=1+1", "+1", "-1", "@one", "one"]
    evaluation.write_predictions(tmp_path / "predictions.csv", names, names)
    for column in ("label", "image"):
        written = [row[column] for row in read_csv(tmp_path / "predictions.csv")]
        assert written == ["'=1+1", "'+1", "'-1", "'@one", "one"]


def test_decisions_after_each_time_step_of_the_input():
    """By hand: the class 0 reads a pixel that spikes at 3, the class 1 more strongly one that spikes at 7.

    The decision stage reads only whether they have spiked.
    """

    class Reader(NetworkTrainer):
        def build(self, num_classes):
            return {"s1": SpikingDense(num_classes, rule=MarginRule())}

    model = Reader(in_channels=1, num_classes=2, image_size=(1, 2))
    model.stages["s1"].weight.copy_(torch.tensor([[0.25, 0], [0, 0.5]])[:, :, None, None])
    latencies = torch.tensor([3, 7], dtype=torch.uint8).expand(4, 1, 1, 2)
    measured = measure_decision_time(model, latencies, np.array([1, 1, 1, 0]))
    assert measured == {"accuracy": 3 * [0] + 4 * [0.25] + 8 * [0.75], "silent": 3 * [1] + 12 * [0]}
