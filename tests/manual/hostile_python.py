"""Call the public Python interface with odd values, with odd rules and with odd recordings, and count the outcomes.

    python tests/manual/hostile_python.py --calls 2000 --rules 200 --recordings 100 --seed 0

* calls: valid arguments, one or two of which are replaced by another type, a number out of range, or an array of
  another shape or type.
* rules: plugins whose methods return odd values, raise errors, or do not have the right arguments.
* recordings: folders of damaged and random files of events.

A call may work, or raise ValueError (InputError), TypeError or IndexError. A plugin or a folder may be trained on, or
refused in one line with exit code 2. Everything else is bad, is printed, and makes the exit code 1.
"""

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from hostile_commands import LIMIT, Counts, HangError, judge, ring  # noqa: E402

import datasets  # noqa: E402
import train  # noqa: E402
from encoders import build_encoder  # noqa: E402
from engine.rules import RSTDP, STDP, MarginRule  # noqa: E402
from engine.stages import Pool, SpikingConv, SpikingDense  # noqa: E402
from errors import InputError  # noqa: E402
from models import MODELS  # noqa: E402
from SpykeTorch import functional, snn, utils  # noqa: E402

VALUES = (None, -1, 0, 1, 3, 300, -(10**30), 1.5, float("nan"), float("inf"), True, "", "x", b"x", [], {}, (1, 2, 3))
VALUES += (np.zeros(0), np.zeros((2, 3)), torch.zeros(3), torch.full((2, 2), float("nan")), object(), lambda: 1, [[1]])


