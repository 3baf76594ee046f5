"""Call the functions that users call from Python with arguments that make no sense, and count the outcomes.

    python tests/manual/hostile_python.py [trainer | spyketorch | own] [--verbose]

Each argument of a correct call is replaced in turn by values of another type, shape, device or range. ``trainer`` means
networks, their training and the encoders; ``spyketorch`` its functions and modules; ``own`` users' rules and networks.
The calls run in a child process. If one of them ends the process, a new child continues. A call is *refused* by an
InputError, ValueError, TypeError or IndexError; any other exception is *unclear*. Read the accepted calls, which
--verbose lists.
"""

import argparse
import os
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from engine.rules import RSTDP, STDP, Additive, Rewarded, Rule  # noqa: E402
from engine.stages import Branches, Pool, SpikingConv, SpikingDense, Vote  # noqa: E402
from models import build_model  # noqa: E402
from network_trainer import LatencyDataset, NetworkTrainer, Progress  # noqa: E402
from s1c1 import S1C1  # noqa: E402
from SpykeTorch import functional, snn, utils, visualization  # noqa: E402
from training.encoders import build_encoder, choose_encoder  # noqa: E402

REFUSED = ValueError, TypeError, IndexError
OUTCOMES = "refused", "accepted", "unclear", "crash"

NUMBERS = [-1, 0, 1.5, -0.5, float("nan"), float("inf"), 10**30, "x", None, (), [1, 2, 3], torch.zeros(2), object()]
TEXTS = ["", "x", "s1 ", "../x", None, 3, b"s1", ("s1",), "\0"]


def tensors(good):
    """Replacements of a tensor: other dimensions, sizes, types and devices, and objects that are not tensors."""
    good = torch.as_tensor(good)
    yield from (good[None], good.flatten(), good[:0], good[..., :0], good.transpose(0, -1), good[..., :-1])
    yield from (good.to(dtype) for dtype in (torch.float64, torch.int64, torch.bool, torch.complex64, torch.uint8))
    yield from (good.to("meta"), good.to_sparse(), torch.zeros(()), torch.zeros(3), good.numpy(), good.tolist())
    yield from (None, "x", 3, -1, object(), [], torch.full_like(good.float(), torch.nan))


def vary(function, good, **replacements):
    """Yield (name, call) with each argument of the correct call in turn replaced by others."""
    name = getattr(function, "__qualname__", type(function).__name__)
    yield f"{name} as it is", lambda: function(**good())
    for argument, values in replacements.items():
        values = list(tensors(good()[argument]) if values is tensors else values)
        for value in values:
            yield f"{name} {argument}={describe(value)}", call_with(function, good, argument, value)


def call_with(function, good, argument, value):
    return lambda: function(**{**good(), argument: value})


def describe(value):
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{type(value).__name__} {value.dtype} {tuple(value.shape)} {getattr(value, 'device', '')}"
    return repr(value)[:50]


# ---------------------------------------------------------------------------------------------------------------------
# Networks, their training, encoders


