"""LFM: losses of each modality, and agreement between modalities."""
from math import exp
from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from mwam_mm.layout import to_device
from mwam_mm.models.subsets import times
from mwam_mm.registry import INTERVENTIONS

from ..predictions import log_probabilities
from ..signal import Signal
from .subsets import OnSubsets

__all__ = ['LFM', 'jensen_shannon', 'lfm_weights']

# Part of the training to the share of classification that the authors learned
# on CREMA-D in 200 epochs. The released code fits a polynomial to it.
_LEARNED = ((0., 0.205), (0.05, 0.25), (0.1, 0.3), (0.25, 0.44), (0.5, 0.54),
            (0.75, 0.82), (0.9, 1.))
_SCHEDULES = ('learned', 'heuristic')


def lfm_weights(progress: float, schedule: str = 'learned',
                epochs: int = 200) -> Tuple[float, float]:
    r"""The weights of classification and of alignment.

    Args:
        progress (float): Share of training that is over, in [0, 1].
        schedule (str): ``'learned'``, see the note in :class:`LFM`, or
            ``'heuristic'``: :math:`1 - e^{-1/t}` for alignment in epoch t.
        epochs (int): With ``'heuristic'``, how many epochs training counts
            as. Defaults to 200.

    Returns:
        tuple[float, float]: They sum to 1.

    Examples:
        >>> [round(w, 4) for w in lfm_weights(0.075)]
        [0.275, 0.725]
        >>> [round(w, 4) for w in lfm_weights(0., 'heuristic')]
        [0.3679, 0.6321]
    """
    if schedule == 'heuristic':
        share = exp(-1 / (1 + progress * (epochs - 1)))
        return share, 1 - share
    share = _LEARNED[-1][1]
    for (x0, y0), (x1, y1) in zip(_LEARNED, _LEARNED[1:]):
        if progress <= x1:
            share = y0 + (y1 - y0) * (progress - x0) / (x1 - x0)
            break
    return share, 1 - share


def jensen_shannon(log_p: Sequence[Tensor], rows: Sequence[List[int]],
                   samples: int) -> Tensor:
    r"""Jensen-Shannon divergence between the predictions of modalities.

    .. math::
        H(\bar p) - \frac{1}{n} \sum_m H(p_m)

    for each sample over the n modalities that it has, in nats.

    Args:
        log_p (Sequence[Tensor]): For each modality the logarithm of the
            probabilities for the samples that have it, shape (N_m, C, ...).
        rows (Sequence[list[int]]): For each modality, which samples.
        samples (int): Number B of samples.

    Returns:
        Tensor: 0-d, the mean over the pixels of the samples that have two
        modalities or more; 0 where none has.
    """
    counts = [sum(i in r for r in rows) for i in range(samples)]
    several = sum(n > 1 for n in counts)
    like = log_p[0]
    n = to_device([float(max(n, 1)) for n in counts], like, torch.float32)
    n = n.view(-1, *[1] * (like.ndim - 1))
    mean = like.new_zeros((samples, *like.shape[1:]))
    entropy = like.new_zeros((samples, *like.shape[2:]))
    for x, r in zip(log_p, rows):
        index = to_device(r, like, torch.long)
        p = x.exp()
        mean = mean.index_add(0, index, p)
        entropy = entropy.index_add(0, index, -(p * x).sum(1))
    mean = mean / n
    # 0 log 0 is 0, and its gradient as well.
    of_mean = -(mean * mean.clamp(min=1e-12).log()).sum(1)
    # Samples with one modality have 0 here.
    divergence = (of_mean - entropy / n[:, 0]).reshape(samples, -1).mean(1)
    return divergence.sum() / max(several, 1)


