"""AGM: gradients modulated by what each modality contributes."""
from itertools import combinations
from math import factorial
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mwam_mm.layout import to_device
from mwam_mm.models.subsets import rows_with, take_rows
from mwam_mm.registry import WEIGHERS

from ..predictions import has_labels, labelled, logits_of, loss_of
from ..probes import Probe
from ..scores import BY_IMAGES, KINDS, kind_of_score
from ..signal import Signal
from .base import Weigher

__all__ = ['AGM', 'modulation', 'shapley_weights']

# The exponential of more exceeds float32.
_LARGEST = 80.
_TINY = 1e-8


def shapley_weights(members: int) -> List[float]:
    """What a subset of the others counts in a Shapley value.

    Args:
        members (int): Number M of modalities.

    Returns:
        list[float]: For subsets S without the modality, of 0 to M - 1
        members: |S|! (M - |S| - 1)! / M!.

    Examples:
        >>> [round(w, 4) for w in shapley_weights(3)]
        [0.3333, 0.1667, 0.3333]
    """
    return [
        factorial(size) * factorial(members - size - 1) / factorial(members)
        for size in range(members)
    ]


def modulation(scores: Tensor, reference: Tensor, alpha: float,
               cap: float) -> Tensor:
    r"""K from the scores and their running means.

    Args:
        scores (Tensor): Cross-entropy s of what each modality contributes,
            shape (M,). NaN where unknown.
        reference (Tensor): Their running means, shape (M,).
        alpha (float): How strongly K acts.
        cap (float): The largest exponent of K.

    Returns:
        Tensor: K of shape (M,): :math:`e^{-\alpha (r_m - \tau_m)}` with
        :math:`r_m = e^{M / (M - 1) (\bar s - s_m)}` and :math:`\tau` the same
        of the means; 1 where a score is unknown.
    """

    def ratio(s: Tensor) -> Tensor:
        known = len(s) / (len(s) - 1) * (s.nanmean() - s)
        return known.clamp(max=_LARGEST).exp()

    exponent = alpha * (ratio(reference) - ratio(scores))
    # A score that is unknown says nothing of the others either.
    known = ~scores.isnan().any()
    return torch.where(known, exponent.clamp(max=cap).exp(),
                       torch.ones_like(exponent))


