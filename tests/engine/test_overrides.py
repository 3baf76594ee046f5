"""Other values for the fields of a declaration: where they apply, what follows from them, and what is refused."""

import math

import pytest
import torch
from support.refusals import refuses

from engine.overrides import fits
from engine.rules import RSTDP, STDP
from models import build_model, network_names


def test_without_changes_a_network_is_as_it_was_declared():
    for name in network_names():
        assert str(build_model(name).stages) == str(build_model(name, overrides={}).stages)


def test_fields_of_stages_and_rules():
    model = build_model(
        "mozafari2018",
        overrides={
            "s2.threshold": 12, "c2.size": 2, "s1.rule.winners": 8, "s1.rule.rates": (0.01, -0.02), "s3.kernel": 1,
            "s3.padding": 0, "s3.rule.stabilize": True,
        },
    )  # fmt: skip
    stages = model.stages
    assert (stages["s2"].threshold, stages["c2"].size, stages["s1"].rule.winners) == (12, 2, 8)
    assert stages["s1"].rates(stages["s1"].rule).tolist() == [0.01, -0.02]
    assert (stages["s3"].kernel, stages["s3"].padding, stages["s3"].rule.stabilize) == (1, 0, True)
    assert stages["s3"].weight.shape == (200, 250, 1, 1)
    plain = build_model("mozafari2018")
    assert stages["s2"].rule == plain.stages["s2"].rule
    assert torch.equal(stages["s1"].weight, plain.stages["s1"].weight)  # the weights of the same seed


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("mozafari2018", {"s1.out_channels": 7, "s2.out_channels": 9}, {"s2": 7, "s3": 9}),
        ("inception2024", {"s3.1.out_channels": 7}, {"s3": 75, "s4": 100 + 7 + 100}),
        ("inception2024", {"s2.out_channels": 7, "s3.out_channels": 9}, {"s3": 7, "s4": 27}),
        ("majority2024", {"s2.out_channels": 7}, {"s3": 7}),
    ],
)
def test_another_number_of_features_changes_the_stages_that_read_them(name, overrides, expected):
    model = build_model(name, overrides=overrides)
    for stage in expected:
        assert all(conv.weight.shape[1] == expected[stage] for conv in model.stages[stage].convs)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"s3.1.threshold": 12}, [50, 12, 50]),
        ({"s3.threshold": 11, "s3.1.threshold": 12}, [11, 12, 11]),
        ({"s3.1.threshold": 12, "s3.threshold": 11}, [11, 11, 11]),
    ],
)
def test_one_branch_or_all_of_them_in_order(overrides, expected):
    model = build_model("inception2024", overrides=overrides)
    assert [conv.threshold for conv in model.stages["s3"].convs] == expected


def test_a_rule_within_a_rule():
    model = build_model("deepr2024", overrides={"s3.rule.warm_up.winners": 3, "s3.rule.winners": 4})
    rule = model.stages["s3"].rule
    assert (rule.winners, rule.warm_up.winners, rule.warm_up.stabilize) == (4, 3, False)
    assert [phase.name for phase in model.phases] == ["s1", "s2", "s3", "s3+s4"]
    without = build_model("deepr2024", overrides={"s3.rule.warm_up": None})
    assert [phase.name for phase in without.phases] == ["s1", "s2", "s3+s4"]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mozafari2018", "s9.threshold", 1),
        ("mozafari2018", "s2", 1),
        ("mozafari2018", "s2.1.threshold", 1),
        ("mozafari2018", "s2.rule", None),
        ("mozafari2018", "s2.in_channels", 3),
        ("mozafari2018", "s2.kernel", 2.5),
        ("mozafari2018", "s2.rule.winners", 0),
        ("mozafari2018", "s2.rule.winners.winners", 1),
        ("inception2024", "s3.3.threshold", 1),
        ("inception2024", "s3.0", 1),
    ],
)
def test_a_field_that_cannot_be_set(name, field, value):
    with refuses(field):
        build_model(name, overrides={field: value})


def test_the_network_checks_the_result():
    for field, value in (("s3.out_channels", 201), ("s2.threshold", math.inf)):
        with refuses():
            build_model("mozafari2018", overrides={field: value})


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, int, True),
        (3.0, int, False),
        (3, float, True),
        (True, float, False),
        (True, bool, True),
        ((0.1, 1), tuple[float, float], True),
        ((0.1,), tuple[float, float], False),
        ((0.1, 1, 2), tuple[float, ...], True),
        (None, STDP | None, True),
        (RSTDP(), STDP | None, False),
    ],
)
def test_types(value, kind, expected):
    assert fits(value, kind) == expected
