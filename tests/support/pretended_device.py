"""A pretended device for PyTorch: a tensor of the device "pretend" wraps a CPU tensor, and refuses what a GPU refuses.

Operations that mix it with tensors of the CPU raise, as on a GPU; exceptions are copies, tensors without a dimension,
and indices. ``.numpy()`` raises without ``force=True``. Within ``pretend()``, tensors can be created on the device.
"""

from collections import Counter
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "pretend"
syncs = Counter()  # the operations for which a program would wait for a GPU
COPIES = "aten::copy_", "aten::_to_copy"
INDEXED = "aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"
WAITING = "aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::equal", "aten::masked_select"


@contextmanager
def pretend():
    """Make the device known. Functions of PyTorch that are replaced are restored; only the name of the device stays."""
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
    except ImportError:
        pytest.skip("this PyTorch cannot register a device that is written in Python")
    if torch._C._get_privateuse1_backend_name() != DEVICE:
        _setup_privateuseone_for_python_backend(DEVICE)
    # these convert their data below the dispatcher: they create a tensor of the CPU, which is moved
    creators = {name: _create_on_cpu(getattr(torch, name)) for name in ("tensor", "as_tensor")}
    syncs.clear()
    with mock.patch.multiple(torch, **creators), _Mode():
        yield


class Pretended(torch.Tensor):
    """A tensor of the device. ``raw``: the tensor of the CPU that it wraps."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw):
        strides = {"strides": raw.stride(), "storage_offset": raw.storage_offset()}
        device = f"{DEVICE}:0"
        return cls._make_wrapper_subclass(
            cls, raw.shape, dtype=raw.dtype, device=device, requires_grad=False, **strides
        )

    def __init__(self, raw):
        self.raw = raw

    def numpy(self, *, force=False):
        if not force:
            raise TypeError("the tensor of the pretended device must be moved to the CPU first")
        syncs["numpy"] += 1
        return self.raw.detach().numpy(force=True)

    def tolist(self):
        syncs["tolist"] += 1
        return self.raw.tolist()

    def new_tensor(self, data, **options):
        return Pretended(self.raw.new_tensor(data, **options))

    def __getitem__(self, index):
        return super().__getitem__(_without_lists(index))

    def __setitem__(self, index, value):
        super().__setitem__(_without_lists(index), value)

    def __deepcopy__(self, memo):
        return Pretended(self.raw.clone())

    def __repr__(self):
        return f"Pretended({self.raw!r})"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Runs the operations that get or create a tensor of the device."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        is_pretended = any(isinstance(value, Pretended) for value in tree_leaves((args, kwargs)))
        if is_pretended or _is_pretended(kwargs.get("device")):
            return _run(operation, args, kwargs)
        return operation(*args, **kwargs)


def _run(operation, args, kwargs):
    """Run an operation on the wrapped tensors, and wrap its results."""
    name = operation._schema.name
    _refuse_mixed(name, args, kwargs)
    syncs[name] += name in WAITING
    if name == "aten::copy_":
        syncs["to cpu"] += not isinstance(args[0], Pretended)
        _unwrap(args[0]).copy_(_unwrap(args[1]))
        return args[0]
    device = kwargs.get("device")
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = operation(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
    if name == "aten::_to_copy" and device is not None and not _is_pretended(device):
        syncs["to cpu"] += 1
        return result
    written = operation._schema.returns
    if len(written) == 1 and written[0].alias_info is not None and written[0].alias_info.is_write:
        for place, argument in enumerate(operation._schema.arguments):  # the result is an argument that it has changed
            if argument.alias_info is not None and argument.alias_info.is_write:
                return args[place] if place < len(args) else kwargs[argument.name]
    return tree_map(_wrap, result)


def _refuse_mixed(name, args, kwargs):
    """Raise RuntimeError if an operation gets tensors of both devices."""
    values = tree_leaves((args, kwargs))
    if name in INDEXED:
        if not isinstance(args[0], Pretended):
            raise RuntimeError("indices must be on the CPU, or on the device of the indexed tensor")
        indices = tree_leaves(args[1])
        values = [value for value in values if not any(value is index for index in indices)]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    on_cpu = [value for value in tensors if not isinstance(value, Pretended) and value.dim()]
    if on_cpu and len(on_cpu) < len(tensors) and name not in COPIES:
        raise RuntimeError(f"{name} expects all tensors on one device, but {tuple(on_cpu[0].shape)} is on the CPU")


def _is_pretended(device):
    return device is not None and torch.device(device).type == DEVICE


def _unwrap(value):
    return value.raw if isinstance(value, Pretended) else value


def _wrap(value):
    return Pretended(value) if isinstance(value, torch.Tensor) and not isinstance(value, Pretended) else value


def _without_lists(index):
    """Replace lists of numbers by tensors: PyTorch converts them below the dispatcher."""
    if isinstance(index, tuple):
        return tuple(map(_without_lists, index))
    return torch.as_tensor(index) if isinstance(index, list) else index


def _create_on_cpu(create):
    def replacement(*args, device=None, **options):
        if not _is_pretended(device):
            return create(*args, device=device, **options)
        return _wrap(create(*args, **options))

    return replacement
