"""What the Python interface refuses: expressions, and a word that the line must contain."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from support.refusals import assert_each_refused

import encoders
import imagesets
import s1c1
from encoders import gabor, intensity, whitening
from engine import layers, packed, rules, stages
from engine.rules import RSTDP, STDP
from engine.stages import SpikingConv
from imagesets import DataSet, augmentation, load, splits
from models import MODELS, build_model
from network_trainer import LatencyDataset, NetworkTrainer
from training.plan import read_augmentation
from training.trained import save_network

RULE = STDP(winners=1, radius=0)
IMAGES = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
LATENCIES = torch.zeros(2, 3, 6, 6, dtype=torch.uint8)
S1 = torch.zeros(2, 8, 4, 4, dtype=torch.uint8)  # the map of the first stage of ``small``
POOL = layers.Operation(stages.Pool(2, rank=2), 3, 15)
INHIBITION = layers.Operation(stages.Inhibit(0.5), 3, 15)


def network(*, image_size=None, time_steps=15, **stages):
    """Return a network of 4 classes with these stages."""

    class Declared(NetworkTrainer):
        def build(self, num_classes):
            return stages

    return Declared(in_channels=3, num_classes=4, image_size=image_size, time_steps=time_steps)


def declare(**parts):
    return type("Own", (NetworkTrainer,), parts)


def declare_encoder(**parts):
    return type("Own", (encoders.Encoder,), parts)


def annotated(base):
    """Return a class whose author has forgotten @dataclass."""
    return type("Own", (base,), {"__annotations__": {"light": int}, "light": 200})


def untyped(base, **values):
    """Return a class whose author has set fields of its base without their types."""
    return type("Own", (base,), values)


def first():
    return SpikingConv(8, 3, threshold=5, rule=RULE)


def firing(rule=RSTDP(winners=2, bounds=(0.0, 1.0))):  # noqa: B008
    return SpikingConv(8, 3, threshold=5, rule=rule)


def deciding(kernel=3, **of_rule):
    return SpikingConv(8, kernel, rule=RSTDP(**of_rule))


def small():
    return network(s1=first(), s2=deciding())


def wrong(method, result):
    """Declare a network one of whose methods returns this."""
    return type("Wrong", (MODELS["mozafari2018"],), {method: lambda *_: result})()


def one(rule, channels=3):
    """Return a layer, which decides unless its rule is RULE."""
    threshold = 5 if rule is RULE else math.inf
    return layers.Layer(SpikingConv(8, 3, threshold=threshold, rule=rule), channels)


def own(**attributes):
    """Return a rule with labels of one's own."""
    return type("Own", (RSTDP,), {"name": f"own {len(rules.RULES)}", **attributes})()


def pack(latencies, part=slice(0, 2), time_steps=15, repeat=1):
    """Write a slice of two packed images."""
    packed_maps = packed.PackedLatencies(2, (latencies.shape[1], 6, 6), time_steps)
    for _ in range(repeat):
        packed_maps[part] = latencies
    return packed_maps


def learn_with(weight):
    """Replace the weights of the stage that decides, and learn."""
    model = small()
    model.stages["s2"].weight.data = weight
    model.train_rl(LATENCIES, [0, 1])


def fire_above(threshold, weight=0.8):
    """Replace the threshold and the weights of a layer, and compute its first spikes."""
    layer = one(RULE)
    layer.threshold = threshold
    layer.weight.fill_(weight)
    layer.fire(LATENCIES)


def learn_decisions(backend="event", **attributes):
    """Replace attributes of a layer whose first spike decides, and let it learn."""
    layer = layers.Layer(firing(), 3, backend=backend)
    for name, value in attributes.items():
        setattr(layer, name, value)
    learn(layer)


def learn(layer):
    layer.learn_decisions(LATENCIES, [0, 1], range(8), None)


def learn_together(time_steps):
    """Let two layers learn, the upper one of other time steps."""
    upper = layers.Layer(deciding(), 8, time_steps)
    layers.Layer(firing(), 3).learn_together(upper, LATENCIES, [0, 1], 1, range(8))