@WEIGHERS.register_module()
class AGM(Weigher):
    r"""Adaptive gradient modulation.

    What modality m contributes to the logits o is its Shapley value,

    .. math::
        \phi_m = \sum_{S \not\ni m} \frac{|S|! (M - |S| - 1)!}{M!}
        (o(S \cup m) - o(S)),

    with o of nothing left out. From its cross-entropy :math:`s_m`, the mean
    over the batch, and the mean :math:`\hat s_m` over all iterations so far

    .. math::
        K_m = e^{-\alpha (r_m - \tau_m)}, \quad
        r_m = e^{\frac{M}{M - 1} (\bar s - s_m)}, \quad
        \tau_m = e^{\frac{M}{M - 1} (\bar{\hat s} - \hat s_m)},

    from `Boosting Multi-modal Model Performance with Adaptive Gradient
    Modulation <https://arxiv.org/abs/2308.07686>`_. The heads run on
    2^M - 1 subsets, without gradient.

    On models without one map of logits for each sample, as detectors are,
    :math:`s_m` is the loss of m alone. For two modalities that is the Shapley
    value of the losses: only differences of s count.

    Args:
        modalities (Sequence[str]): The modalities' names, two or more.
        alpha (float): Not negative. Published: 1 to 2.5. Defaults to 1.
        cap (float): The largest exponent of K. Defaults to 10. The released
            code has the same at alpha 1, and elsewhere alpha times as much.
        score (str): ``'probability'`` for the Shapley value of the logits,
            ``'loss'``, or ``'auto'``: the first where the model allows it.
            Defaults to ``'auto'``.
        losses (str): With ``'loss'``, the losses that have this in their name
            count. Defaults to ``'loss'``, all.

    Raises:
        ValueError: If ``alpha`` or ``cap`` is negative or not finite, there
            is one modality only, or ``score`` is unknown. In training, if the
            model gives no logits for ``'probability'``.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.AGM', alpha=1.0),
                     intervention='gradient')
            ]
    """

    def __init__(self,
                 modalities: Sequence[str],
                 alpha: float = 1.,
                 cap: float = 10.,
                 score: str = 'auto',
                 losses: str = 'loss') -> None:
        super().__init__(modalities)
        if len(self.modalities) < 2:
            raise ValueError('AGM compares modalities, but there is only '
                             f'{list(self.modalities)}')
        for name, value in dict(alpha=alpha, cap=cap).items():
            if not 0 <= value < float('inf'):
                raise ValueError(f'AGM.{name} must be finite and not '
                                 f'negative, but got {value}')
        if score not in KINDS:
            raise ValueError(f'AGM.score={score!r} is none of {list(KINDS)}')
        self.alpha, self.cap = alpha, cap
        self.kind, self.losses = score, losses
        self._begun = False
        self.scores = torch.full((len(self.modalities), ), float('nan'))
        self.means = self.scores
        self.counts = torch.zeros_like(self.scores)

    def to(self, device: torch.device) -> None:
        self.scores, self.means, self.counts = (
            x.to(device) for x in (self.scores, self.means, self.counts))

    def attach(self, probe: Probe) -> None:
        probe.require_host('AGM', BY_IMAGES)

    def observe(self, signal: Signal) -> None:
        if not has_labels(signal):
            self._sums = torch.zeros_like(self.scores)
            self._numbers = torch.zeros_like(self.scores)
            return
        if not self._begun:
            self._begun = True
            self.kind = kind_of_score(self.kind, signal)
        pairs = self._shapley(signal) if self.kind == 'probability' else [
            self._alone(signal, name) for name in self.modalities
        ]
        self._sums, self._numbers = (torch.stack(x) for x in zip(*pairs))

    def step(self) -> Tensor:
        all_reduce(self._sums)
        all_reduce(self._numbers)
        scores = self._sums / self._numbers
        seen = scores.isfinite()  # where no sample has it, it is 0 / 0
        self.scores = torch.where(seen, scores, self.scores)
        self.counts = self.counts + seen
        before = torch.where(self.means.isnan(), self.scores, self.means)
        self.means = torch.where(
            seen, before + (self.scores - before) / self.counts, self.means)
        return modulation(self.scores, self.means, self.alpha, self.cap)

    def scalars(self) -> Dict[str, Tensor]:
        return dict(score=self.scores)

    def state_dict(self) -> Dict[str, Any]:
        return dict(
            agm={
                name: dict(score=self.scores[i], mean=self.means[i],
                           count=self.counts[i])
                for i, name in enumerate(self.modalities)
            })

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        saved = [state_dict['agm'][name] for name in self.modalities]
        device = self.scores.device
        self.scores, self.means, self.counts = (
            torch.stack([x[key] for x in saved]).to(device)
            for key in ('score', 'mean', 'count'))

    def _alone(self, signal: Signal, name: str) -> Tuple[Tensor, Tensor]:
        """Sum of the loss over the samples, and their number, 0-d."""
        rows, loss = loss_of(signal, name, key=self.losses)
        number = signal.weights.new_full((), len(rows))
        return (number if loss is None else loss * number), number

    def _shapley(self, signal: Signal) -> List[Tuple[Tensor, Tensor]]:
        """For each modality the sum over pixels of the cross-entropy of its
        Shapley value, and their number, 0-d."""
        parts: Dict[str, Optional[Tensor]] = dict.fromkeys(self.modalities)
        weights = shapley_weights(len(self.modalities))
        batch = len(signal.arguments['data_samples'])
        for size in range(1, len(self.modalities) + 1):
            for subset in combinations(self.modalities, size):
                rows, logits = logits_of(signal, *subset)
                if not rows:
                    continue  # nothing is there: left out
                logits = logits.float()
                whole = logits.new_zeros((batch, *logits.shape[1:]))
                whole.index_copy_(0, to_device(rows, logits, torch.long),
                                  logits)
                for name in self.modalities:
                    share = weights[size - 1] if name in subset else \
                        -weights[size]
                    part = share * whole
                    parts[name] = part if parts[name] is None else \
                        parts[name] + part
        return [self._entropy(signal, name, parts[name])
                for name in self.modalities]

    def _entropy(self, signal: Signal, name: str,
                 part: Tensor) -> Tuple[Tensor, Tensor]:
        rows = rows_with(signal.outputs.present, [name])
        if not rows:
            nothing = signal.weights.new_zeros(())
            return nothing, nothing
        found = labelled(signal, rows, take_rows(part, rows))
        loss = -found.log_p.exp().clamp(min=_TINY).log()
        ok = found.valid & loss.isfinite()
        return loss.where(ok, torch.zeros_like(loss)).sum(), ok.sum().float()