@INTERVENTIONS.register_module(name='lfm')
class LFM(OnSubsets):
    r"""Losses of each modality alone, and agreement between them.

    .. math::
        L = L(y, y_o) + w_c \frac{1}{M} \sum_m L(y, y_m)
        + w_a JS(p_1, \dots, p_M),

    where :math:`y_m` is what the model's own neck and heads make of modality
    m alone, :math:`p_m` its class probabilities, and JS their Jensen-Shannon
    divergence at each pixel. From `Facilitating Multimodal Classification via
    Dynamically Learning Modality Gap
    <https://papers.nips.cc/paper_files/paper/2024/hash/71b17f00017da0d73823ccf7fbce2d4f-Abstract-Conference.html>`_.

    It is adapted: the original has no joint head, but predicts by the mean of
    the modalities' logits. The bi-level form that learns the weights is not
    here. K does not act on it.

    Note:
        With ``schedule='learned'`` the weights are those that the authors
        learned on CREMA-D, by the share of training that is over:
        :math:`w_c` is 0.205 at the start, 0.25 at 5 %, 0.3 at 10 %, 0.44 at
        25 %, 0.54 at 50 %, 0.82 at 75 % and 1 from 90 % on, straight in
        between; :math:`w_a = 1 - w_c`. ``'heuristic'`` is the form of the
        text, :math:`w_a = 1 - e^{-1/t}` in epoch t.

    Args:
        schedule (str): ``'learned'`` or ``'heuristic'``. Defaults to
            ``'learned'``, as in the released code.
        epochs (int): With ``'heuristic'``, how many epochs the training
            counts as, whatever its length. Defaults to 200, as published.
        weights (Sequence[float], optional): Fixed :math:`w_c` and
            :math:`w_a`, instead of a schedule. Defaults to None.

    Raises:
        ValueError: If ``schedule`` is unknown, ``epochs`` is not positive, or
            ``weights`` are not two that are not negative. When training
            starts, if the model has no :class:`MWAMNeck`; in the first
            iteration, if it gives no logits of classes, as detectors do.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.Constant'),
                     intervention='lfm')
            ]
    """
    name = 'lfm'

    def __init__(self,
                 schedule: str = 'learned',
                 epochs: int = 200,
                 weights: Optional[Sequence[float]] = None) -> None:
        if schedule not in _SCHEDULES:
            raise ValueError(f'lfm.schedule={schedule!r} is none of '
                             f'{list(_SCHEDULES)}')
        if epochs < 1:
            raise ValueError(f'lfm.epochs must be positive, but got {epochs}')
        if weights is not None and (len(weights) != 2 or min(weights) < 0):
            raise ValueError('lfm.weights are that of classification and that '
                             f'of alignment, not negative, but got {weights}')
        super().__init__()
        self.schedule, self.epochs, self.weights = schedule, epochs, weights

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        if signal.joined is None:
            return losses  # the model was not called for losses
        runner, joined = self.context.runner, signal.joined
        classify, align = self.weights or lfm_weights(
            runner.iter / runner.max_iters, self.schedule, self.epochs)
        losses = dict(losses)
        alone = {name: joined.groups[name] for name in signal.modalities
                 if name in joined.groups}
        number = sum(not group.idle for group in alone.values())
        log_p, rows = [], []
        for name, group in alone.items():
            weight = 0. if group.idle else classify / number
            losses.update(times(weight, joined.losses(name), only_losses=True,
                                prefix=f'alone_{name}.'))
            logits = joined.logits(name)
            self._check_logits(logits)
            if not group.idle:
                log_p.append(log_probabilities(logits))
                rows.append(group.rows)
        losses['lfm.loss_align'] = align * jensen_shannon(
            log_p, rows, len(signal.arguments['data_samples']))
        return losses

    def _check_logits(self, logits: Any) -> None:
        if not isinstance(logits, Tensor) or logits.ndim not in (2, 4):
            raise ValueError(
                f'{self.context.where} "lfm" aligns class logits of shape '
                '(N, C, H, W) or (N, C), but with mode="tensor" the model '
                f'gives {type(logits).__name__}: use "mmpareto" or "loss"')
