"""Encoder: the base class of all encoders, which checks what they get and what they return."""

import functools
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch

from engine.checks import check_map, check_time_steps
from engine.declaration import Declared
from engine.registry import register
from errors import InputError

SHAPES = {1: "grey images (N, H, W)", 3: "colour images (N, H, W, 3)"}  # by the number of colours

ENCODERS: dict[str, type["Encoder"]] = {}  # by name; a class that has a name registers when it is declared


@dataclass(frozen=True)
class Encoder(Declared):
    """Base class of the encoders, which convert images to the latencies that a network reads.

    An encoder is a frozen dataclass with a name (``class Ink(Encoder, name="ink")``) and the method ``encode``. Its
    parameters are its fields. It has the attributes, which may be fields or properties,

    * ``scales``: a name for each pair of channels that differ only in their polarity; none by default;
    * ``channels`` and ``time_steps``: the numbers of channels (two for each scale, or 1) and time steps (15) of the
      latencies;
    * ``polarity``: for each channel 1 (spikes for light in dark surroundings), -1 (for dark in light surroundings) or
      0; by default 1 and -1 in turn, or 0 without scales;
    * ``channel_names``: of an encoder without scales a name for each channel, for figures; by default numbers;
    * ``colours``: 1 for grey images (the default), 3 for red, green and blue.

    ``source`` is what a paper cites for it.

    An encoder that depends on the training images has the names of its tensors in ``fitted``, and a method ``fit`` that
    returns them. A declared encoder has no tensors: ``with_state`` returns a copy that has them in ``state``.
    Checkpoints contain them.

    An encoder whose latencies have another height and width than the images overrides ``shape``.

    The images that ``encode`` gets and the latencies that it returns are checked here, for all encoders.
    """

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    family: ClassVar[Mapping[str, type["Encoder"]]] = ENCODERS
    fitted: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[Mapping[str, torch.Tensor]] = MappingProxyType({})
    # Without types: with ClassVar, a dataclass would put the fields that replace them in an encoder, also of a user's
    # own, before all other fields, and so change the order of its arguments.
    time_steps = 15
    scales = tuple[str, ...]()
    channel_names = tuple[str, ...]()
    colours = 1

    def __init_subclass__(cls, name: str | None = None, **kwargs):
        if "encode" in vars(cls):
            cls.encode = _check_encoding(cls.encode)  # type: ignore[method-assign]  # every caller gets a tensor
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            raise InputError(
                f"the encoder {cls.__name__} cannot have an __init__; write @dataclass(frozen=True) above the class, "
                "and its parameters as fields, such as light: int = 200"
            )
        if isinstance(cls.fitted, str):
            raise InputError(f"the encoder {cls.__name__} needs a tuple of names: fitted = ({cls.fitted!r},)")
        if name:
            cls.name = name
            register(ENCODERS, [name], cls)

    def __post_init__(self):
        super().__post_init__()
        check_time_steps(self.time_steps, 255)  # of a map uint8; networks read up to 254
        if len(self.polarity) != self.channels or not {*self.polarity} <= {1, -1, 0}:
            raise InputError(
                f"polarity of the encoder {self.name!r} must be 1, -1 or 0 for each of {self.channels} channels, not "
                f"{self.polarity}"
            )
        if self.colours not in SHAPES:
            raise InputError(f"colours must be 1 (grey) or 3 (red, green, blue), not {self.colours!r}")

    @functools.cached_property
    def channels(self) -> int:
        return 2 * len(self.scales) or 1

    @functools.cached_property
    def polarity(self) -> tuple[int, ...]:
        return (1, -1) * len(self.scales) or (0,) * self.channels

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the latencies of images of this size; by default those of the images.

        Raises InputError if the images are too small.
        """
        return height, width

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """Return latencies uint8 ``(N, channels, *shape)`` of images uint8 ``(N, H, W)``, in colour ``(N, H, W, 3)``.

        A latency is a time step from 0 to ``time_steps`` - 1, or ``time_steps`` for silence. The images may be given as
        a tensor or an array. An encoder may return an array; every caller gets a tensor.
        """
        raise NotImplementedError

    def fit(self, images: np.ndarray) -> Mapping[str, torch.Tensor]:
        """Return what the encoder computes from the training images, which are as ``encode`` takes them."""
        return {}

    def with_state(self, tensors: Mapping[str, torch.Tensor]) -> "Encoder":
        """Return a copy with the tensors that ``fit`` has returned.

        Raises InputError if they are those of another encoder, and if one is not a dense tensor of finite numbers.
        """
        names = set(tensors) if isinstance(tensors, Mapping) else set()
        if names != set(self.fitted):
            wanted = ", ".join(self.fitted) or "none"
            given = ", ".join(sorted(names)) or "none"
            raise InputError(f"the encoder {self.name} needs fitted tensors by name: {wanted}; it has {given}")
        for name, tensor in tensors.items():
            if fault := _find_fault(tensor):
                raise InputError(
                    f"{type(self).__name__}.fit must return a dense tensor of finite numbers, such as "
                    f"torch.from_numpy(array) or torch.tensor(number) as {name!r}, not {fault}"
                )
        fitted = copy(self)
        vars(fitted)["state"] = dict(tensors)  # the record is frozen
        return fitted

    def check_images(self, images: np.ndarray | torch.Tensor) -> np.ndarray:
        """Return the images as an array (N, …). Raises InputError for another type or shape."""
        name = type(self).__name__
        dtype = str(getattr(images, "dtype", type(images).__name__)).removeprefix("torch.")
        if dtype != "uint8":
            hint = f": use {name} in place of ToTensor(), not after it" if "float" in dtype else ""
            raise InputError(f"{name} takes uint8 pixels from 0 to 255, not {dtype}{hint}")
        pixels = images.numpy(force=True) if isinstance(images, torch.Tensor) else images
        if pixels.shape[3:] != (3,) * (self.colours == 3) or 0 in pixels.shape[1:] or pixels.ndim < 3:
            raise InputError(f"{name} takes {SHAPES[self.colours]}, not empty, but got {pixels.shape}")
        return pixels

    def to_planes(self, images: np.ndarray) -> np.ndarray:
        """Return images (N, H, W) or (N, H, W, 3) as a contiguous array (N, colours, H, W)."""
        planes = images[:, None] if self.colours == 1 else np.moveaxis(images, -1, 1)
        return np.require(planes, requirements=["C", "W"])

    def check_latencies(self, latencies: np.ndarray | torch.Tensor, images: np.ndarray) -> torch.Tensor:
        """Return the latencies of the images as a tensor. Raises InputError if they have another type or shape."""
        if isinstance(latencies, np.ndarray) and latencies.dtype == np.uint8:
            latencies = torch.from_numpy(np.require(latencies, requirements=["C", "W"]))
        shape = len(images), self.channels, *self.shape(*images.shape[1:3])
        return check_map(self.encode, latencies, shape, self.time_steps)


def _find_fault(tensor: object) -> str | None:
    """Return why a value is not a dense tensor of finite numbers of a type that NumPy has; None if it is one."""
    if not isinstance(tensor, torch.Tensor):
        return type(tensor).__name__
    try:
        is_finite = np.isfinite(tensor.numpy(force=True)).all()
    except TypeError:
        return f"{tensor.dtype} in {tensor.layout}"
    return None if is_finite else "nan or inf"


def _check_encoding(encode: Callable) -> Callable:
    """Return the method ``encode`` of an encoder with checks of its argument and its result."""

    @functools.wraps(encode)
    def encode_checked(self, images):
        images = self.check_images(images)
        if self.state.keys() != set(self.fitted):
            raise InputError(f"{type(self).__name__} must first be fitted: encoder.with_state(encoder.fit(images))")
        return self.check_latencies(encode(self, images), images)

    return encode_checked
