"""Networks on a pretended device, whose tensors refuse what those of a GPU refuse: all results are those of the CPU."""

from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest
import torch
from support.command import DIGITS, run_train
from support.golden_traces import GOLDEN
from support.layers import make_layer
from support.pretended_device import DEVICE, pretend, syncs
from support.refusals import refuses
from support.run_folders import load_last, same

from engine.rules import STDP
from models import build_model, network_names
from network_trainer import LatencyDataset, Progress
from report.activation_maps import save_activation_maps
from report.operations import count_operations
from SpykeTorch import functional as sf
from training import plan
from training.checkpoint import collect_checkpoint, load_checkpoint, rebuild_network, save_checkpoint
from training.trained import FrozenStages

LATENCIES = torch.from_numpy(GOLDEN["encoding"][:6])
LABELS = GOLDEN["label"][:6]


def use(name, device, folder):
    """Train a network, and call what reads one; return its results and its weights, on the CPU."""
    model = build_model(name, in_channels=6, device=device, backend="torch", dtype=torch.float64)
    results = []
    for phase in model.phases:
        if not phase.needs_labels:
            model.train_unsupervised(LATENCIES[:2], phase.stages[0])
    if model.decision:
        results.append(model.train_rl(LATENCIES[:2], LABELS[:2]))
        results.append(model.evaluate(LATENCIES, LABELS))
        results.append(model.decide(LATENCIES[:2])[1].cpu())
    progress = Progress()
    data = LatencyDataset(LATENCIES[:4], LABELS[:4])
    steps = model.steps(data, data, (1,) * len(model.phases), batch_size=2, progress=progress)
    for step in steps:
        if step.phase is model.phases[-1] and step.kind == "batch":
            break  # the second batch is left for the CPU
    results.append({stage: latency.cpu() for stage, latency in model.walk(LATENCIES[:1])})
    first = next(iter(model.declaration))
    results.append(FrozenStages(model, first, None)(LATENCIES[:1]))
    results.append(count_operations(model, LATENCIES[:2]))
    save_activation_maps(model, LATENCIES[:1], LABELS[:1], [0], folder, [*"0123456789"], draw=False)
    results += [value for value in np.load(next(folder.glob("*.npz"))).values()]
    save_checkpoint(collect_checkpoint(folder / "it.safetensors", model, model.encoder, progress=progress))
    return results, {key: value.cpu() for key, value in model.state_dict().items()}


def finish(folder):
    """Finish the training on the CPU; return the weights."""
    checkpoint = load_checkpoint(folder / "it.safetensors")
    model = rebuild_network(checkpoint, "cpu", "torch")
    data = LatencyDataset(LATENCIES[:4], LABELS[:4])
    model.fit(data, data, (1,) * len(model.phases), batch_size=2, progress=checkpoint.progress)
    return model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("name", network_names())
def test_each_network_works_as_on_the_cpu(name, tmp_path):
    """In float64, in which rounding decides nothing. What the device has trained is continued on the CPU."""
    ends = []
    for device in ("cpu", DEVICE):
        folder = tmp_path / device
        folder.mkdir()
        with nullcontext() if device == "cpu" else pretend():
            results, state = use(name, device, folder)
        ends.append((results, state, finish(folder)))
    (results, *states), (others, *other_states) = ends
    torch.testing.assert_close(others, results, rtol=1e-9, atol=1e-12)
    assert all(map(same, states, other_states))


@pytest.mark.slow
def test_a_run_trains_tests_and_continues_on_the_cpu(tmp_path, undrawn, monkeypatch, stop_after, capsys):
    """The command, stopped in its third phase on the device, and resumed without one."""
    monkeypatch.setattr(sf, "conv2d", sf.multiply_windows)  # float32: the sums are added in one order
    words = f"--model mozafari2018 {DIGITS} --ratio 0.04 --batch-size 10 --epochs 1 1 1 --backend torch --save-maps 1"
    words += " --set s1.out_channels=6 s2.out_channels=20"
    states = []
    for device in ("cpu", DEVICE):
        output = tmp_path / device
        stop_after(None if device == "cpu" else 14)
        chosen = mock.patch.object(plan, "choose_device", lambda *_, device=device: torch.device(device))
        with chosen, nullcontext() if device == "cpu" else pretend():
            run = run_train(words, output, 0 if device == "cpu" else 130)
        if device == DEVICE:
            stop_after(None)
            run_train(f"--resume {run} --device cpu --backend torch", output)
        assert (f"on {DEVICE};" in capsys.readouterr().out) == (device == DEVICE)
        states.append(load_last(run).state)
    assert same(*states)


def test_an_image_is_learned_with_few_synchronisations():
    """Per image at most 6; more only once for the batch."""
    rule = STDP(winners=8, radius=1)
    weight = torch.rand((20, 6, 5, 5), generator=torch.Generator().manual_seed(0))
    counts = []
    with pretend():
        layer = make_layer("torch", weight, 15, 2, 3, rule).to(DEVICE)
        for images in (1, 6):
            latencies = LATENCIES[:images].to(DEVICE)
            syncs.clear()
            winners = layer.learn_features(latencies, rule)
            assert (winners[..., 0] >= 0).sum() > 4 * images
            counts.append(sum(syncs.values()))
    assert counts[1] - counts[0] <= 5 * 6


def test_a_network_whose_backend_cannot_follow_does_not_move():
    with pretend():
        model = build_model("mozafari2018")
        with refuses("event"):
            model.to(DEVICE)
        assert {value.device.type for value in model.state_dict().values()} == {"cpu"}
        assert len(model.predict(LATENCIES[:1])) == 1
        layer = build_model("mozafari2018", device=DEVICE, backend="torch").stages["s1"]
        with refuses("latencies"):
            layer.fire(LATENCIES[:1])
        with refuses("event"):
            model.stages["c1"].fire(torch.zeros(1, 30, 4, 4, dtype=torch.uint8, device=DEVICE))
    with refuses("mps"):
        build_model("mozafari2018", device="mps")
