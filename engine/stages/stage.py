"""The base class of all stages, and what declarations of several stages have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

from torch import Tensor

from engine.declaration import Declared, from_plain, set_value
from engine.registry import register
from engine.rules import RULES, Rule
from errors import InputError

INPUT = "input"  # the map of the encoder, below the first stage
MAX_FEATURES = 2**15 - 1
STAGES: dict[str, type["Stage"]] = {}  # by name, the kinds of stages; each registers when its class is declared

Kind = TypeVar("Kind", bound=Declared)
Shape = tuple[int, int, int]  # (channels, rows, columns) of a latency map


class Region(NamedTuple):
    """Neurons of one convolution in the latency map (F, H, W) of a stage: slices of its features, rows and columns."""

    features: slice
    rows: slice
    columns: slice


@dataclass(frozen=True, kw_only=True)
class Stage(Declared):
    """The base class of all stages.

    Args:
        inputs: names of the stages that the stage reads, or one name; none: the stage before it.

    Each subclass is a kind of stage, which networks can declare. By default, each neuron reads the neurons at its
    position, and the map has the shape of that below; other kinds override:

    * ``shape(maps)``: the shape of its map, from the shapes of the maps that it reads; raises InputError if it does not
      fit them;
    * ``receptive_field(side, stride)``: receptive field and stride of its neurons, in pixels of the encoded image, from
      those of the stage that it reads;
    * ``regions(below, shape_below, shape)``: where its map has neurons, a ``Region`` for each convolution. ``below``
      contains the regions of the map that it reads, and ``shape_below`` is the shape of that map. ``shape`` is the
      shape of its own map;
    * ``explain()``: in a few words, what its map shows.

    ``engine/layers.py`` computes with the kinds that have weights. All other kinds compute their maps:

    * ``fire(latency, time_steps)`` returns the map, uint8 (N, C', H', W'), of the map below, uint8 (N, C, H, W), in
      tensor operations, which run on any device. A stage that reads several maps gets all of them. They must not be
      changed in place: others read them.
    * ``fire_compiled(latency, time_steps)``, if ``fire`` is too slow, returns the same map on a CPU, by compiled code.
    """

    inputs: tuple[str, ...] = ()

    title: ClassVar[str] = ""  # of a stage that is not a single convolution, in the summary
    fixed: ClassVar[Sequence[str]] = ("inputs",)
    sees_whole_maps: ClassVar[bool] = False  # whether its neurons depend on the size of the image
    fire: ClassVar[Callable[..., Tensor]]  # of stages without weights
    fire_compiled: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, is_kind: bool = True, **kwargs: Any):
        """Register a kind of stage; is_kind: whether networks can declare it."""
        super().__init_subclass__(**kwargs)
        if is_kind:
            register(STAGES, [cls.__name__], cls)
        if "fire" in vars(cls) and "fire_compiled" not in vars(cls):  # that of its base computes something else
            cls.fire_compiled = cls.fire

    def __post_init__(self):
        if isinstance(self.inputs, Iterable):
            inputs = (self.inputs,) if isinstance(self.inputs, str) else tuple(self.inputs)
            vars(self)["inputs"] = inputs  # the record is frozen
        super().__post_init__()
        if len(set(self.inputs)) < len(self.inputs):
            raise InputError(f"inputs are the names of stages, each once; not {self.inputs}")

    @property
    def window(self) -> int:
        """The side of the square of each channel that a neuron reads, in the summary."""
        return 1

    @property
    def convs(self) -> Sequence[Any]:
        """Its convolutions, each a ``SpikingConv``, which imports this file."""
        return ()

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules that it learns by."""
        return ()

    @property
    def fires(self) -> bool:
        """Whether its neurons spike at any time: all stages but those without a threshold."""
        return True

    @property
    def levels(self) -> tuple[int, ...]:
        """Time steps, see ``SpikingDense``."""
        return ()

    @property
    def is_plain_pool(self) -> bool:
        """Whether the convolution below can pool together with its own spikes."""
        return False

    @property
    def reads_times(self) -> bool:
        """Whether which of its neurons spike depends on when those below have spiked."""
        return True

    def shape(self, maps: Sequence[Shape]) -> Shape:
        return read_single(maps)

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        return side, stride

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        return below

    def explain(self) -> str:
        return self.title


def read_shape(latency: Tensor) -> Shape:
    """Return the shape of a latency map (N, C, H, W) without its images."""
    _, channels, rows, columns = latency.shape
    return channels, rows, columns


def read_single(maps: Sequence[Shape]) -> Shape:
    """Return the shape of the only map that a stage reads. Raises InputError if there are several maps."""
    if len(maps) != 1:
        raise InputError(f"inputs: the stage reads one map, not {len(maps)}; a SpikingDense reads several")
    return maps[0]


def set_fields(stages: Mapping[str, Kind], values: Mapping[str, Any]) -> dict[str, Kind]:
    """Return the stages of a declaration with other values in some fields.

    Args:
        stages: {name: stage}, bottom up.
        values: {field: value}. A field is a field of the stage (``s2.threshold``) or of its rule
            (``s1.rule.winners``, ``s3.rule.warm_up.radius``). ``s3.1.threshold`` is a field of the second branch,
            ``s3.threshold`` of every branch. ``s1.rule`` is the name of another rule, which replaces the declared rule
            before its fields are set. A field of the new rule has its default or, if there is none, the value of the
            declared rule. ``s1`` is another stage.

    Raises InputError for an unknown field and for a value that the field cannot have.
    """
    changes: dict[str, dict] = {}
    for path, value in values.items():
        name, *deeper = str(path).split(".")
        if name not in stages:
            raise InputError(f"{path}: no stage is called {name!r}; there are {', '.join(stages)}")
        changes.setdefault(name, {})[tuple(deeper)] = value
    changed = dict(stages)
    for name, of_stage in changes.items():
        try:
            changed[name] = set_value(stages[name], of_stage)
        except InputError as error:
            given = ", ".join(f"{'.'.join((name, *path))}={value}" for path, value in of_stage.items())
            raise InputError(f"{given}: {error}") from error
    return changed


def read_stages(plain: Mapping[str, Any]) -> dict[str, Stage]:
    """Return the stages that ``declaration.to_plain`` has saved, {name: stage}. Raises InputError as ``from_plain``."""
    kinds: dict[str, type[Declared]] = {**STAGES, **RULES}
    return {name: from_plain(stage, kinds) for name, stage in plain.items()}
