"""Other values for the fields of a declaration, and how far they reach."""

import math

import pytest
import torch

from engine.overrides import described, fits
from engine.rules import RSTDP, STDP
from errors import InputError
from models import build_model, network_names


def test_without_changes_a_network_is_as_it_was_declared():
    for name in network_names():
        plain, same = build_model(name), build_model(name, overrides={})
        assert str(plain.stages) == str(same.stages)


def test_fields_of_stages_and_rules():
    model = build_model(
        "mozafari2018",
        overrides={
            "s2.threshold": 12, "c2.size": 2, "s1.rule.winners": 8, "s1.rule.rates": (0.01, -0.02), "s3.kernel": 3,
            "s3.padding": 0, "s3.rule.stabilize": True,
        },
    )  # fmt: skip
    stages = model.stages
    assert (stages["s2"].threshold, stages["c2"].size, stages["s1"].rule.winners) == (12, 2, 8)
    assert stages["s1"].rates(stages["s1"].rule).tolist() == [0.01, -0.02]
    assert (stages["s3"].kernel, stages["s3"].padding, stages["s3"].rule.stabilize) == (3, 0, True)
    assert stages["s3"].weight.shape == (200, 250, 3, 3)
    plain = build_model("mozafari2018")
    assert stages["s2"].rule == plain.stages["s2"].rule
    assert torch.equal(stages["s1"].weight, plain.stages["s1"].weight)  # the seed's


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("mozafari2018", {"s1.out_channels": 7}, {"s2": 7, "s3": 250}),
        ("mozafari2018", {"s1.out_channels": 7, "s2.out_channels": 9}, {"s2": 7, "s3": 9}),
        ("inception2024", {"s3.1.out_channels": 7}, {"s3": 75, "s4": 100 + 7 + 100}),
        ("inception2024", {"s2.out_channels": 7, "s3.out_channels": 9}, {"s3": 7, "s4": 27}),
        ("majority2024", {"s2.out_channels": 7}, {"s3": 7}),
    ],
)
def test_another_number_of_features_reaches_the_stages_that_read_them(name, overrides, expected):
    model = build_model(name, overrides=overrides)
    assert {stage: model.stages[stage].in_channels for stage in expected} == expected
    for stage in expected:
        assert all(conv.weight.shape[1] == expected[stage] for conv in model.stages[stage].convs)


def test_one_branch_or_all_of_them_in_order():
    def thresholds(overrides):
        return [conv.threshold for conv in build_model("inception2024", overrides=overrides).stages["s3"].convs]

    assert thresholds({"s3.1.threshold": 12}) == [50, 12, 50]
    assert thresholds({"s3.threshold": 11, "s3.1.threshold": 12}) == [11, 12, 11]
    assert thresholds({"s3.1.threshold": 12, "s3.threshold": 11}) == [11, 11, 11]


def test_a_rule_within_a_rule():
    model = build_model("deepr2024", overrides={"s3.rule.warm_up.winners": 3, "s3.rule.winners": 4})
    rule = model.stages["s3"].rule
    assert (rule.winners, rule.warm_up.winners, rule.warm_up.stabilize) == (4, 3, False)
    assert [phase.name for phase in model.phases] == ["s1", "s2", "s3", "s3+s4"]
    without = build_model("deepr2024", overrides={"s3.rule.warm_up": None})
    assert [phase.name for phase in without.phases] == ["s1", "s2", "s3+s4"]


def test_the_network_checks_what_comes_of_it():
    with pytest.raises(InputError, match="s3 has 201 features, which 10 classes cannot share"):
        build_model("mozafari2018", overrides={"s3.out_channels": 201})
    with pytest.raises(InputError, match="s2 has no threshold, so it must be the last stage"):
        build_model("mozafari2018", overrides={"s2.threshold": math.inf})
    with pytest.raises(InputError, match=r"s3.3.threshold: s3 has branches s3.0 to s3.2"):
        build_model("inception2024", overrides={"s3.3.threshold": 1})


@pytest.mark.parametrize(
    ("value", "kind", "expected", "words"),
    [
        (3, int, True, "a whole number"),
        (3.0, int, False, "a whole number"),
        (3, float, True, "a number"),
        (True, float, False, "a number"),
        (True, bool, True, "true or false"),
        ((0.1, 1), tuple[float, float], True, "2 values, a number each"),
        ((0.1,), tuple[float, float], False, "2 values, a number each"),
        ((0.1, 1, 2), tuple[float, ...], True, "tuple[float, ...]"),
        (None, STDP | None, True, "STDP or none"),
        (RSTDP(), STDP | None, False, "STDP or none"),
    ],
)
def test_types(value, kind, expected, words):
    assert fits(value, kind) == expected
    assert described(kind) == words