def trainer_cases():
    rng = np.random.default_rng(0)
    latencies = torch.from_numpy(rng.integers(0, 60, (4, 6, 28, 28)).clip(max=15).astype(np.uint8))
    labels = torch.tensor([0, 1, 2, 3])
    kinds = [-1, 10, 2**40, 1.5, float("nan"), True]
    wrong_labels = [labels + 10, labels - 1, labels[:3], labels.float(), labels[:, None], "abcd", None, 3, [0, 1, 2],
                    [0, 1, 2, "x"], [[0], [1], [2], [3]], labels.to("meta"), np.array([0, 1, 2, 10]), object(),
                    torch.full((4,), 2**62), [0, 1, 2, None]]  # fmt: skip

    def data(some=latencies, answers=labels):
        return LatencyDataset(some.clone() if isinstance(some, torch.Tensor) else some, answers)

    def make(**more):
        return build_model("mozafari2018", **more)

    yield from vary(
        make,
        lambda: {},
        in_channels=[*NUMBERS, 10**7],
        num_classes=[*NUMBERS, 10**9],
        seed=NUMBERS,
        device=["gpu", "cuda:99", "meta", "", None, 3, object()],
        dtype=[torch.int32, torch.float16, torch.complex64, None, "float32", torch.bool, float],
        backend=TEXTS,
        time_steps=[*NUMBERS, 255],
        overrides=[{"s9.threshold": 1}, {"s1": 1}, {"": 1}, {1: 2}, [("s1.threshold", 1)], "x", 3,
                   {"s1.threshold": "x"}, {"s1.rule": None}, {"s1.inputs": "input"}, {"s1.kernel": 0},
                   {"s1.first_weights": (1,)}, {"s1.rule.rates": (1, 2, 3)}, {"s1.rule.bounds": (0, 1e20)},
                   {"s1.threshold": 1e300},
                   {"s1.threshold": True}, {"c1.size": 1.5}, {"s1.rule.winners": 10**30}],
        image_size=[(28,), (28, 28, 28), 28, "ab", None, (0, 0), (-1, 28), (1.5, 2), (10**9, 10**9), ("x", "y"), ()],
    )  # fmt: skip
    for name in ("", "x", None, 3, ("mozafari2018",), b"mozafari2018", "mozafari2018 "):
        yield f"build_model {name!r}", lambda name=name: build_model(name)
    model = make()
    for method, good, more in (
        (model.predict, {}, {}),
        (model.forward, {}, {}),
        (lambda **g: list(model.walk(**g)), {}, {}),
        (lambda **g: make().train_unsupervised(**g), {"name": "s1"}, {"name": [*TEXTS, "c1", "s3", "input"]}),
        (lambda **g: make().train_rl(**g), {"labels": labels}, {"labels": wrong_labels, "epoch": NUMBERS}),
        (model.evaluate, {"labels": labels}, {"labels": wrong_labels}),
        (lambda latencies, name: model.map_of(model.check(latencies), name), {"name": "c1"}, {"name": [*TEXTS, "s9"]}),
    ):
        values = [
            *tensors(latencies),
            latencies[:, :5],
            latencies + 16,
            latencies[..., :2, :2],
            latencies.numpy() + 200,
        ]
        yield from vary(method, lambda good=good: {"latencies": latencies, **good}, latencies=values, **more)

    def fit(train, validation=None, epochs=(1, 1, 1), **more):
        make().fit(data(*train), validation and data(*validation), epochs, **more)

    values = [(value, labels) for value in [*tensors(latencies), latencies[:, :5], latencies + 16, latencies[:3]]]
    values += [(latencies, value) for value in wrong_labels]
    yield from vary(
        fit,
        lambda: {"train": (latencies, labels)},
        train=values,
        validation=values,
        epochs=[(1, 1), (1, 1, 1, 1), (1.5, 1, 1), (-1, 1, 1), (), None, 3, "111", ("1", "1", "1"), (None, 1, 1),
                (True, 1, 1), (float("nan"), 1, 1), [[1], [1], [1]], torch.tensor([1.0, 1, 1]), {1, 2, 3}, object()],
        batch_size=NUMBERS,
        seed=NUMBERS,
        patience=NUMBERS,
        progress=[Progress(phase=-1), Progress(epoch="x"), 3, "x", {}, object()],
        copies=[3, "x", object(), [latencies]],
    )  # fmt: skip
    for value in (*kinds, None, "x"):
        yield f"LatencyDataset {value!r}", lambda value=value: make().fit(LatencyDataset(value, value), None, (1, 0, 0))
    image = rng.integers(0, 256, (2, 28, 28)).astype(np.uint8)
    yield from vary(
        S1C1,
        dict,
        filters=[(), 3, None, "x", ((3, 1),), ((4, 1, 2),), ((3, 1, 1),), ((3, -1, 1),), ((3, float("nan"), 1),),
                 ((3, 1, float("inf")),), ((10**9 + 1, 1, 2),), [None], (("x", 1, 2),)],
        threshold=NUMBERS, radius=NUMBERS, time_steps=[*NUMBERS, 256], colours=[*NUMBERS, 2],
    )  # fmt: skip
    yield from vary(S1C1().encode, lambda: {"images": image}, images=[*tensors(image), image[:, :0], image.astype(int)])
    yield from vary(S1C1(), lambda: {"image": image[0]}, image=[*tensors(image[0]), image, "picture.png"])
    configs = [None, 3, "s1c1", [], {"name": "x"}, {"name": 3}, {"name": None}, {"radius": -1}, {"x": 1}, {1: 2},
               {"filters": None}, {"name": ["s1c1"]}, {"time_steps": "15"}, {"colours": 2}]  # fmt: skip
    yield from vary(build_encoder, lambda: {"config": {}}, config=configs)
    yield from vary(
        choose_encoder, lambda: {"network": type(model)}, name=TEXTS, parameters=configs, colours=[2, 0, None, "x"]
    )


