"""MWAM as a weigher: K from the frequencies of what enters the branches."""
from typing import Any, Dict, Optional, Sequence

import torch
from torch import Tensor

from mwam_mm.mwam import MWAM
from mwam_mm.registry import WEIGHERS

from ..signal import Signal
from .base import Weigher

__all__ = ['MWAMWeigher']


@WEIGHERS.register_module(name='MWAM')
class MWAMWeigher(Weigher):
    r"""Weigh the modalities inversely to the network's preference.

    .. math::
        K_m = \alpha - \frac{\beta}{1 + e^{-\lambda (T_m - \gamma)}},

    with T from the smoothed frequency ratio metric of what enters the branches
    (Eqs. 2 to 6 of `Plug, Play, and Fortify
    <https://arxiv.org/abs/2602.22644>`_).

    Args:
        modalities (Sequence[str]): The modalities' names.
        mwam (MWAM, optional): Measures and weighs, with the same modalities.
            Defaults to None, a new one with ``constants``.
        **constants: Arguments of :class:`mwam_mm.mwam.MWAM`.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.MWAM', metric='robust'),
                     intervention=['loss', 'gradient'])
            ]
    """

    def __init__(self,
                 modalities: Sequence[str],
                 mwam: Optional[MWAM] = None,
                 **constants) -> None:
        super().__init__(modalities)
        self.mwam = MWAM(modalities, **constants) if mwam is None else mwam

    def to(self, device: torch.device) -> None:
        self.mwam.to(device)

    def observe(self, signal: Signal) -> None:
        self.mwam.observe_all(signal.entered)

    def step(self) -> Tensor:
        return self.mwam.step()

    def scalars(self) -> Dict[str, Tensor]:
        bands = enumerate(self.mwam.frm_of_bands, 1)
        return dict(
            FRM=self.mwam.frm,
            **{f'FRM_band{band}': frm for band, frm in bands})

    def state_dict(self) -> Dict[str, Any]:
        return self.mwam.state_dict()

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.mwam.load_state_dict(state_dict)
