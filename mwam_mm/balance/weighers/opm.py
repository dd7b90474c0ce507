"""OPM: the modality that is ahead is left out more often."""
from typing import Sequence

import torch
from torch import Tensor

from mwam_mm.registry import WEIGHERS

from .ogm import ScoreRatios

__all__ = ['OPM']


@WEIGHERS.register_module()
class OPM(ScoreRatios):
    r"""On-the-fly prediction modulation.

    K is the probability that a sample keeps the modality, for the
    intervention ``dict(type='dropout', draw='each')``:

    .. math::
        K_m = 1 - p q (1 + \lambda \tanh(\rho_m - 1))
        \text{ if } \rho_m > 1, \text{ else } 1

    with the ratios :math:`\rho` of :class:`OGM`, from `On-the-fly Modulation
    for Balanced Multimodal Learning <https://arxiv.org/abs/2410.11582>`_.

    Args:
        modalities (Sequence[str]): The modalities' names.
        q_base (float): Probability q of leaving out a modality that is just
            ahead. Defaults to 0.5, as in the released code; BalanceBenchmark
            has 0.4.
        lam (float): How much q grows with the ratio, not negative.
            Defaults to 0.5.
        p_exe (float): Probability p that a sample is modulated at all.
            Defaults to 0.7.
        ratio (str): As of :class:`OGM`. Defaults to ``'mean'``.
        **scores: Arguments of :class:`mwam_mm.balance.scores.Scores`.

    Raises:
        ValueError: If a probability is not in [0, 1], ``lam`` is negative, or
            ``ratio`` is unknown.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.OPM'),
                     intervention=dict(type='dropout', draw='each'))
            ]
    """

    probabilities = True

    def __init__(self,
                 modalities: Sequence[str],
                 q_base: float = 0.5,
                 lam: float = 0.5,
                 p_exe: float = 0.7,
                 ratio: str = 'mean',
                 **scores) -> None:
        super().__init__(modalities, ratio, **scores)
        for name, value in dict(q_base=q_base, p_exe=p_exe).items():
            if not 0 <= value <= 1:
                raise ValueError(
                    f'OPM.{name} must be in [0, 1], but got {value}')
        if not lam >= 0:
            raise ValueError(f'OPM.lam must not be negative, but got {lam}')
        self.q_base, self.lam, self.p_exe = q_base, lam, p_exe

    def weigh(self, ratios: Tensor) -> Tensor:
        q = self.q_base * (1 + self.lam * torch.tanh(ratios - 1))
        k = 1 - self.p_exe * q.clamp(max=1)
        return k.where(ratios > 1, torch.ones_like(k))
