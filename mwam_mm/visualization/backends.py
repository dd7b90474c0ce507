"""Names of metrics that every backend of the visualizer takes."""
import re
from math import isfinite
from numbers import Real
from typing import Any, Dict

import torch
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend

__all__ = ['give_portable_names', 'portable_name']

# MLflow drops all metrics of a step for one name with a "+", or one value that
# is undefined; W&B cannot filter by such names.
_STRICT = ('MLflowVisBackend', 'WandbVisBackend')
_WORDS = {'+': '_and_', '@': '_at_', '%': '_percent'}


def portable_name(name: str) -> str:
    """Name of a metric in backends that are strict about names.

    Args:
        name (str): The name everywhere else.

    Returns:
        str: ``+`` becomes ``_and_``, ``@`` becomes ``_at_``, ``%`` becomes
        ``_percent``, and other characters than letters of ASCII, digits, dots,
        dashes and slashes become ``_``.

    Examples:
        >>> portable_name('rgb+depth/mIoU'), portable_name('coco/AR@100')
        ('rgb_and_depth/mIoU', 'coco/AR_at_100')
    """
    for sign, word in _WORDS.items():
        name = name.replace(sign, word)
    return re.sub(r'[^\w./-]', '_', name, flags=re.ASCII)


def give_portable_names(visualizer: Visualizer) -> None:
    """Let the MLflow and W&B backends of a visualizer get every metric.

    Args:
        visualizer (Visualizer): Its backends are changed in place: they get
            metrics under :func:`portable_name`, and none that is undefined.
    """
    for backend in visualizer._vis_backends.values():
        cls = type(backend)
        if cls.__name__ in _STRICT and not isinstance(backend, _Portable):
            backend.__class__ = type(cls.__name__, (_Portable, cls), {})


class _Portable(BaseVisBackend):
    """Mixed into backends that are strict about names."""

    def add_scalar(self,
                   name: str,
                   value: Any,
                   step: int = 0,
                   **kwargs) -> None:
        if _is_defined(value):
            super().add_scalar(portable_name(name), value, step, **kwargs)

    def add_scalars(self,
                    scalar_dict: Dict[str, Any],
                    step: int = 0,
                    file_path: Any = None,
                    **kwargs) -> None:
        named = {
            portable_name(name): value
            for name, value in scalar_dict.items() if _is_defined(value)
        }
        super().add_scalars(named, step, file_path, **kwargs)


def _is_defined(value: Any) -> bool:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    return isinstance(value, Real) and isfinite(value)
