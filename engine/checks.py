"""The checks of the maps, labels and numbers that enter the engine.

The kernels check no bounds: what reaches them is checked here, once. Layers check types and shapes, networks also the
time steps of maps; ``docs/engine.md`` lists what is checked where.
"""

import operator
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.compiled import compiled
from errors import InputError, refuse_result

MAX_TIME_STEPS = 254  # a latency is uint8, and 255 is later than silence (``stages.pool_latency``)
WEIGHT_TYPES = (torch.float32, torch.float64)


def check_latencies(values: Any, time_steps: int, channels: int | None = None) -> Tensor:
    """Return latencies as a tensor.

    Raises InputError unless they are uint8 (N, channels, H, W) (None: any number of channels), from 0 to T, the number
    of time steps; T means silence.
    """
    try:
        latencies = torch.as_tensor(values)
        given = f"{latencies.dtype} {tuple(latencies.shape)}"
        fits = latencies.dtype == torch.uint8 and latencies.dim() == 4 and channels in (None, latencies.shape[1])
    except (TypeError, ValueError, RuntimeError):  # they are not numbers
        fits = False
        given = type(values).__name__
    if not fits:
        raise InputError(f"latencies must be uint8 (N, {channels or 'C'}, H, W), not {given}")
    if latencies.numel() and latencies.max() > time_steps:
        raise InputError(f"latencies must be from 0 to {time_steps}, the number of time steps, not {latencies.max()}")
    return latencies


def check_map(compute: Callable, latencies: Any, shape: tuple[int, ...], time_steps: int) -> Tensor:
    """Return the map that a stage or an encoder has computed, by the method ``compute``.

    Raises InputError unless it is a latency map of this shape.
    """
    is_map = isinstance(latencies, Tensor) and (latencies.dtype, latencies.shape) == (torch.uint8, shape)
    if not is_map or (latencies.numel() and latencies.max() > time_steps):
        refuse_result(compute, f"uint8 {shape}, from 0 to {time_steps}", latencies)
    return latencies


def is_finite(values: Tensor) -> bool:
    """Return whether all numbers are finite. A finite sum shows it many times faster than a test of each number."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def are_indices(values: Any, count: int) -> bool:
    """Return whether these are a tensor of whole numbers from 0 to count - 1, or -1 for none."""
    is_whole = isinstance(values, Tensor) and values.dtype in (torch.int32, torch.int64)
    return is_whole and bool(((values >= -1) & (values < count)).all())


def takes(method: Any, *arguments: Any, **named: Any) -> bool:
    """Return whether a user's method can be called with these arguments."""
    try:
        signature(method).bind(*arguments, **named)
    except (TypeError, ValueError):  # also if it is no function
        return False
    return True


def shares_memory(values: Tensor) -> bool:
    """Return whether numbers of a tensor share memory, as in a view of ``expand``, so that to write one changes others.

    They do not share memory if, in each dimension, the stride reaches beyond all numbers of the dimensions with smaller
    strides.
    """
    reach = 0
    for stride, size in sorted(zip(values.stride(), values.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def check_time_steps(time_steps: int, most: int = MAX_TIME_STEPS) -> int:
    """Return T, the number of time steps. Raises InputError unless it is a whole number from 1 to ``most``."""
    return check_number("time_steps", time_steps, 1, most)


def check_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number of any integer type. Raises InputError unless it is from ``least`` to ``most``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {bounds}, not {value!r}")
    return number


def check_labels(labels: Any, count: int, num_classes: int | None = None, what: str = "labels") -> Tensor:
    """Return the labels as int64 (count,), on the CPU. what: how a message names them.

    Raises InputError for other types or shapes, and for labels that are not from 0 to num_classes - 1; None: any.
    """
    labels = _to_whole_numbers(labels, count, what)
    if num_classes is not None:
        wrong = labels[(labels < 0) | (labels >= num_classes)]
        if len(wrong):
            raise InputError(f"{what} must be from 0 to {num_classes - 1}, not {wrong[0]}")
    return torch.from_numpy(labels)


def check_indices(indices: Any, count: int) -> Tensor:
    """Return indices of some of ``count`` images as int64 (L,), on the CPU.

    Raises InputError for other types or shapes, and unless they are different, from 0 to count - 1, and at least one.
    """
    array = _to_whole_numbers(indices, None, "indices of labelled images")
    if not array.size or array.min() < 0 or array.max() >= count or len(np.unique(array)) < len(array):
        raise InputError(f"indices of labelled images must be different numbers from 0 to {count - 1}, at least one")
    return torch.from_numpy(array)


def _to_whole_numbers(values, count, name):
    """Return whole numbers as int64 (count,); None: of any number."""
    if isinstance(values, Tensor):
        values = values.numpy(force=True)
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise InputError(f"{name} must be integers: {error}") from error
    shape = (array.size if count is None else count,)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers {shape}, not {array.dtype} {array.shape}")
    return array.astype(np.int64)


def to_array(values: Any, dtype: Any, shape: tuple[int, ...], compute: Callable) -> np.ndarray:
    """Return what a user's rule has returned, for the kernels. Raises InputError unless it is finite and has a shape.

    compute: the method of the rule that has returned the values.
    """
    array = cast(values, dtype)
    if array.shape != shape or not np.isfinite(array).all():
        refuse_result(compute, f"finite numbers {shape}", values)
    return array


def cast(values: Any, dtype: Any) -> np.ndarray:
    """Return values as an array of a type, in one piece; an empty array if they are no such numbers."""
    try:
        return np.ascontiguousarray(values).astype(dtype, casting="same_kind")  # complex numbers are refused
    except (TypeError, ValueError):
        return np.empty(0)


@compiled
def check_learners(learners, count, rows):
    """Raise ValueError unless the first ``count`` of the learners (F, 2) are different features with rows of the rates.

    A rule's verdict wrote them. Kernels write to the weights of these features without any other check.
    """
    features = len(learners)
    if not 0 <= count <= features:
        raise ValueError("returns a number of learners that is not from 0 to the number of features")
    is_chosen = np.zeros(features, np.bool_)
    for i in range(count):
        feature = learners[i, 0]
        if not (0 <= feature < features and 0 <= learners[i, 1] < rows):
            raise ValueError("chooses a feature, or a row of the rates, that does not exist")
        if is_chosen[feature]:
            raise ValueError("chooses the same feature twice")
        is_chosen[feature] = True