def list_calls():
    """Return {name: (function, valid arguments)}."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 28, 28), dtype=np.uint8)
    labels = np.array([0, 1, 2, 3])
    latencies = build_encoder({}).encode(images)
    wave = functional.latency_to_wave(latencies[0], 15)
    potentials = torch.rand(15, 4, 8, 8)
    fired = functional.fire(potentials, 0.5)
    conv = snn.Convolution(6, 4, 5)
    calls = {
        "STDP": (STDP, {"winners": 2, "radius": 1, "target": 0.5, "positions": 0.5}),
        "RSTDP": (RSTDP, {"reward": (0.004, -0.003), "bounds": (0.2, 0.8), "warm_up": STDP(2, 1)}),
        "MarginRule": (MarginRule, {"margin": 0.1, "decay": 0.9, "left_out": 0.2}),
        "Pool": (Pool, {"size": 2, "padding": 0, "inputs": "s1"}),
        "SpikingConv": (
            SpikingConv,
            {"out_channels": 4, "kernel": 3, "padding": 1, "threshold": 5, "rule": STDP(2, 1)},
        ),
        "SpikingDense": (SpikingDense, {"out_channels": 4, "rule": MarginRule(), "levels": (3, 6), "inputs": ("c1",)}),
        "latency_to_wave": (functional.latency_to_wave, {"latency": latencies[0], "time_steps": 15}),
        "wave_to_latency": (functional.wave_to_latency, {"wave": wave}),
        "pad": (functional.pad, {"input": wave, "pad": (1, 1, 1, 1), "value": 0}),
        "pooling": (functional.pooling, {"input": wave, "kernel_size": 2, "stride": 2, "padding": 0}),
        "fire": (functional.fire, {"potentials": potentials, "threshold": 0.5}),
        "threshold": (functional.threshold, {"potentials": potentials, "threshold": 0.5}),
        "pointwise_inhibition": (functional.pointwise_inhibition, {"thresholded_potentials": potentials}),
        "get_k_winners": (functional.get_k_winners, {"potentials": potentials, "kwta": 2, "inhibition_radius": 1}),
        "local_normalization": (functional.local_normalization, {"input": potentials, "normalization_radius": 2}),
        "Convolution": (snn.Convolution, {"in_channels": 6, "out_channels": 4, "kernel_size": 5}),
        "Convolution()": (conv, {"input": wave}),
        "Pooling": (snn.Pooling, {"kernel_size": 2, "stride": 2, "padding": 0}),
        "snn.STDP": (snn.STDP, {"conv_layer": conv, "learning_rate": (0.004, -0.003)}),
        "pre_post_ordering": (
            functional.pre_post_ordering,
            {"input_spikes": wave, "output_spikes": fired, "winners": [(0, 1, 1)], "kernel_size": (5, 5)},
        ),
        "DoGKernel": (utils.DoGKernel, {"window_size": 5, "sigma1": 1.0, "sigma2": 2.0}),
        "GaborKernel": (utils.GaborKernel, {"window_size": 5, "orientation": 45.0}),
        "Intensity2Latency": (utils.Intensity2Latency(15), {"image": torch.rand(2, 8, 8)}),
        "datasets.load": (datasets.load, {"name": "digits"}),
    }
    for name in ("s1c1", "s1c1_grey", "whitening", "intensity"):
        encoder = build_encoder({"name": name})
        encoder.fit(images)
        calls[f"{name} encode"] = encoder.encode, {"images": images}
        if encoder.fitted:
            load_state = build_encoder({"name": name}).load_state
            calls[f"{name} load_state"] = (
                (lambda load_state=load_state, **state: load_state(state)),
                dict(encoder.state),
            )
        calls[f"{name} config"] = (
            (lambda name=name, **fields: build_encoder({"name": name, **fields})),
            encoder.config(),
        )
    fields = {"s1.threshold": 10, "s3.rule.reward": (0.01, -0.01)}
    network = {"in_channels": 6, "num_classes": 10, "time_steps": 15, "overrides": fields, "image_size": (28, 28)}
    model = MODELS["mozafari2018"](**network)
    calls["predict"] = model.predict, {"latencies": latencies}
    calls["evaluate"] = model.evaluate, {"latencies": latencies, "labels": labels}
    calls["train_unsupervised"] = model.train_unsupervised, {"latencies": latencies, "name": "s1"}
    calls["train_rl"] = model.train_rl, {"latencies": latencies, "labels": labels, "epoch": 0}
    calls["decide"] = model.decide, {"maps": {"input": latencies}}
    calls["stage.fire"] = model.stages["s1"].fire, {"latency": latencies, "pool": 2}
    calls["network"] = MODELS["mozafari2018"], network
    return calls


def distort(value, rng):
    """Return an array of another shape, type or content."""
    tensor = torch.as_tensor(value)
    changes = (
        lambda: tensor[:0],
        lambda: tensor[..., :1],
        lambda: tensor[None],
        lambda: tensor.flatten(),
        lambda: tensor.double() / 3,
        lambda: tensor.to(torch.complex64),
        lambda: tensor.bool(),
        lambda: tensor.to(torch.int64) - 300,
        lambda: torch.full_like(tensor, 255 if tensor.dtype == torch.uint8 else 7),
        lambda: tensor.float() * float("nan"),
        lambda: tensor.transpose(0, -1),
        lambda: tensor.tolist(),
        lambda: tensor.numpy().astype(object),
        lambda: tensor.to_sparse(),
    )
    return rng.choice(changes)()


def call_with_odd_values(calls, rng, what):
    """Call a function, and write to ``what`` how."""
    name = rng.choice(list(calls))
    function, valid = calls[name]
    arguments = dict(valid)
    for key in rng.sample(list(valid), min(len(valid), rng.choice((1, 1, 2)))):
        is_array = isinstance(valid[key], np.ndarray | torch.Tensor)
        arguments[key] = distort(valid[key], rng) if is_array and rng.random() < 0.6 else rng.choice(VALUES)
    changed = {key: str(value)[:60] for key, value in arguments.items() if value is not valid[key]}
    what += [name, changed]
    function(**arguments)


WINDOW = "(t_in <= t_out) * ltp + (t_in > t_out) * ltd"
RETURNED = ("None", "1 / 0", "float('nan')", "'x'", "[1]", "ltp", "t_in", "1e400", "undefined", "10**30", "True", "-5")
RETURNED += ("np.zeros(3)", "self.missing", "ltp if t_in < t_out else ltd", "float('inf') * ltp", "print(t_in)", "w")
RULE = """from dataclasses import dataclass
from typing import ClassVar, NamedTuple
import numpy as np
from engine.rules import STDP, RSTDP, Additive, Rule

class Odd{base}:
    {parameters}
    def window(self, t_in, t_out, ltp, ltd{more}):
        return {window}
    def change(self, w):
        return {change}

@dataclass(frozen=True)
class OddRule(STDP):
    name: ClassVar[str] = "odd"
    title: ClassVar[str] = "odd"
    strength: {type} = {default}
    def plasticity(self, number=float):
        return {plasticity}
