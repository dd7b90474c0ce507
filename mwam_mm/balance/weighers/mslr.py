"""MSLR: a learning rate for each modality, by validation."""
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor

from mwam_mm.evaluation import is_higher_better
from mwam_mm.registry import WEIGHERS

from ..metrics import single_metrics
from ..signal import Signal
from .base import Weigher

__all__ = ['MSLR']


@WEIGHERS.register_module()
class MSLR(Weigher):
    r"""Modality-specific learning rates, the dynamic form.

    After each validation

    .. math::
        K_m = k_m \frac{a_m}{\text{mean of the last } n \text{ values of } a_m}

    with :math:`a_m` the metric of modality m alone, this validation among the
    n, from `Modality-specific Learning Rates for Effective Multimodal
    Additive Late-fusion
    <https://aclanthology.org/2022.findings-acl.143>`_. Until the first one K
    is k. For the fixed form use :class:`Constant`. The intervention
    ``'update'`` makes K a factor of the learning rate with any optimizer.

    Note:
        MMEngine saves the checkpoint of an iteration or epoch before it
        validates. A run that resumes from one at which a validation follows
        does not know its metrics.

    Args:
        modalities (Sequence[str]): The modalities' names.
        metric (str): The metric of the validation, such as ``'mIoU'``, of
            which higher is better; for each modality ``'<name>/<metric>'``
            as :class:`MissingModalityValLoop` gives it.
        k (Mapping[str, float], optional): Modality to k, positive. Published
            for audio and video: 0.9 and 1.1. Defaults to None, 1 for each.
        length (int): Number n of validations. Defaults to 5.

    Raises:
        ValueError: If ``k`` names other modalities or has a value that is not
            positive, ``length`` is not positive, or the name of the metric
            says that lower is better. After a validation, if it has no such
            metric.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.MSLR', metric='mIoU'),
                     intervention='update')
            ]
            val_cfg = dict(type='mwam_mm.MissingModalityValLoop')
    """

    needs_images = False

    def __init__(self,
                 modalities: Sequence[str],
                 metric: str,
                 k: Optional[Mapping[str, float]] = None,
                 length: int = 5) -> None:
        super().__init__(modalities)
        self.k = dict.fromkeys(self.modalities, 1.) if k is None else dict(k)
        if set(self.k) != set(self.modalities):
            raise ValueError(f'MSLR.k has factors of {sorted(self.k)}, but '
                             f'the modalities are {list(self.modalities)}')
        wrong = {n: v for n, v in self.k.items() if not 0 < v < float('inf')}
        if wrong:
            raise ValueError('MSLR.k must be finite and positive, but got '
                             f'{wrong}')
        if length < 1:
            raise ValueError(f'MSLR.length must be positive, but got {length}')
        if is_higher_better(metric) is False:
            raise ValueError(
                f'MSLR.metric={metric!r} falls as a modality learns, which '
                'would slow it down: name one of which higher is better')
        self.metric, self.length = metric, length
        self.history: Dict[str, List[float]] = {
            name: [] for name in self.modalities
        }
        self._weights = self._weigh()

    def to(self, device: torch.device) -> None:
        self._weights = self._weights.to(device)

    def observe(self, signal: Signal) -> None:
        pass

    def step(self) -> Tensor:
        return self._weights

    def observe_metrics(self, metrics: Dict[str, Any]) -> None:
        values = single_metrics(metrics, self.metric, self.modalities,
                                'MSLR.metric')
        for name, value in values.items():
            self.history[name] = [*self.history[name], value][-self.length:]
        self._weights = self._weigh().to(self._weights.device)

    def _weigh(self) -> Tensor:
        factors = []
        for name in self.modalities:
            last = self.history[name]
            mean = sum(last) / len(last) if last else 0.
            factors.append(
                self.k[name] * (last[-1] / mean if mean > 0 else 1.))
        return torch.tensor(factors)

    def state_dict(self) -> Dict[str, Any]:
        return dict(mslr={name: list(v) for name, v in self.history.items()})

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.history = {
            name: list(state_dict['mslr'][name]) for name in self.modalities
        }
        self._weights = self._weigh().to(self._weights.device)