# ---------------------------------------------------------------------------------------------------------------------
# SpykeTorch


def spyketorch_cases():
    rng = torch.Generator().manual_seed(0)
    potentials = torch.rand(5, 4, 6, 6, generator=rng).cumsum(0)
    spikes, wave = (potentials > 2).float(), (torch.rand(5, 3, 8, 8, generator=rng).cumsum(0) > 1).float()
    latency = functional.wave_to_latency(wave)
    image = torch.rand(1, 2, 9, 9, generator=rng)
    weight = torch.rand(4, 3, 3, 3, generator=rng)
    winners = [(0, 1, 1), (3, 5, 5)]
    wrong_winners = [[(-1, 0, 0)], [(4, 0, 0)], [(0, -1, 0)], [(0, 0, -1)], [(0, 6, 0)], [(0, 0, 6)], [(10**12, 0, 0)],
                     [(0, 0)], [(0, 0, 0, 0)], [(0.5, 0, 0)], [("x", 0, 0)], [None], 3, "x", [()],
                     torch.zeros(2, 2).long(), torch.full((1, 3), -1), torch.zeros(1, 3),
                     [(float("nan"), 0, 0)], object()]  # fmt: skip
    f = functional
    yield from vary(f.latency_to_wave, lambda: {"latency": latency, "time_steps": 5}, latency=tensors,
                    time_steps=NUMBERS, dtype=[None, "x", 3, float])  # fmt: skip
    yield from vary(f.wave_to_latency, lambda: {"wave": wave}, wave=tensors)
    yield from vary(f.pad, lambda: {"input": wave, "pad": (1, 1, 1, 1)}, input=tensors,
                    pad=[3, None, (1,), (1, 2, 3), (-9, 0, 0, 0), ("x",) * 4, (1.5, 0, 0, 0)],
                    value=["x", None])  # fmt: skip
    sizes = [0, -1, 1.5, 99, None, "x", (2,), (2, 2, 2), (0, 2), 10**30, object()]
    yield from vary(f.pooling, lambda: {"input": wave, "kernel_size": 2}, input=tensors, kernel_size=sizes,
                    stride=sizes, padding=sizes)  # fmt: skip
    for function in (f.threshold, f.threshold_, f.fire, f.fire_):
        yield from vary(
            function,
            lambda: {"potentials": potentials.clone(), "threshold": 1.0},
            potentials=tensors,
            threshold=["x", [], object(), torch.zeros(3), float("nan")],
        )
    yield from vary(
        f.pointwise_inhibition, lambda: {"thresholded_potentials": potentials}, thresholded_potentials=tensors
    )
    for function in (f.feature_inhibition, f.feature_inhibition_):
        yield from vary(
            function,
            lambda: {"potentials": potentials.clone(), "inhibited_features": [0]},
            potentials=tensors,
            inhibited_features=[4, -5, 1.5, [9], torch.tensor([True]), "x", 10**30, [0.5], object()],
        )
    yield from vary(
        f.get_k_winners,
        lambda: {"potentials": potentials, "kwta": 2, "inhibition_radius": 1, "spikes": spikes},
        potentials=tensors,
        spikes=[*tensors(spikes), -spikes, 9 * spikes, 1 - spikes, 0.5 * spikes],
        kwta=NUMBERS,
        inhibition_radius=NUMBERS,
    )

    def ordering(**more):
        return {"input_spikes": wave, "output_spikes": spikes, "winners": winners, "kernel_size": (3, 3), **more}

    yield from vary(f.pre_post_ordering, ordering, input_spikes=tensors, output_spikes=tensors, winners=wrong_winners,
                    kernel_size=sizes)  # fmt: skip
    causal = torch.rand(2, 3, 3, 3, generator=rng) > 0.5
    yield from vary(
        f.stdp_change,
        lambda: {"weight": weight[:2], "causal": causal, "ltp": 0.1, "ltd": -0.1},
        weight=tensors, causal=tensors, ltp=["x", None, torch.zeros(5), object()], lower_bound=["x", None],
    )  # fmt: skip
    kernel = utils.generate_inhibition_kernel([0.1, 0.2])
    yield from vary(f.intensity_lateral_inhibition, lambda: {"intencities": image, "inhibition_kernel": kernel},
                    intencities=tensors, inhibition_kernel=tensors)  # fmt: skip
    yield from vary(f.local_normalization, lambda: {"input": image, "normalization_radius": 1}, input=tensors,
                    normalization_radius=NUMBERS, eps=["x", None])  # fmt: skip
    yield from vary(snn.Convolution, lambda: {"in_channels": 3, "out_channels": 4, "kernel_size": 3},
                    in_channels=NUMBERS, out_channels=NUMBERS, kernel_size=sizes)  # fmt: skip
    layer = snn.Convolution(3, 4, 3)
    yield from vary(layer.forward, lambda: {"input": wave}, input=tensors)
    yield from vary(layer.load_weight, lambda: {"target": weight}, target=tensors)
    yield from vary(snn.Pooling(2).forward, lambda: {"input": wave}, input=tensors)
    yield from vary(
        snn.STDP,
        lambda: {"conv_layer": snn.Convolution(3, 4, 3), "learning_rate": (0.1, -0.1)},
        conv_layer=[None, 3, torch.nn.ReLU()],
        learning_rate=[None, 3, (), (1,), ((1, 2),), [(1, 2)] * 5, "xy", (None, None), [(1,)] * 4],
        lower_bound=[1, 2, "x", None, float("nan")],
    )
    stdp = snn.STDP(layer, (0.1, -0.1))
    yield from vary(
        stdp.forward,
        lambda: {"input_spikes": wave, "potentials": potentials, "output_spikes": spikes, "winners": winners},
        input_spikes=tensors, output_spikes=tensors, winners=wrong_winners, kwta=NUMBERS,
    )  # fmt: skip
    yield from vary(stdp.forward, lambda: {"input_spikes": wave, "potentials": potentials, "output_spikes": spikes},
                    potentials=tensors, kwta=NUMBERS, inhibition_radius=NUMBERS)  # fmt: skip
    yield from vary(stdp.get_pre_post_ordering,
                    lambda: {"input_spikes": wave, "output_spikes": spikes, "winners": winners},
                    winners=wrong_winners)  # fmt: skip
    yield from vary(stdp.update_learning_rate, lambda: {"feature": 0, "ap": 0.1, "an": 0.1},
                    feature=[4, -5, 1.5, "x", None], ap=["x", None, torch.zeros(2)])  # fmt: skip
    yield from vary(utils.Intensity2Latency, lambda: {"number_of_spike_bins": 5}, number_of_spike_bins=NUMBERS)
    yield from vary(utils.Intensity2Latency(5), lambda: {"image": image}, image=tensors)
    inhibit = utils.LateralIntencityInhibition([0.1]).intensity_lateral_inhibition
    yield from vary(inhibit, lambda: {"intencities": image}, intencities=tensors)
    yield from vary(utils.Filter, lambda: {"filter_kernels": [utils.DoGKernel(3, 1, 2)]},
                    filter_kernels=[[], None, 3, [3], [torch.zeros(3)], ["x"]], padding=sizes,
                    thresholds=["x", [1, 2], torch.zeros(3)])  # fmt: skip
    yield from vary(utils.Filter([utils.DoGKernel(3, 1, 2)]), lambda: {"input": image[:, :1]}, input=tensors)
    yield from vary(lambda **g: utils.DoGKernel(**g)(), lambda: {"window_size": 3, "sigma1": 1, "sigma2": 2},
                    window_size=["x", None, 1.5], sigma1=["x", None], sigma2=["x", None])  # fmt: skip
    yield from vary(utils.generate_inhibition_kernel, lambda: {"inhibition_percents": [0.1]},
                    inhibition_percents=[None, 3, "x", [None], [[1]]])  # fmt: skip
    yield from vary(
        visualization.get_deep_feature,
        lambda: {"pre_feature": image[0], "feature_stride": 1, "window_size": 2, "stride": 1,
                 "weights": torch.rand(3, 2, 2, 2)},
        pre_feature=tensors, weights=tensors, feature_stride=sizes, window_size=sizes, stride=["x", (1, 2, 3)],
    )  # fmt: skip
    place = Path(tempfile.gettempdir(), "hostile.png")
    yield from vary(visualization.plot_tensor_in_image, lambda: {"fname": place, "aTensor": image[0]}, aTensor=tensors)


