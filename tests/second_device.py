"""A device that computes on the CPU and refuses what a GPU refuses.

Tensors of the CPU and of the device do not mix, and NumPy sees none of the
device's, so that a machine without a GPU notices a tensor that was left
behind. It needs a PyTorch that takes backends written in Python.
"""
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from mmengine.utils import apply_to
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = 'second'
_SET_UP = '_setup_privateuseone_for_python_backend'
_load = torch.load
aten = torch.ops.aten
# A GPU takes these with tensors of the CPU.
_COPIES = (aten.copy_.default, aten._to_copy.default)
_INDICES = (aten.index.Tensor, aten.index_put.default,
            aten.index_put_.default, aten._index_put_impl_.default)


class OnDevice(torch.Tensor):
    """A tensor of the device, around one of the CPU."""

    @staticmethod
    def __new__(cls, on_cpu):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            on_cpu.shape,
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            device=torch.device(NAME, 0))

    def __init__(self, on_cpu):
        self.on_cpu = on_cpu

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __getitem__(self, index):
        return super().__getitem__(_on_device(index))

    def __setitem__(self, index, value):
        # PyTorch would make both of them below what Python sees.
        if not isinstance(value, torch.Tensor):
            value = torch.tensor(value, dtype=self.dtype).to(NAME)
        super().__setitem__(_on_device(index), value)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copied = OnDevice(self.on_cpu.clone())
            memo[id(self)] = (
                torch.nn.Parameter(copied, self.requires_grad) if isinstance(
                    self, torch.nn.Parameter) else copied)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return OnDevice, (self.on_cpu, )

    def data_ptr(self):
        return self.on_cpu.data_ptr()

    def tolist(self):
        return self.on_cpu.tolist()


def _on_device(index):
    if isinstance(index, tuple):
        return tuple(map(_on_device, index))
    if isinstance(index, (list, range, np.ndarray)):
        return torch.as_tensor(index).to(NAME)
    return index


def _run(func, args, kwargs):
    tensors = [
        x for x in tree_flatten((args, kwargs))[0]
        if isinstance(x, torch.Tensor)
    ]
    inside = {id(x.on_cpu): x for x in tensors if isinstance(x, OnDevice)}
    if inside and func not in _COPIES and not (
            func in _INDICES and isinstance(args[0], OnDevice)):
        left = [x for x in tensors if not isinstance(x, OnDevice) and x.dim()]
        if left:
            raise RuntimeError(
                f'{func}: tensors of shapes {[tuple(x.shape) for x in left]} '
                'are on the CPU, others are not')
    device = kwargs.get('device')
    if device is not None:
        device = torch.device(device).type
        kwargs = dict(kwargs, device='cpu', pin_memory=False)
    outputs = func(*tree_map(_inside, args), **tree_map(_inside, kwargs))
    if device == 'cpu' or (not inside and device != NAME):
        return outputs

    def wrapped(x):
        # What an operator changes in place is what it gives back.
        if type(x) is not torch.Tensor:
            return x
        return inside[id(x)] if id(x) in inside else OnDevice(x)

    return tree_map(wrapped, outputs)


def _inside(x):
    return x.on_cpu if isinstance(x, OnDevice) else x


def _load_to_it(*args, map_location=None, **kwargs):
    if str(map_location) != NAME:
        return _load(*args, map_location=map_location, **kwargs)
    return apply_to(
        _load(*args, map_location='cpu', **kwargs),
        lambda x: isinstance(x, torch.Tensor), lambda x: x.to(NAME))


class _Generator(torch.Generator):
    """Operators run on the CPU, and take a generator of the CPU."""

    def __new__(cls, device=None):
        return super().__new__(torch.Generator)


class _Mode(TorchDispatchMode):
    """Tensors may also be made on the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def require():
    """Skip a test where PyTorch takes no backend written in Python."""
    if not hasattr(backend_registration, _SET_UP):
        pytest.skip('this PyTorch takes no backend written in Python')


def set_up():
    """Make the device known to this process, for good.

    PyTorch counts the devices when it first computes gradients.
    """
    getattr(backend_registration, _SET_UP)(NAME)
    getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]
    torch.__future__.set_overwrite_module_params_on_conversion(True)


@contextmanager
def runs_on_it():
    """Within, Runners put their models on the device."""
    with pytest.MonkeyPatch.context() as patch, _Mode():
        patch.setattr('mmengine.device.utils.DEVICE', NAME)
        patch.setattr(torch, 'Generator', _Generator)
        patch.setattr(torch, 'load', _load_to_it)
        yield
