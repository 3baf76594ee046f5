"""Networks as NIR graphs: a short evaluator of NIR computes the same spikes and decisions."""

import subprocess
import sys
from graphlib import TopologicalSorter

import numpy as np
import pytest
import torch
from support.command import TRAINED, start_evaluation
from support.kernel_programs import limit_files
from support.refusals import assert_refused, refuses
from support.registries import forgetting
from support.tiers import slow_except
from torch.nn import functional as F

import imagesets
from models import build_model
from models.mozafari2018 import Mozafari2018
from report.exports.nir import write_nir
from SpykeTorch.functional import latency_to_wave
from training.trained import load_network
from utils import ROOT

nir = pytest.importorskip("nir")
CLASSES = tuple("0123456789")


def run_graph(path, latency, fires):
    """Run a graph in float64 on latencies (N, C, H, W): {node: sum of its output over time}.

    fires: whether a potential (v) fires at a threshold; NIR defines v > threshold, some simulators take v >= threshold.
    """
    graph = nir.read(path)
    wave = latency_to_wave(latency, int(graph.metadata["time_steps"]), torch.float64).transpose(0, 1)
    before = {name: [one for one, other in graph.edges if other == name] for name in graph.nodes}
    order, state, sums = [*TopologicalSorter(before).static_order()], {}, {}
    for t, current in enumerate(wave):
        outputs = {"input": current - wave[t - 1] if t else current}
        for name in order[1:]:
            node, output = graph.nodes[name], sum(outputs[other] for other in before[name])
            if isinstance(node, nir.Conv2d):
                weight, bias = (torch.from_numpy(array).double() for array in (node.weight, node.bias))
                output = F.conv2d(output, weight, bias, padding=tuple(np.broadcast_to(node.padding, 2).tolist()))
            elif isinstance(node, nir.Flatten):
                output = output.flatten(1)
            elif isinstance(node, nir.Linear):
                output = output @ torch.from_numpy(node.weight).double().T
            elif isinstance(node, nir.AvgPool2d):
                output = F.avg_pool2d(output, *(tuple(s) for s in (node.kernel_size, node.stride, node.padding)))
            elif isinstance(node, nir.IF):
                r, threshold, reset = map(torch.from_numpy, (node.r, node.v_threshold, node.v_reset))
                v = state.get(name, 0) + float(graph.metadata["dt"]) * r * output
                output = fires(v, threshold).double()
                state[name] = torch.where(output > 0, reset, v)
            outputs[name] = output
        sums = {name: sums.get(name, 0) + output for name, output in outputs.items()}
    return sums


def write(folder, model):
    write_nir(folder / "network.nir", model, CLASSES)
    return folder / "network.nir"


def compare(model, latency, path, fires=torch.gt):
    """Compare the first spikes, and the decisions if there are any, of a graph and its network."""
    sums = run_graph(path, latency, fires)
    for name, map_ in model.walk(latency):
        if name == model.decision:
            peaks = sums["output"].flatten(2).amax(2) if sums["output"].ndim > 2 else sums["output"]
            classes = nir.read(path).metadata["class_of_feature"][peaks.argmax(1).numpy()]
            assert classes.tolist() == model.predict(latency).tolist()
        else:
            labels = [label for label, _ in model.named_layers([name])]
            spikes = [sums[f"{label}_placed"] for label in labels] if len(labels) > 1 else [sums[f"{name}_neurons"]]
            assert torch.equal(sum(spikes), (map_ < model.time_steps).double()), name


@pytest.mark.parametrize("fires", slow_except([torch.gt], [torch.gt, torch.ge]))
def test_a_trained_network_decides_the_same(fires, tmp_path):
    network = load_network(TRAINED)
    path = tmp_path / "network.nir"
    assert start_evaluation(f"{network.checkpoint.path} --nir {path}", tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["network.nir"]
    latency = network.encoder.encode(imagesets.load("mnist").test_images[:3])
    compare(network.model, latency, path, fires)
    metadata = nir.read(path).metadata
    assert [name.decode() for name in metadata["classes"]] == list(network.class_names)
    assert metadata["dt"] == 1e-4


NETWORKS = "kheradpisheh2018", "deepr2024", "inception2024", "multiscale2026"


@pytest.mark.parametrize("name", slow_except(NETWORKS[:1], NETWORKS))
def test_branches_several_maps_and_padded_poolings_spike_the_same(name, latencies, tmp_path):
    model = build_model(name, in_channels=6, dtype=torch.float64)
    compare(model, latencies[:3], write(tmp_path, model))


def test_the_threshold_is_strict_and_in_float32_as_declared(tmp_path):
    model = build_model("mozafari2018", dtype=torch.float64)
    node = nir.read(write(tmp_path, model)).nodes["s1_neurons"]
    assert (node.v_threshold > 15).all()
    assert (node.v_threshold.astype(np.float32) == 15).all()


def test_a_stage_may_be_called_output(tmp_path):
    with forgetting():

        class Named(Mozafari2018, name="named"):
            def build(self, num_classes):
                stages = super().build(num_classes)
                decision = stages.pop("s3")
                return {**stages, "output": decision}

        nodes = nir.read(write(tmp_path, Named(in_channels=6, num_classes=10))).nodes.values()
    assert sum(isinstance(node, nir.Output) for node in nodes) == 1


@pytest.mark.slow
def test_a_full_disk(tmp_path):
    words = [sys.executable, ROOT / "evaluate.py", TRAINED, "--nir", tmp_path / "network.nir", "--threads", "1"]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit_files)
    assert_refused("evaluate.py", done.returncode, done.stdout, done.stderr, tmp_path / "network.nir")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "overrides", "field"),
    [
        ("majority2024", {}, "s3"),  # a vote
        ("multiscale2026", {"s5.levels": (5,)}, "s5"),
        ("mozafari2018", {"c1.rank": 4}, "c1"),
        ("colour2026_counts", {}, "i1"),
        ("inception2024", {"s3.0.kernel": 4}, "s3_5x5"),  # its map is one line smaller than that of 4×4
    ],
)
def test_what_nir_cannot_represent_is_refused(name, overrides, field, tmp_path):
    with refuses(field):
        write(tmp_path, build_model(name, overrides=overrides))
    assert not list(tmp_path.iterdir())