# ---------------------------------------------------------------------------------------------------------------------
# Users' rules and networks


def own_cases():
    rng = np.random.default_rng(0)
    latencies = torch.from_numpy(rng.integers(0, 60, (4, 6, 28, 28)).clip(max=15).astype(np.uint8))
    labels = torch.tensor([0, 1, 2, 3])

    def network(stages, **attributes):
        kind = type("Own", (NetworkTrainer,), {"build": lambda self, classes: stages, "epochs": (1, 1), **attributes})
        return kind(num_classes=10)

    def conv(**more):
        return SpikingConv(8, 5, padding=2, threshold=10, rule=STDP(winners=2, radius=1), **more)

    def decision(rule=None, **more):
        return SpikingConv(20, 28, rule=rule or RSTDP(), **more)

    shared = conv()
    builds = [
        None, [], {}, (), "x", 3, [conv()], {"s1": None}, {"s1": 3}, {"s1": "x"}, {"s1": torch.nn.ReLU()}, {1: conv()},
        {None: conv()}, {"": conv()}, {"s.1": conv()}, {"input": conv()}, {"s1": shared, "s2": shared},
        {"s1": SpikingConv}, {"s1": Pool(2)}, {"c1": Pool(2), "c2": Pool(2)}, {"s1": conv(inputs="x")},
        {"s1": conv(inputs="s1")}, {"s1": conv(inputs=("input", "input2"))}, {"s1": Pool(99), "s2": conv()},
        {"s1": SpikingConv(8, 99, threshold=1, rule=STDP(1, 1))},
        {"s1": conv(), "s2": SpikingConv(7, 28, rule=RSTDP())},
        {"s1": decision(), "s2": conv()}, {"s1": SpikingConv(20, 5)}, {"s1": SpikingConv(20, 5, rule=STDP(1, 1))},
        {"s1": conv(), "s2": SpikingDense(7, rule=RSTDP())}, {"s1": SpikingDense(20)}, {"s1": conv(in_channels=5)},
        lambda: {"s1": Branches(conv()), "s2": Vote(decision())}, lambda: {"s1": Vote(conv())},
        {"training": conv()}, {"fire": conv()},
        {"s1": Branches(shared), "s2": shared}, lambda: {"s1": Branches(shared, shared)}, {"s1": conv, "s2": decision},
        {"s1": conv(), "c1": Pool(2), "s3": object()}, {"s1": conv(), "device": decision()}, iter([("s1", conv())]),
        {"s1 x": conv()}, {"s1": type(conv())}, {"\n": conv()}, {"s1": conv(), "S1": conv()},
    ]  # fmt: skip
    for number, build in enumerate(builds):
        make = build if callable(build) else lambda build=build: build
        yield f"build {number} {str(build)[:60]!r}", lambda make=make: network(make())
    makes = {
        "Pool": (Pool, {"size": NUMBERS}, {"size": 2}),
        "SpikingDense": (SpikingDense, {"out_channels": NUMBERS, "first_weights": NUMBERS, "rule": [3, "x", STDP]},
                         {"out_channels": 10}),
        "SpikingConv": (SpikingConv, {"out_channels": NUMBERS, "kernel": NUMBERS, "padding": NUMBERS,
                        "threshold": [*NUMBERS, 1e7, -1], "first_weights": [*NUMBERS, (1e300, 0), (0, float("nan"))],
                        "rule": [3, "x", STDP, object()], "inputs": [3, (3,), ("a", "a"), None]},
                        {"out_channels": 8, "kernel": 3}),
        "STDP": (STDP, {"winners": NUMBERS, "radius": NUMBERS, "rates": [*NUMBERS, (1, float("nan")), (1e7, 1)],
                 "bounds": [*NUMBERS, (1, 0), (0, 1e20), ("a", "b")], "double_every": NUMBERS, "highest": NUMBERS,
                 "depression": NUMBERS, "stabilize": ["x", 3]}, {"winners": 1, "radius": 1}),
        "RSTDP": (RSTDP, {"reward": NUMBERS, "punishment": NUMBERS, "warm_up": [3, "x", RSTDP()]}, {}),
    }  # fmt: skip

    for kind, arguments, good in makes.values():

        def learn(kind=kind, **given):
            part = kind(**given)
            stage = conv() if isinstance(part, Rule | Pool) else part
            rule = part if isinstance(part, Rule) else None
            stages = {"s1": SpikingConv(8, 5, padding=2, threshold=10, rule=rule) if isinstance(part, STDP) else conv()}
            stages |= {"s2": decision(rule)} if isinstance(part, RSTDP) else {}
            stages |= {"s2": stage} if stage is part else {"c1": part} if isinstance(part, Pool) else {}
            network(stages).train_unsupervised(latencies, "s1")

        learn.__qualname__ = kind.__name__
        yield from vary(learn, lambda good=good: good, **arguments)

    @dataclass(frozen=True)
    class Own(RSTDP):
        name: ClassVar[str] = "own"
        first: object = ((0.1, -0.1), (-0.1, 0.1))
        later: object = None
        left_out: object = None
        made: object = Rewarded(0.0, 1.0)
        result: object = None

        def first_rates(self):
            return self.first

        def schedule(self, rates, numbers, epoch):
            return super().schedule(rates, numbers, epoch) if self.later is None else self.later

        def draw_left_out(self, rng, images, features):
            return self.left_out

        def plasticity(self, number=float):
            return self.made

        def adapt(self, outcome):
            return self.result

    def train_own(backend="event", **fields):
        stages = {"s1": conv(), "s2": decision(Own(**fields))}
        kind = type("OwnNet", (NetworkTrainer,), {"build": lambda self, classes: stages, "epochs": (1, 1)})
        model = kind(num_classes=10, backend=backend)
        for _ in range(2):
            model.train_rl(latencies, labels)
        if not all(conv.weight.isfinite().all() for conv in model.convs()):
            raise AssertionError("weights that are not finite")

    arrays = [None, 3, "x", [], np.zeros(3), np.zeros((3, 3)), np.full((2, 2), np.nan), np.full((2, 2), np.inf),
              np.full((2, 2), 1e30), np.zeros((2, 2), complex), np.zeros((1, 2)), [["a", "b"]], object()]  # fmt: skip
    for backend in ("event", "torch"):
        yield from vary(
            train_own,
            lambda backend=backend: {"backend": backend},
            first=arrays,
            later=[*arrays[1:], np.zeros((3, 2, 2)), np.zeros((4, 1, 2)), np.zeros((4, 2, 3)),
                   np.full((4, 2, 2), np.nan)],
            left_out=[*arrays[1:], np.zeros((3, 20), bool), np.zeros((4, 7), bool)],
            made=[None, 3, "x", (), Additive(0.0, 1.0), (0.0, 1.0), object(), Rewarded],
            result=arrays[1:],
        )  # fmt: skip
        for verdict in VERDICTS:
            yield (
                f"verdict {backend} {verdict.__name__}",
                lambda verdict=verdict, backend=backend: train_own(backend, made=verdict(0.0, 1.0)),
            )


