"""Checkpoints of an earlier version of the code: the networks decide as they did, and the runs end with the same bits.

``golden/checkpoints.json`` is of the same runs without an interruption. See golden/README.md.
"""

import json

import numpy as np
import pytest
from support.golden_checkpoints import EXPECTED, GOLDEN, NETWORKS, declared, describe_run, evaluate, train

from training.checkpoint import load_checkpoint, rebuild_network

pytestmark = [pytest.mark.other_torch, pytest.mark.other_numba]


@pytest.fixture(autouse=True)
def networks():
    with declared():
        yield


@pytest.fixture
def expected():
    return json.loads(EXPECTED.read_text())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_best_network_decides_as_it_did(name, backend, expected):
    """Every spike and every decision. Scores are sums of up to 300 weights, or quotients of such sums."""
    expected = expected[name]["evaluation"]
    found = evaluate(rebuild_network(load_checkpoint(GOLDEN / f"{name}-best.safetensors"), backend=backend))
    assert found["maps"] == expected["maps"]
    assert found["decisions"] == expected["decisions"]
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=600 * np.finfo(float).eps)


@pytest.mark.parametrize("rule", ["stdp", "rstdp"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_interrupted_run_ends_with_the_same_bits(name, rule, expected):
    """It was interrupted within an epoch of an STDP phase or of the R-STDP phase."""
    checkpoint = load_checkpoint(GOLDEN / f"{name}-last-{rule}.safetensors")
    model, progress = rebuild_network(checkpoint), checkpoint.progress
    assert progress.batch > 0
    assert model.phases[progress.phase].main_rule.name == rule
    for _ in train(model, progress):
        pass
    assert describe_run(model, progress) == expected[name]["outcome"]


@pytest.mark.slow
def test_both_backends_continue_with_the_same_batch():
    def continue_with(backend):
        checkpoint = load_checkpoint(GOLDEN / "rewarded-last-rstdp.safetensors")
        model = rebuild_network(checkpoint, backend=backend)
        steps = train(model, checkpoint.progress)
        step = next(step for step in steps if step.kind == "batch")
        steps.close()
        return step.learned.outcome, describe_run(model, checkpoint.progress)

    assert continue_with("torch") == continue_with("event")
