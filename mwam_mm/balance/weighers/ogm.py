"""OGM: the modality that is ahead learns more slowly."""
from typing import Any, Dict, Sequence

import torch
from torch import Tensor

from mwam_mm.registry import WEIGHERS

from ..probes import Probe
from ..scores import BY_IMAGES, Scores
from ..signal import Signal
from .base import Weigher

__all__ = ['OGM', 'ScoreRatios', 'score_ratios']

_FORMS = ('mean', 'smallest')


def score_ratios(log_scores: Tensor, form: str = 'mean') -> Tensor:
    r"""How far each modality is ahead of the others.

    Args:
        log_scores (Tensor): Logarithm of the scores s, shape (M,). NaN where
            unknown.
        form (str): ``'mean'``, the mean of :math:`s_m / s_j` over the other
            modalities j, or ``'smallest'``, :math:`s_m / \min_j s_j`.

    Returns:
        Tensor: Shape (M,). NaN where it cannot be told.

    Examples:
        >>> import torch
        >>> score_ratios(torch.tensor([0.6, 0.3, 0.2]).log())
        tensor([2.5000, 1.0000, 0.5000])
    """
    if form == 'smallest':
        least = log_scores.nan_to_num(nan=float('inf')).min()
        return (log_scores - least).exp()
    ratios = (log_scores[:, None] - log_scores[None]).exp()
    others = ~torch.eye(
        len(log_scores), dtype=torch.bool, device=log_scores.device)
    others &= ~ratios.isnan()
    return ratios.where(others, ratios.new_zeros(())).sum(1) / others.sum(1)


class ScoreRatios(Weigher):
    """Base of the weighers that compare the scores of single modalities.

    Args:
        modalities (Sequence[str]): The modalities' names.
        ratio (str): What a score is compared to, see :func:`score_ratios`.
        **scores: Arguments of :class:`mwam_mm.balance.scores.Scores`.
    """

    def __init__(self,
                 modalities: Sequence[str],
                 ratio: str = 'mean',
                 **scores) -> None:
        super().__init__(modalities)
        if ratio not in _FORMS:
            raise ValueError(f'{type(self).__name__}.ratio={ratio!r} is none '
                             f'of {list(_FORMS)}')
        self.ratio = ratio
        self.scores = Scores(modalities, **scores)

    def attach(self, probe: Probe) -> None:
        probe.require_host(type(self).__name__, BY_IMAGES)

    def observe(self, signal: Signal) -> None:
        self.scores.observe(signal)

    def step(self) -> Tensor:
        return self.weigh(score_ratios(self.scores.step(), self.ratio))

    def weigh(self, ratios: Tensor) -> Tensor:
        """K from the ratios.

        Args:
            ratios (Tensor): Shape (M,), NaN where unknown.

        Returns:
            Tensor: K of shape (M,).
        """
        raise NotImplementedError

    def scalars(self) -> Dict[str, Tensor]:
        return dict(score=self.scores.values)

    def state_dict(self) -> Dict[str, Any]:
        return dict(scores=self.scores.state_dict())

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.scores.load_state_dict(state_dict['scores'])


@WEIGHERS.register_module()
class OGM(ScoreRatios):
    r"""On-the-fly gradient modulation.

    .. math::
        K_m = 1 - \tanh(\alpha \rho_m) \text{ if } \rho_m > 1, \text{ else } 1

    with :math:`\rho_m` the mean of :math:`s_m / s_j` over the other
    modalities j and s the scores of single modalities, from `Balanced
    Multimodal Learning via On-the-fly Gradient Modulation
    <https://arxiv.org/abs/2203.15332>`_, for more than two modalities from
    `its extension <https://arxiv.org/abs/2410.11582>`_. With the intervention
    ``'noise'`` it is OGM-GE.

    Args:
        modalities (Sequence[str]): The modalities' names.
        alpha (float): Positive. Published: 0.1 on VGGSound, 0.8 on CREMA-D.
            Defaults to 0.1.
        ratio (str): What a score is compared to: ``'mean'`` as above, or
            ``'smallest'``, the smallest score, as BalanceBenchmark does.
            They are the same for two modalities. Defaults to ``'mean'``.
        **scores: Arguments of :class:`mwam_mm.balance.scores.Scores`.

    Raises:
        ValueError: If ``alpha`` is not positive, or ``ratio`` is unknown.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.OGM', alpha=0.1),
                     intervention=['gradient', 'noise'],
                     begin=0, end=51, by_epoch=True)
            ]
    """

    def __init__(self,
                 modalities: Sequence[str],
                 alpha: float = 0.1,
                 ratio: str = 'mean',
                 **scores) -> None:
        super().__init__(modalities, ratio, **scores)
        if not alpha > 0:
            raise ValueError(f'OGM.alpha must be positive, but got {alpha}')
        self.alpha = alpha

    def weigh(self, ratios: Tensor) -> Tensor:
        k = 1 - torch.tanh(self.alpha * ratios)
        return k.where(ratios > 1, torch.ones_like(k))
