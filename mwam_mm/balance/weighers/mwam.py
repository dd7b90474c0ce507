"""MWAM as a weigher: K from the frequencies of what enters the branches."""
from itertools import compress
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor, nn

from mwam_mm.mwam import MWAM
from mwam_mm.mwam.frm import is_compiling
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
        #: Modality to whether what enters its branch is computed by
        #: parameters, so that it is no image.
        self._computed: Dict[str, bool] = {}

    def to(self, device: torch.device) -> None:
        self.mwam.to(device)

    def observe(self, signal: Signal) -> None:
        self.mwam.observe(signal.entered)
        if signal.outputs is None and not is_compiling():
            for name, image, _ in signal.entered:
                if name not in self._computed:
                    self._computed[name] = _depends_on_parameters(image)

    def step(self) -> Tensor:
        return self.mwam.step()

    def scalars(self) -> Dict[str, Tensor]:
        bands = enumerate(self.mwam.frm_of_bands, 1)
        return dict(
            FRM=self.mwam.frm,
            **{f'FRM_band{band}': frm for band, frm in bands})

    def warnings(self) -> List[str]:
        names = self.mwam.modalities
        computed = [name for name in names if self._computed.get(name)]
        said = {
            'MWAM met inputs of {} whose FRM is not finite: NaN, Inf or huge '
            'values. It leaves such batches out and goes on with the values '
            'before; mmdet.CheckInvalidLossHook stops a training whose loss '
            'is no longer finite.':
            list(compress(names, self.mwam.abnormal.tolist())),
            'MWAM has seen no usable input of {}; their weight stays 1. If '
            'the data has them, name the module that the image enters in '
            "the hook's inputs.":
            list(compress(names, self.mwam.frm.isnan().tolist())),
            'MWAM measures features in place of the images of {}: what enters '
            'their branches is computed by parameters of the model. Name the '
            "module that the image enters in the hook's inputs.":
            computed
        }
        return [text.format(of) for text, of in said.items() if of]

    def state_dict(self) -> Dict[str, Any]:
        return self.mwam.state_dict()

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.mwam.load_state_dict(state_dict)


def _depends_on_parameters(x: Tensor) -> bool:
    nodes, seen = [x.grad_fn], {None}
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(getattr(node, 'variable', None), nn.Parameter):
            return True
        nodes += [before for before, _ in node.next_functions]
    return False
