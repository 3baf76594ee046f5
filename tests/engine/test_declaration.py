"""Other values for the fields of a declaration: where they apply, what follows from them, and what is refused."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from support.own_rules import RecentSTDP
from support.refusals import refuses

from engine.declaration import to_plain
from engine.rules import RSTDP, MarginRule
from engine.stages import SpikingDense, read_stages
from models import build_model


@dataclass(frozen=True, kw_only=True)
class Unset(RSTDP):
    """A rule with a field that has no default."""

    name: ClassVar[str] = "unset"

    pace: int


@dataclass(frozen=True)
class Listing(MarginRule):
    name: ClassVar[str] = "listing"

    values: Any = ()


def test_a_value_that_no_file_can_contain_is_refused():
    for values in (np.ones((2, 2)), {1}, (1, np.ones(2)), {"a": 1}, 1j, b"a"):
        with refuses("values"):
            Listing(values=values)
    assert Listing(values=[1, ("a", None, [np.float32(2)], RSTDP())]).values == (1, ("a", None, (2,), RSTDP()))


def test_fields_of_stages_and_rules():
    model = build_model(
        "mozafari2018",
        overrides={
            "s2.threshold": 12, "c2.size": 2, "s1.rule.winners": 8, "s1.rule.rates": (0.01, -0.02), "s3.kernel": 1,
            "s3.padding": 0, "s3.rule.stabilize": True,
        },
    )  # fmt: skip
    stages = model.declaration
    assert (stages["s2"].threshold, stages["c2"].size, stages["s1"].rule.winners) == (12, 2, 8)
    assert model.stages["s1"].rates(stages["s1"].rule).tolist() == [0.01, -0.02]
    assert (stages["s3"].kernel, stages["s3"].padding, stages["s3"].rule.stabilize) == (1, 0, True)
    assert model.stages["s3"].weight.shape == (200, 250, 1, 1)
    plain = build_model("mozafari2018")
    assert stages["s2"].rule == plain.declaration["s2"].rule
    assert torch.equal(model.stages["s1"].weight, plain.stages["s1"].weight)  # the weights of the same seed


@pytest.mark.parametrize(
    ("name", "overrides", "expected"), [
        ("mozafari2018", {"s1.out_channels": 7, "s2.out_channels": 9}, {"s2": 7, "s3": 9}),
        ("inception2024", {"s3.1.out_channels": 7}, {"s3": 75, "s4": 100 + 7 + 100}),
        ("inception2024", {"s2.out_channels": 7, "s3.out_channels": 9}, {"s3": 7, "s4": 27}),
        ("majority2024", {"s2.out_channels": 7}, {"s3": 7}),
        ("multiscale2026", {"s1.out_channels": 7}, {"s2": 7, "s3": 7, "s5": 7 * 14**2 + 2 * 250 * 4**2 + 300 * 9**2}),
    ],
)  # fmt: skip
def test_another_number_of_features_changes_the_stages_that_read_them(name, overrides, expected):
    model = build_model(name, overrides=overrides)
    for stage in expected:
        assert all(layer.weight.shape[1] == expected[stage] for layer in model.stages[stage].layers)


@pytest.mark.parametrize(
    ("overrides", "expected"), [
        ({"s3.1.threshold": 12}, [50, 12, 50]), ({"s3.threshold": 11, "s3.1.threshold": 12}, [11, 12, 11]),
        ({"s3.1.threshold": 12, "s3.threshold": 11}, [11, 11, 11]),
    ],
)  # fmt: skip
def test_one_branch_or_all_of_them_in_order(overrides, expected):
    model = build_model("inception2024", overrides=overrides)
    assert [conv.threshold for conv in model.declaration["s3"].convs] == expected


def test_a_rule_within_a_rule():
    model = build_model("deepr2024", overrides={"s3.rule.warm_up.winners": 3, "s3.rule.winners": 4})
    rule = model.declaration["s3"].rule
    assert (rule.winners, rule.warm_up.winners, rule.warm_up.stabilize) == (4, 3, False)
    assert [phase.name for phase in model.phases] == ["s1", "s2", "s3", "s3+s4"]
    without = build_model("deepr2024", overrides={"s3.rule.warm_up": None})
    assert [phase.name for phase in without.phases] == ["s1", "s2", "s3+s4"]


def test_a_rule_by_its_name():
    """It comes before its fields; a field has the rule's default or, without a default, the replaced rule's value."""
    model = build_model("mozafari2018", overrides={"s1.rule.span": 2, "s1.rule": "recently", "s1.rule.radius": 1})
    plain = build_model("mozafari2018").declaration["s1"].rule
    assert model.declaration["s1"].rule == RecentSTDP(plain.winners, 1, span=2)
    other = build_model("mozafari2018", overrides={"s3.rule.bounds": (0.1, 0.9), "s3.rule": "margin"})
    assert other.declaration["s3"].rule == MarginRule(bounds=(0.1, 0.9))
    branched = build_model("inception2024", overrides={"s3.rule": "recently", "s3.1.rule.span": 5})
    assert [conv.rule.span for conv in branched.declaration["s3"].convs] == [3, 5, 3]
    for network in (model, other, branched):
        record = json.dumps({name: to_plain(stage) for name, stage in network.declaration.items()})
        stages = read_stages(json.loads(record))
        assert stages == network.declaration
        assert build_model(network.name, overrides=stages).declaration == network.declaration


def test_the_rule_of_a_stage_by_its_own_name_stays_as_it_is():
    model = build_model("deepr2024", overrides={"s3.rule": "rstdp", "s3.rule.warm_up": "stdp"})
    assert model.declaration == build_model("deepr2024").declaration


def test_a_rule_without_a_value_for_a_field():
    """The field has no default, and the replaced rule has no such field."""
    with refuses("s3.rule"):
        build_model("mozafari2018", overrides={"s3.rule": "unset"})
    model = build_model("mozafari2018", overrides={"s3.rule": "unset", "s3.rule.pace": 3})
    assert model.declaration["s3"].rule == Unset(pace=3)
    with refuses("s3.rule.pace"):
        build_model("mozafari2018", overrides={"s3.rule": "unset", "s3.rule.pace": "x"})


def test_a_list_becomes_a_tuple():
    assert SpikingDense(2, levels=[2, 5]) == SpikingDense(2, levels=(2, 5))