"""


def write_rule(path, rng):
    """Write a plugin with a rule of which one to three parts are odd, and return its flags."""
    fields = {
        "base": "(NamedTuple)",
        "parameters": "lower: float\n    upper: float",
        "more": "",
        "window": WINDOW,
        "change": "(w - self.lower) * (self.upper - w)",
        "type": "float",
        "default": "1.0",
        "plasticity": "Odd(*map(number, self.bounds))",
    }
    odd = {
        "base": ["(Additive)", "", "(tuple)", "(int)"],
        "parameters": ["pass", "upper: float", "lower: str\n    upper: float", "lower = 1"],
        "more": [", more", ", *more", "=0"],
        "window": RETURNED,
        "change": RETURNED,
        "type": ["str", "list", "int", "undefined"],
        "default": ["[]", "None", "'x'", "1 / 0"],
        "plasticity": ["None", "Odd(0)", "Odd(1, 0)", "Odd(number('x'), 1)", "(0, 1)", "Odd", "self", "1 / 0"],
    }
    for key in rng.sample(list(odd), rng.choice((1, 1, 2, 3))):
        fields[key] = rng.choice(odd[key])
    path.write_text(RULE.format(**fields))
    backend = "event" if rng.random() < 0.1 else "torch"  # the event backend compiles each rule
    words = ["--plugin", str(path), "--set", "s1.rule=odd", "--backend", backend, "--dataset", "digits", "--dry-run"]
    return [*words, "--model", "mozafari2018"]


ODD = "drop", "type", "shape", "negative", "huge", "bytes", "empty", "nan", "cut"


def write_recordings(folder, rng):
    """Write a folder of recordings, some of them odd, and return the flags that train on it."""
    numbers = np.random.default_rng(rng.randrange(10**6))
    size = rng.choice((8, 34, 34, 34, 300))
    for label in range(rng.choice((1, 2, 2, 3))):
        for index in range(rng.choice((0, 8, 20, 20))):
            path = folder / f"class{label}" / f"{index}"
            path.parent.mkdir(parents=True, exist_ok=True)
            count = rng.choice((50, 500)) if rng.random() < 0.95 else rng.choice((0, 1))
            events = {key: numbers.integers(0, top, count) for key, top in (("x", size), ("y", size), ("p", 2))}
            events["t"] = np.sort(numbers.integers(0, 10**5, count))
            odd = rng.choice(ODD) if rng.random() < 0.08 else ""
            key = rng.choice(list(events))
            if odd == "drop":
                del events[key]
            elif odd == "type":
                events[key] = events[key].astype(rng.choice(["U5", "complex64", "float16", "bool", "S3"]))
            elif odd == "shape":
                events[key] = events[key].reshape(1, -1)
            elif odd == "negative":
                events[key] = events[key] - 40
            elif odd == "huge":
                events[key] = events[key].astype(np.uint64) + np.uint64(2**63)
            elif odd == "nan":
                events[key] = events[key] * np.nan
            if odd in ("bytes", "empty"):
                length = 0 if odd == "empty" else rng.choice((1, 5, 4000, 5000))
                path.with_suffix(".bin").write_bytes(numbers.bytes(length))
            else:
                np.savez(path.with_suffix(".npz"), **events)
                if odd == "cut":
                    content = path.with_suffix(".npz").read_bytes()
                    path.with_suffix(".npz").write_bytes(content[: len(content) // 2])
    folder.mkdir(exist_ok=True)
    words = ["--dataset", f"events:{folder}", "--model", "mozafari2018", "--dry-run"]
    return words + rng.choice(([], [], ["--image-size", "34", "34"], ["--val-split", "0.5"], ["--ratio", "0.5"]))


def judge_call(function, *arguments):
    """Return the outcome of a call, and what was said."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        function(*arguments)
    except HangError:
        return "hang", ""
    except InputError as error:
        return ("several lines" if "\n" in str(error) else "refused"), str(error)
    except (ValueError, TypeError, IndexError) as error:
        return "refused", str(error)
    except Exception as error:
        return "traceback", repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "accepted", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("calls", "rules", "recordings"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    signal.signal(signal.SIGALRM, ring)
    counts = Counts()
    calls = list_calls()
    for _ in range(args.calls):
        what = []
        outcome, said = judge_call(call_with_odd_values, calls, rng, what)
        counts.add("calls", outcome, map(str, what), said)
    for name, write in {"rules": write_rule, "recordings": write_recordings}.items():
        for number in range(getattr(args, name)):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"odd_{number}.py" if name == "rules" else "recordings")
                words = write(path, rng)
                output = Path(folder, "runs")
                flags = ["--no-figures", "--readout", "none", "--output", str(output)]
                empty = path if name == "rules" else output  # a plugin may fail while it learns, and leave its run
                outcome, said = judge(train, [*words, *flags], empty)
                content = path.read_text() if path.is_file() else ""
                counts.add(name, outcome, [*words, content], said)
    counts.print()
    sys.exit(bool(counts.failed()))


if __name__ == "__main__":
    main()