class TooMany(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        return 33


class VeryMany(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        return 10**12


class Negative(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        return -1


class NoSuchFeature(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        learners[0, 0], learners[0, 1] = 10**9, 0
        return 1


class NegativeFeature(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        learners[0, 0], learners[0, 1] = -1, 0
        return 1


class NoSuchRow(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        learners[0, 0], learners[0, 1] = 0, 2
        return 1


class NegativeRow(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        learners[0, 0], learners[0, 1] = 0, -1
        return 1


class Twice(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        learners[:2] = 0
        return 2


class Nothing(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        return 2  # two neurons, and nothing is written


class WithoutResult(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        pass


class Raising(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        raise ValueError("no")


class NotCompiled(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        return int(str(peaks.tolist()))


class NanWindow(Rewarded):
    def window(self, t_in, t_out, ltp, ltd):
        return ltp / (t_in - t_in)


class NanChange(Rewarded):
    def change(self, w):
        return np.nan


VERDICTS = (TooMany, VeryMany, Negative, NoSuchFeature, NegativeFeature, NoSuchRow, NegativeRow, Twice, Nothing,
            WithoutResult, Raising, NotCompiled, NanWindow, NanChange)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Running

CASES = {"trainer": trainer_cases, "spyketorch": spyketorch_cases, "own": own_cases}


def work(group, first, pipe):
    """Run the cases from ``first`` on; send (number, name) before each of them and its outcome after it."""
    os.nice(10)
    torch.set_num_threads(1)
    for number, (name, call) in enumerate(CASES[group]()):
        if number < first:
            continue
        pipe.send((number, name))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
            outcome = "accepted", ""
        except REFUSED as error:
            outcome = "refused", f"{type(error).__name__}: {error}"
        except BaseException as error:
            outcome = "unclear", f"{type(error).__name__}: {error}"
        pipe.send(outcome)
    pipe.send(None)


def run(group):
    """Yield (name, outcome, what was said) of each case."""
    first, name = 0, "the first"
    while first is not None:
        here, there = get_context("fork").Pipe()
        process = get_context("fork").Process(target=work, args=(group, first, there))
        process.start()
        there.close()
        try:
            while (case := here.recv()) is not None:
                first, name = case[0] + 1, case[1]
                yield name, *here.recv()
            first = None
        except EOFError:
            process.join()
            yield name, "crash", f"exit code {process.exitcode}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", default=list(CASES), metavar="GROUP", help=", ".join(CASES))
    parser.add_argument("--verbose", action="store_true", help="list all calls, not only those that fail")
    args = parser.parse_args()
    counts = {}
    for group in args.groups:
        counts[group] = Counter()
        for name, outcome, said in run(group):
            counts[group][outcome] += 1
            if args.verbose or outcome not in ("refused", "accepted"):
                print(f"{group}: {outcome}: {name}: {' '.join(said.split())[:200]}", flush=True)
    print(f"\n| group | tried | {' | '.join(OUTCOMES)} |\n|{'---|' * (len(OUTCOMES) + 2)}")
    for group, found in counts.items():
        print(f"| {group} | {found.total()} | {' | '.join(str(found[kind]) for kind in OUTCOMES)} |")
    sys.exit(any(found["crash"] for found in counts.values()))


if __name__ == "__main__":
    main()