def share(*strides):
    """Return weights with numbers that share memory."""
    return torch.nn.Parameter(torch.rand(1000).as_strided((8, 3, 3, 3), strides), requires_grad=False)


def mozafari(**arguments):
    return build_model("mozafari2018", **arguments)


MOZAFARI = mozafari()


def changed(field, value, name="mozafari2018"):
    return build_model(name, overrides={field: value})


def fit(epochs=(1, 1), latencies=LATENCIES, labels=(0, 1), labelled=None, validation=None, model=None, **more):
    train = LatencyDataset(latencies, np.array(labels), labelled)
    return (model or small()).fit(train, validation, epochs, **more)


NETWORKS = """
s2             | network(s1=first(), s2=SpikingConv(8, 3, rule=RULE)) | network(s1=first(), s2=SpikingConv(8, 3))
s2             | network(s1=first(), s2=deciding(), c2=Pool(2)) | network(s1=first(), s2=firing(), c2=Pool(2))
s2             | network(s1=first(), s2=firing(), s3=firing(None), s4=deciding())
s2             | network(s1=first(), s2=torch.nn.ReLU())
s2             | network(s1=first(), s2=firing(), c2=Pool(2), d2=Pool(2), s3=deciding())
s2             | network(s1=first(), s2=firing(), c2=Pool(2, padding=1), s3=deciding())
s2             | network(s1=first(), s2=firing(), i2=Inhibit(0.5), s3=deciding())
s2             | network(s1=first(), s2=firing(), s3=Vote(deciding(), deciding(5)))
s1             | network(s1=SpikingConv(9, 3, rule=RSTDP()))
s2.rule.winner | network(s1=first(), s2=deciding(winners=3)) | network(s1=first(), s2=Vote(deciding(winners=3)))
s2.rule.radius | network(s1=first(), s2=deciding(radius=1))
rewards        | Branches(firing())
rule           | Branches(firing(RULE), firing(None))
MarginRule()   | SpikingConv(8, 3, rule=Margin()) | SpikingConv(8, 3, rule=Margin)
threshold      | Branches(deciding()) | Vote(firing(RSTDP()))
out_channels   | Vote(deciding(), SpikingConv(4, 3, rule=RSTDP())) | changed('s3.2.out_channels', 100, 'majority2024')
out_channels   | SpikingConv(0, 3)
kernel         | SpikingConv(8, 2.5)
padding        | SpikingConv(8, 3, padding=3) | Pool(2, padding=2) | Pool(2, padding=-1) | Pool(2, padding=0.5)
threshold      | SpikingDense(8, threshold=-1) | SpikingDense(8, threshold=1e7)
threshold      | SpikingConv(8, 3, threshold=-1) | SpikingConv(8, 3, threshold=nan) | SpikingConv(8, 3, threshold=1e7)
first_weights  | SpikingConv(8, 3, first_weights=(1e300, 0))
size           | Pool(0)
rank           | Pool(2, rank=5) | Pool(2, padding=1, rank=2) | Pool(2, rank=0)
share          | Inhibit(0) | Inhibit(1.5)
Branches       | Branches() | Branches(SpikingDense(6))
inputs         | SpikingDense(6, inputs=("p", "p")) | Branches(SpikingConv(6, 5, inputs="p"), SpikingConv(6, 3))
inputs must be | Pool(2, inputs=3) | Pool(2, inputs=None) | SpikingConv(8, 3, inputs=("p", 1))
levels         | SpikingDense(2, levels=(0,)) | SpikingDense(2, levels=(5, 2)) | SpikingDense(2, levels=(2, 2))
levels         | SpikingDense(2, levels=(1.5,)) | SpikingDense(2, levels=("a",))
s2.levels      | network(s1=first(), s2=SpikingDense(8, rule=MarginRule(), levels=(5,)), image_size=(6, 6), **five)
s2             | network(s1=first(), s2=SpikingConv(8, 3, rule=RSTDP(), inputs="z"))
s3             | network(s1=first(), s2=first(), s3=deciding(), s4=firing())
c2             | network(s1=first(), c1=Pool(2, inputs="c2"), c2=Pool(2), s2=deciding())
s2             | network(s1=first(), c1=Pool(2), s2=SpikingConv(8, 3, rule=RSTDP(), inputs=("s1", "c1")))
s2             | network(s1=first(), s2=SpikingDense(7, rule=MarginRule()), image_size=(6, 6))
s1, S1         | network(s1=first(), S1=deciding())
s1 has a threshold | network(s1=SpikingConv(4, 1, threshold=1, rule=MarginRule()))
s1 decides     | network(s1=firing(RSTDP(warm_up=RULE)))
3 features     | network(s1=SpikingConv(3, 1, threshold=1, rule=RSTDP()))
s1 learns      | network(s1=firing(RSTDP()), s2=firing(RSTDP()))
dropout        | network(s1=firing(RSTDP()), s2=deciding(dropout=0.5))
s1 learns from rewards | network(s1=firing(RSTDP()), c1=Pool(1), s2=firing(None))
stage          | network() | network(c1=Pool(2)) | network(training=firing(), s2=deciding())
stage          | network(_modules=firing(), s2=deciding())
input          | network(input=deciding())
decision       | network(s1=first(), decision=deciding())
steps          | network(steps=first(), s2=deciding())
potentials     | network(potentials=first(), s2=deciding())
race           | network(race=first(), s2=deciding()) | network(race_3x3=first(), s2=deciding())
index          | network(s1=first(), index=deciding())
s 1            | network(**{"s 1": firing(), "s2": deciding()})
at most 100    | network(**{101 * "s": firing(), "s2": deciding()})
build          | wrong("build", None) | wrong("build", 3)
time_steps     | mozafari(time_steps=255) | mozafari(time_steps=np.array([15, 15]))
in_channels    | mozafari(in_channels=-1) | mozafari(in_channels=0) | mozafari(in_channels=1.5)
in_channels    | mozafari(in_channels="6")
seed           | mozafari(seed=None) | mozafari(seed=-1) | mozafari(seed=1.5) | mozafari(seed="a") | mozafari(seed=True)
--model        | build_model("mozafari")
kernel         | mozafari(image_size=(28, 28), overrides={"s2.kernel": 301})
overrides      | mozafari(overrides={"s2.kernel": 3}, saved=MOZAFARI.declaration)
s3            | changed("s3.out_channels", 201)
"""
FIELDS = """
s9.threshold         | changed("s9.threshold", 1)
s2                   | changed("s2", 1)
s2.1.threshold       | changed("s2.1.threshold", 1)
s2.width             | changed("s2.width", 2)
s2.rule.width        | changed("s2.rule.width", 2)
c1                   | changed("c1.size", 0) | changed("c1.rule", None) | changed("c1.rule.winners", 3)
s1.rule.stabilize    | changed("s1.rule.stabilize", 1)
s3.rule              | changed("s3.rule", "stdp")
s3.rule.winners      | changed("s3.rule.winners", 3)
s4.rule.winners      | changed("s4.rule.winners", 3, "deepr2024")
c1.rule              | changed("c1.rule", "stdp")
s2.in_channels       | changed("s2.in_channels", 3)
s2.kernel            | changed("s2.kernel", 2.5) | changed("s2.kernel", True)
s2.rule.winners      | changed("s2.rule.winners", 0) | changed("s2.rule.winners", 3.0)
s2.rule.winners.x    | changed("s2.rule.winners.x", 1)
s3.3.threshold       | changed("s3.3.threshold", 1, "inception2024")
s3.0                 | changed("s3.0", 1, "inception2024")
s2                   | changed("s2.threshold", inf)
s2.threshold         | changed("s2.threshold", True)
s2.rule              | changed("s2.rule", "nonsense") | changed("s2.rule", "margin")
s3.rule.reward       | changed("s3.rule.reward", (0.1,)) | changed("s3.rule.reward", (0.1, 1, 2))
s3.rule.warm_up      | changed("s3.rule.warm_up", RSTDP(), "deepr2024")
"""
RULES = """
winners          | STDP(winners=0, radius=0)
radius           | STDP(winners=1, radius=2**63) | STDP(winners=1, radius=-1)
bounds           | STDP(1, 0, bounds=(1.0, 0.0)) | STDP(1, 0, bounds=(0.5, 0.5)) | STDP(1, 0, bounds=(0, 1e20))
rates            | STDP(1, 0, rates=(0.1,))
highest          | STDP(1, 0, highest=1e7)
double_every     | STDP(1, 0, double_every=10**30) | STDP(1, 0, double_every=-1)
reward           | RSTDP(reward=(nan, 0.0))
left_out         | MarginRule(left_out=1.0)
margin           | MarginRule(margin=-0.1)
verdict          | one(own(plasticity=lambda self, number=float: RULE.plasticity()))
verdict          | learn(one(own(phase=int, plasticity=lambda self, number=float: RULE.plasticity())))
2 rows           | learn(layers.Layer(firing(own(phase=int, rows=("",), first_rates=lambda self: (0.1, -0.1))), 3))
stdp             | type("Other", (STDP,), {"name": "stdp", "__annotations__": {}})
"""
CALLS = """
latenc     | small().predict(LATENCIES.float()) | small().predict(LATENCIES.long()) | small().predict(LATENCIES[0])
latenc     | small().predict(LATENCIES[None]) | small().predict(LATENCIES[:, :2]) | small().predict(LATENCIES + 16)
latenc     | list(small().walk(LATENCIES[:, :2])) | small().train_unsupervised(LATENCIES + 16, "s1")
latenc     | small().train_rl(LATENCIES.float() * nan, [0, 1])
labels     | small().train_rl(LATENCIES, [-1, 0]) | small().train_rl(LATENCIES, [0, 4])
labels     | small().train_rl(LATENCIES, [0])
labels     | small().train_rl(LATENCIES, [0, 2**62]) | small().train_rl(LATENCIES, [0.0, 1.0])
labels     | small().train_rl(LATENCIES, [0.0, nan]) | small().train_rl(LATENCIES, [0j, 1j])
labels     | small().train_rl(LATENCIES, [True, False])
labels     | one(RSTDP()).learn_decisions(LATENCIES, [0], range(8), None)
labels     | one(RSTDP()).learn_decisions(LATENCIES, [0.0, 1.0], range(8), None)
classes    | one(RSTDP()).learn_decisions(LATENCIES, [0, 1], range(7), None)
classes    | one(RSTDP()).learn_decisions(LATENCIES, [0, 1], np.zeros(8), None)
latenc     | pack(LATENCIES[..., 1:]) | pack(LATENCIES.long()) | pack(LATENCIES + 16) | pack(LATENCIES[:1])
latenc     | pack(LATENCIES[:1], slice(1, 2)) | pack(LATENCIES[:1], slice(0, 2, 2)) | pack(pack(LATENCIES)[:], repeat=2)
latenc     | POOL.fire(LATENCIES.long()) | POOL.fire(LATENCIES[0]) | POOL.fire(LATENCIES[:, 1:])
latenc     | Operation(Pool(2), 3, 15).fire(LATENCIES.long()) | POOL.fire(LATENCIES.numpy().astype(np.int8))
latenc     | INHIBITION.fire(LATENCIES.long()) | INHIBITION.fire(LATENCIES[:, 1:])
latenc     | small().predict(None) | small().predict({"s1": S1.long()}) | small().predict({"s1": S1 + 16})
latenc     | small().predict({"s1": LATENCIES}) | small().predict(pack(LATENCIES, time_steps=9))
latenc     | small().predict(pack(LATENCIES[:, :2]))
map 's9'   | small().map_of(LATENCIES, "s9") | list(small().walk(LATENCIES, ["s9"])) | small().predict({"s9": S1})
images     | small().map_of({"input": LATENCIES[:1], "s1": S1}, "s2")
latenc     | POOL.fire(LATENCIES + 16) | INHIBITION.fire(LATENCIES + 16) | one(RSTDP()).peaks(LATENCIES + 16)
latenc     | one(RULE).fire(LATENCIES + 16) | one(RSTDP()).fire(LATENCIES + 16)
latenc     | one(RULE).learn_features(LATENCIES + 16, RULE)
threshold  | fire_above(-0.1) | fire_above(nan) | fire_above(1e7)
weight     | fire_above(1.0, nan) | fire_above(1.0, -inf) | learn_with(torch.full((8, 8, 3, 3), nan))
pooling    | POOL.fire(LATENCIES[..., :1]) | one(RULE).fire(LATENCIES, 9)
backend    | mozafari(backend="evnet") | Layer(SpikingConv(8, 3), 3, backend=None)
dtype      | mozafari(dtype=torch.float16) | Layer(SpikingConv(8, 3), 3, dtype=torch.int32)
time_steps | learn_decisions(time_steps=-1) | learn_decisions(time_steps=0) | learn_decisions(time_steps=255)
time_steps | learn_decisions(time_steps=1000) | learn_decisions("torch", time_steps=1000) | learn_together(14)
time_steps | Layer(SpikingConv(8, 3), 3, 300) | Operation(Pool(2), 3, 255) | pack(LATENCIES, time_steps=300)
STDP       | one(RSTDP()).learn_features(LATENCIES, RULE)
RSTDP      | one(RSTDP()).learn_features(LATENCIES, RSTDP()) | one(None).learn_features(LATENCIES, RSTDP())
threshold  | one(RULE).learn_decisions(LATENCIES, [0, 1], range(8), None)
threshold  | one(None).learn_decisions(LATENCIES, [0, 1], range(8), None)
threshold  | one(RULE).learn_together(one(RSTDP(), 8), LATENCIES, [0, 1], 1, range(8))
threshold  | one(RSTDP()).learn_together(one(RSTDP(), 8), LATENCIES, [0, 1], 1, range(8))
weight     | learn_with(torch.zeros(8, 8, 3, 2)) | learn_with(torch.zeros(8, 3, 3, 3))
weight     | learn_with(torch.zeros(8, 8, 3, 3).half())
weight     | learn_with(torch.rand(1, 8, 3, 3).expand(8, -1, -1, -1)) | learn_with(torch.tensor(0.5).expand(8, 8, 3, 3))
weight     | learn_decisions(weight=share(27, 9, 3, 0)) | learn_decisions("torch", weight=share(26, 9, 3, 1))
s2         | small().train_unsupervised(LATENCIES, "s2")
c1         | mozafari().train_unsupervised(LATENCIES, "c1")
--epochs   | fit((1,)) | fit((1, 1, 1))
epochs     | fit((1, -1)) | fit((1.5, 1)) | fit((1, None)) | fit((1, "a"))
batch_size | fit(batch_size=0) | fit(batch_size=-1) | fit(batch_size=1.5) | fit(batch_size=None) | fit(batch_size=True)
seed       | fit(seed=None) | fit(seed=-1) | fit(seed=1.5) | fit(seed="a")
labels     | fit(latencies=LATENCIES[:1])
latenc     | fit(latencies=LATENCIES + 100) | fit(latencies=LATENCIES[:, 0]) | fit(latencies=LATENCIES.numpy() + 16)
labels     | fit(labels=(0, 4)) | fit(labels=(0,)) | fit(labels=5) | fit(labels=None)
training   | fit(latencies=LATENCIES[:0], labels=range(0))
validation | fit(validation=LatencyDataset(LATENCIES[:0], np.arange(0)))
indices of labelled images | fit(labelled=[]) | fit(labelled=[0, 0]) | fit(labelled=[-1]) | fit(labelled=[2])
indices of labelled images | fit(labelled=[0.5]) | fit(labelled=[[1]]) | fit(labelled="ab") | fit(labelled=5)
indices of labelled images | fit(labelled=True) | fit(labelled=torch.tensor(1)) | fit(labelled=[[1], [1, 0]])
1, 3, 6, 6 | fit(labelled=[0], copies=[LATENCIES[:1], LATENCIES[[0, 1, 1]]]) | fit(labelled=[0], copies=[LATENCIES[:0]])
1, 3, 6, 6 | fit(labelled=[0], copies=[LATENCIES[:1, :, :5, :5]])
uint8      | fit(copies=[LATENCIES, LATENCIES.float()])
15         | fit(copies=[LATENCIES, LATENCIES + 16]) | fit(copies=[torch.cat([LATENCIES[:1], LATENCIES[:1] + 16])])
spike times | fit((1,), copies=[LATENCIES], model=network(s1=firing(), s2=deciding()))
"""
ENCODERS = """
encoder=nonsense   | choose_encoder(S1C1(), "nonsense")
encoder.threshold  | choose_encoder(S1C1(), None, {"encoder.threshold": "high"})
radius             | S1C1(radius=inf) | S1C1(radius=-1) | S1C1(radius=1.5) | S1C1(radius=10**9)
time_steps         | S1C1(time_steps=0) | S1C1(time_steps=256) | S1C1(time_steps=1.5) | S1C1(time_steps=True)
filters            | S1C1(filters=[]) | S1C1(filters=[(4, 1, 2)]) | S1C1(filters=3) | S1C1(filters=[(3, 1)])
filters            | S1C1(filters=[(1025, 1, 2)]) | S1C1(filters=[(3, 1, 2)] * 65) | S1C1(filters=[(3, 1, inf)])
filters            | S1C1(filters=[(3, 1e-200, 1)]) | S1C1(filters=[(3, 1, 1e200)])
filters            | S1C1(filters=[(3, 1, 1)]) | S1C1(filters=[(3, nan, 1)]) | S1C1(filters=[(3, 0, 1)])
threshold          | S1C1(threshold=-1) | S1C1(threshold=nan) | S1C1(threshold=inf)
encoder.colours    | choose_encoder(S1C1(), None, {"encoder.colours": 3})
colours            | S1C1(colours=2) | S1C1(colours=0) | Whitening(colours=2)
encoder.time_steps | choose_encoder(Intensity(), None, {"encoder.time_steps": True})
time_steps         | Intensity(time_steps=0)
patch              | Whitening(patch=4) | Whitening(patch=9).fit(IMAGES)
--encoder          | Whitening(patch=3).fit(np.full((5, 8, 8), 7, np.uint8))
@dataclass         | type("Own", (Encoder,), {"__init__": lambda self, light=3: None}, name="own")
threshold: float = 5.0 | untyped(s1c1.S1C1, threshold=5.0)()
rates: tuple[float, float] = (0.4, -0.3) | untyped(STDP, rates=(0.4, -0.3))(1, 0)
rates: tuple[float, float] = (0.4, -0.3) | dataclass(frozen=True)(untyped(STDP, rates=(0.4, -0.3)))(1, 0)
rates: tuple[float, float] = (0.4, -0.3) | type("Sub", (untyped(STDP, rates=(0.4, -0.3)),), {})(1, 0)
rates: tuple[float, float] = (0.4, -0.3) | type("Mixed", (untyped(object, rates=(0.4, -0.3)), STDP), {})(1, 0)
padding: int = 2 | untyped(SpikingConv, padding=2)(8, 3)
@dataclass         | annotated(Encoder)(light=4) | annotated(Encoder)() | annotated(STDP)(winners=1, radius=0)
encoder.steps      | choose_encoder(S1C1(), None, {"encoder.steps": 3})
name               | declare(encoder=type("Own", (Encoder,), {"channels": 1, "time_steps": 2})())
S1C1(              | declare(encoder={"name": "s1c1", "radius": 4}) | declare(encoder="s1c1") | declare(encoder=S1C1)
Augmentation(      | declare(augmentation="copies=8 turn=8") | declare(augmentation=None)
readout            | declare(readout="svm") | declare(readout=0) | declare(readout=inf)
s1c1               | type("Other", (Encoder,), {}, name="s1c1")
time_steps         | declare_encoder(time_steps="a")() | declare_encoder(time_steps=0)()
time_steps         | declare_encoder(time_steps=256)() | declare_encoder(time_steps=2.5)()
fitted = ('mean',) | declare_encoder(fitted="mean")
window             | Gabor(window=4)
orientations       | Gabor(orientations=())
pool               | Gabor(pool=0)
stride             | Gabor(stride=0)
inhibition         | Gabor(inhibition=(-1,))
"RGB"              | S1C1()(Image.new("RGB", (28, 28)))
ToTensor           | S1C1()(torch.rand(1, 28, 28))
float64            | S1C1().encode(np.full((1, 28, 28), nan))
bfloat16           | S1C1().encode(torch.zeros(1, 28, 28, dtype=torch.bfloat16))
int64              | S1C1().encode(torch.zeros(1, 28, 28, dtype=torch.int64))
bool               | S1C1().encode(np.zeros((1, 28, 28), bool))
list               | S1C1().encode([[0]])
(28, 28)           | S1C1().encode(zeros(28, 28))
(N, H, W)          | S1C1().encode(zeros(28, 28))
(2, 1, 28, 28)     | S1C1().encode(zeros(2, 1, 28, 28))
(2, 0, 28)         | S1C1().encode(zeros(2, 0, 28))
(1, 28)            | S1C1()(zeros(28))
(2, 9, 9, 3)       | S1C1().encode(zeros(2, 9, 9, 3))
"L"                | S1C1(colours=3)(Image.new("L", (28, 28)))
(1, 3, 9, 9)       | S1C1(colours=3)(zeros(3, 9, 9))
(2, 3, 9, 9)       | S1C1(colours=3).encode(zeros(2, 3, 9, 9))
"""
DATA = """
test         | data(test_images=IMAGES / 255) | data(test_images=np.zeros((2, 4, 4, 3), np.uint8))
train set    | data(train_labels=np.array([-1, 1])) | data(train_labels=np.array([0, 1, 1]))
train set    | data(train_images=np.zeros((2, 4, 4, 2), np.uint8)) | data(train_images=IMAGES.tolist())
train set    | data(train_labels=np.array([0.0, 1.0])) | data(train_labels=None) | data(train_labels="ab")
test set     | data(test_labels=None)
files        | data(files=["a"]) | data(files=("a",) * 5) | data(files="abcd") | data(files={1, 2, 3, 4})
files        | data(files=iter("abcd")) | data(files=np.array(["a", "b"]))
names        | data(name=None) | data(class_names=("a", "a")) | data(class_names=(1, "1")) | data(val_count=2)
names of classes | npz(y_train=np.array(["a\\nb", "a\\\\nb"] * 6), y_test=np.array(["a\\nb"] * 3))
--dataset    | load("cifar10")
my.npz       | npz(x_test=None, y_test=None, x_train=zeros(12, 8, 9) + 1, y_train=np.arange(12) // 11)
--image-size | load("digits", image_size=(0, 5)) | load("digits", image_size=(5, 10**23))
--image-size | load("digits", image_size=(-1, 5))
--val-split  | split(0) | split(-1) | split(6) | split(7) | split(0.0) | split(1.0) | split(-0.5) | split(nan)
--val-split  | split(1) | split(5) | split(0.01)
--ratio      | part(0) | part(-0.1) | part(1.01) | part(nan) | part(0.1)
x_train      | npz(x_train=None)
y_test       | npz(y_test=None)
float64      | npz(x_train=np.ones((12, 8, 9)) / 255) | npz(x_test=np.full((3, 8, 9), nan))
bool         | npz(x_train=np.ones((12, 8, 9), bool))
complex128   | npz(x_train=np.ones((12, 8, 9), complex))
all pixels   | npz(x_train=zeros(12, 8, 9))
(12, 72)     | npz(x_train=zeros(12, 72))
(12, 3, 8, 9) | npz(x_train=zeros(12, 3, 8, 9))
(0, 8, 9)    | npz(x_train=zeros(0, 8, 9), y_train=np.arange(0), x_test=None, y_test=None)
()           | npz(x_train=np.array(5))
<U1          | npz(x_train=np.array(["a"] * 12))
(9, 9)       | npz(x_test=zeros(3, 9, 9) + 1)
y_train      | npz(y_train=np.arange(11))
y_train      | npz(y_train=np.array([0.5, nan] * 6))
x_unlabelled | npz(x_unlabelled=zeros(5, 8, 8)) | npz(x_unlabelled=zeros(5, 8, 9) > 9)
x_unlabelled | npz(x_unlabelled=zeros(0, 8, 9))
argmax(1)    | npz(y_train=np.eye(2)[np.arange(12) % 2])
astype(str)  | npz(y_train=np.array(["a", 1] * 6, object))
'0', '1'     | npz(y_test=np.array(["0", "1", "1"]))
5            | npz(y_test=np.array([0, 1, 5]))
my.npz       | write(b"") | write(b"text") | write(b"PK") | write(b"\\x93NUMPY")
.npz         | load(".npz") | load("/nowhere.npz") | load("~nobody-of-this-name/x.npz") | load("x" * 5000 + ".npz")
nowhere      | load("folder:/nowhere")
~nobody      | load("folder:~nobody-of-this-name/x")
--augment    | moves("copies=3") | moves("turn=8") | moves("copies=3 turn=0") | moves("copies=3 turn=x")
--augment    | moves("copies=3.5 turn=8") | moves("copies turn=8") | moves("copies=-1 turn=8")
--augment    | moves(f"copies={10**22} turn=8")
--augment    | moves("copies=3 turn=181") | moves("copies=3 turn=nan") | moves("copies=3 shift=inf")
--augment    | moves("copies=3 shift=-1")
--augment    | moves("copies=3 scale=1") | moves("copies=3 shear=2")
--augment    | moves("copies=3 zoom=2")
--augment    | moves("copies=3 flip=1") | moves("none turn=8")
"""
SAVED = """
image_size  | save(image_size=(28.0, 28.0)) | save(image_size=28) | save(image_size="28")
image_size  | save(image_size=(28, 28, 3)) | save(image_size=(0, 0))
class_names | save(class_names=None)
encoder     | save(encoder="s1c1") | save(encoder=S1C1)
channels    | save(encoder=Gabor())
path        | save(path="") | save(path="a\\0b") | save(path=None)
network     | save(network="") | save(network="a\\0b") | save(network=None)
"""


