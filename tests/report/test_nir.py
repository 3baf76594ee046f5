"""Networks as NIR graphs: a short evaluator of NIR computes the same spikes and decisions."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.command import start_evaluation
from support.kernel_programs import limit_files
from support.refusals import assert_refused, assert_refuses, refuses
from support.run_folders import ROOT
from torch.nn import functional as F

import datasets
import evaluate
from models import build_model
from report.nir import write_nir
from SpykeTorch.functional import latency_to_wave
from training.checkpoint import load_network

nir = pytest.importorskip("nir")
CLASSES = tuple("0123456789")
TRAINED = ROOT / "results" / "checkpoints" / "mozafari2018.safetensors"


def run_graph(path, latency, fires):
    """Run a graph in float64 on latencies (N, C, H, W): {node: sum of its output over time}.

    fires: whether a potential (v) fires at a threshold; NIR defines v > threshold, some simulators take v >= threshold.
    """
    graph = nir.read(path)
    wave = latency_to_wave(latency, int(graph.metadata["time_steps"]), torch.float64).transpose(0, 1)
    follows, state, sums = dict(graph.edges), {}, {}
    for t, current in enumerate(wave):
        name, output = "input", current - wave[t - 1] if t else current
        while name != "output":
            sums[name] = sums.get(name, 0) + output
            name = follows[name]
            node = graph.nodes[name]
            if isinstance(node, nir.Conv2d):
                weight, bias = (torch.from_numpy(array).double() for array in (node.weight, node.bias))
                output = F.conv2d(output, weight, bias, padding=tuple(node.padding))
            elif isinstance(node, nir.AvgPool2d):
                output = F.avg_pool2d(output, tuple(node.kernel_size), tuple(node.stride))
            elif isinstance(node, nir.IF):
                r, threshold, reset = map(torch.from_numpy, (node.r, node.v_threshold, node.v_reset))
                v = state.get(name, 0) + float(graph.metadata["dt"]) * r * output
                output = fires(v, threshold).double()
                state[name] = torch.where(output > 0, reset, v)
    return sums


@pytest.mark.parametrize("fires", [torch.gt, torch.ge])
def test_a_trained_network_decides_the_same(fires, tmp_path):
    network = load_network(TRAINED)
    assert start_evaluation(f"{network.checkpoint.path} --nir {tmp_path / 'network.nir'}", tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["network.nir"]
    latency = network.encoder.encode(datasets.load("mnist").test_images[:20])
    sums = run_graph(tmp_path / "network.nir", latency, fires)
    for name, map_ in network.model.walk(latency):
        if name != network.model.decision:
            spikes = sums[f"{name}_neurons"]
            assert torch.equal(spikes, (map_ < network.model.time_steps).double()), name
    graph = nir.read(tmp_path / "network.nir")
    features = sums[network.model.decision].amax((2, 3)).argmax(1)
    classes = graph.metadata["class_of_feature"][features.numpy()]
    assert classes.tolist() == network.model.predict(latency).tolist()
    assert [name.decode() for name in graph.metadata["classes"]] == list(network.class_names)


def test_the_threshold_is_strict_and_in_float32_as_declared(tmp_path):
    model = build_model("mozafari2018", dtype=torch.float64)
    write_nir(tmp_path / "network.nir", model, CLASSES)
    node = nir.read(tmp_path / "network.nir").nodes["s1_neurons"]
    assert (node.v_threshold > 15).all()
    assert (node.v_threshold.astype(np.float32) == 15).all()


def test_a_full_disk(tmp_path):
    words = [sys.executable, ROOT / "evaluate.py", TRAINED, "--nir", tmp_path / "network.nir", "--threads", "1"]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit_files)
    assert_refused("evaluate.py", done.returncode, done.stdout, done.stderr, tmp_path / "network.nir")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "stage"), [("inception2024", "s3"), ("majority2024", "s3"), ("multiscale2026", "s3")])
def test_what_nir_cannot_represent_is_refused(name, stage, tmp_path):
    model = build_model(name)
    with refuses(stage) as caught:
        write_nir(tmp_path / "network.nir", model, CLASSES)
    assert all(read in str(caught.value) for read in model.stages[stage].inputs)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", ["--noise gaussian=0.1", "--scores", "--tensorboard", "--predict a.png"])
def test_flags_that_have_no_effect_beside_it_are_refused(more, tmp_path, capsys):
    words = f"{TRAINED} --nir {tmp_path / 'a.nir'} {more}"
    about = "--nir" if "--predict" in more else more.split()[0]
    assert_refuses(evaluate.main, words, about, capsys)
    assert not list(tmp_path.iterdir())
