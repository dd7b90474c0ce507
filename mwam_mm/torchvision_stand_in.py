"""Import a library that asks for torchvision where there is none.

torchvision has no wheel that goes with a CPU build of PyTorch: the one of the
registry is linked to CUDA and its operators do not register. MMPretrain
imports it all the same, for PIL images, for boxes of visual grounding and for
transforms that a config names by ``torchvision/``, none of which multimodal
classification uses.
"""
import importlib
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Iterator

__all__ = ['torchvision_or_stand_in']

_NAME = 'torchvision'
# What is imported of it by name.
_MODULES = ('', '.transforms', '.transforms.functional',
            '.transforms.transforms', '.ops', '.ops.boxes')


def _refuse(name: str) -> None:
    raise ImportError(
        f'{name} is needed here, but torchvision cannot be imported: install '
        'the one that belongs to your build of PyTorch, which there is for '
        'the CUDA builds, or leave out of the config what needs it')


class _RandomResizedCrop:
    """MMPretrain derives a class of it."""

    def __init__(self, *args, **kwargs) -> None:
        _refuse(f'{_NAME}.transforms.RandomResizedCrop')


class _StandIn(ModuleType):
    """A module of which only the name is there."""

    def __getattr__(self, key: str) -> Any:
        if key.startswith('__'):  # what is asked of any module
            raise AttributeError(key)
        _refuse(f'{self.__name__}.{key}')


@contextmanager
def torchvision_or_stand_in() -> Iterator[None]:
    """Let ``import torchvision`` succeed within the context.

    Where torchvision works, nothing happens. Elsewhere modules stand in for
    it until the context ends, so that no other library takes them for
    torchvision. Whoever uses something of them gets an ImportError that
    names it.
    """
    try:
        importlib.import_module(_NAME)
        stand_ins = {}
    except Exception:  # a build for CUDA fails with RuntimeError or OSError
        for name in [n for n in sys.modules if n.startswith(f'{_NAME}.')]:
            del sys.modules[name]  # what a failed import left
        stand_ins = {_NAME + part: _StandIn(_NAME + part) for part in _MODULES}
        for name, module in stand_ins.items():
            parent, _, child = name.rpartition('.')
            if parent:
                setattr(stand_ins[parent], child, module)
        transforms = stand_ins[f'{_NAME}.transforms']
        transforms.RandomResizedCrop = _RandomResizedCrop
        transforms.transforms.InterpolationMode = None
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)