def zeros(*shape):
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize("table", ["NETWORKS", "FIELDS", "RULES", "CALLS", "ENCODERS", "DATA", "SAVED"])
def test_what_cannot_be_used_is_refused_by_its_name(table, tmp_path):
    usual = {"x_train": np.arange(864, dtype=np.uint8).reshape(12, 8, 9), "y_train": np.arange(12) % 2}
    usual |= {"x_test": usual["x_train"][:3] // 2, "y_test": np.array([0, 1, 1])}
    path = tmp_path / "my.npz"

    def npz(**arrays):
        np.savez(path, **{name: value for name, value in (usual | arrays).items() if value is not None})
        return load(str(path))

    def write(content):
        path.write_bytes(content)
        return load(str(path))

    def data(**arrays):
        labels = {f"{part}_labels": np.array([0, 1]) for part in ("train", "test")}
        images = {f"{part}_images": IMAGES for part in ("train", "test")}
        return DataSet(**{"name": "x", "class_names": ("a", "b"), **labels, **images, **arrays})

    def save(path=tmp_path / "saved", network=MOZAFARI, **options):
        save_network(path, network, **options)

    labels = np.array([0, 0, 0, 1, 1, 1])
    names = {
        "npz": npz,
        "write": write,
        "data": data,
        "save": save,
        "five": {"time_steps": 5},
    }
    names |= {"split": lambda held_out: splits.stratified_split(labels, held_out, 0), "Image": Image}
    names |= {"part": lambda ratio: splits.stratified_part(labels, ratio, 0), "moves": read_augmentation}
    modules = layers, packed, rules, stages, imagesets, augmentation, encoders, intensity, whitening
    modules += s1c1, gabor, math
    known = {name: value for module in modules for name, value in vars(module).items()}
    assert_each_refused(globals()[table], {**known, **globals(), **names})
    assert {*tmp_path.iterdir()} <= {path}
