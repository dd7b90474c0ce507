"""Weights that stay as they are: the controls."""
from typing import Mapping, Optional, Sequence

import torch
from torch import Tensor

from mwam_mm.registry import WEIGHERS

from ..signal import Signal
from .base import Weigher

__all__ = ['Constant']


@WEIGHERS.register_module()
class Constant(Weigher):
    """The same K in every iteration.

    K = 1 tells what an intervention does by itself, and K reversed whether
    the order of the weights matters.

    Args:
        modalities (Sequence[str]): The modalities' names.
        k (Mapping[str, float], optional): Modality to its weight, finite and
            not negative. Defaults to None, 1 for each.

    Raises:
        ValueError: If ``k`` names other modalities, or a weight is negative
            or not finite.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.Constant',
                                  k=dict(rgb=0.5, depth=1.5)),
                     intervention='gradient')
            ]
    """

    needs_images = False

    def __init__(self,
                 modalities: Sequence[str],
                 k: Optional[Mapping[str, float]] = None) -> None:
        super().__init__(modalities)
        k = dict.fromkeys(self.modalities, 1.) if k is None else dict(k)
        if set(k) != set(self.modalities):
            raise ValueError(f'Constant.k has weights of {sorted(k)}, but the '
                             f'modalities are {list(self.modalities)}')
        wrong = {n: v for n, v in k.items() if not 0 <= v < float('inf')}
        if wrong:
            raise ValueError('Constant.k must be finite and not negative, but '
                             f'got {wrong}')
        self.weights = torch.tensor(
            [float(k[name]) for name in self.modalities])

    def to(self, device: torch.device) -> None:
        self.weights = self.weights.to(device)

    def observe(self, signal: Signal) -> None:
        pass

    def step(self) -> Tensor:
        return self.weights
