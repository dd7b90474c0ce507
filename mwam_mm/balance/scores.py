"""How well the model predicts from each modality alone."""
from typing import Dict, Optional, Sequence, Tuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from .predictions import (
    gives_logits_of_labels,
    has_labels,
    head_of,
    labelled,
    logits_of,
    loss_of,
)
from .signal import Signal

__all__ = ['BY_IMAGES', 'KINDS', 'Scores', 'kind_of_score']

#: What a score is: the probability of the label, or exp(-loss).
KINDS = ('auto', 'probability', 'loss')
#: What to use with models that give no scores, see `Probe.require_host`.
BY_IMAGES = 'a weigher that goes by the images, such as mwam_mm.MWAM'
# Probabilities are at least this, so that their logarithms are finite.
_TINY = 1e-8


def kind_of_score(kind: str, signal: Signal) -> str:
    """What a model's scores are.

    Args:
        kind (str): One of :data:`KINDS`.
        signal (Signal): A forward for losses.

    Returns:
        str: ``'probability'`` or ``'loss'``.

    Raises:
        ValueError: If the model gives no logits for ``'probability'``.
    """
    if kind == 'loss':
        return kind
    found = gives_logits_of_labels(signal)
    if kind == 'probability' and not found:
        raise ValueError(
            'score="probability" needs a model that gives one map of '
            'logits, of shape (N, num_classes, H, W), and data samples '
            'with gt_sem_seg, or logits of shape (N, num_classes) and one '
            'gt_label that is not mixed: use score="loss", exp(-loss)')
    return 'probability' if found else 'loss'


class Scores:
    r"""The score of each modality alone, as a logarithm.

    The model's own neck and heads predict from the features of one modality,
    which are there already, without gradient. The score is

    - ``'probability'``: in segmentation, the mean of the predicted
      probability p(y) of the label over all pixels that are not ignored; in
      classification, that over the images;
    - ``'loss'``: on any model, exp(-loss).

    Samples without a modality do not count for it. Sums and counts are
    reduced over the ranks, so every rank has the same scores. A modality that
    no sample has keeps its last score.

    Args:
        modalities (Sequence[str]): The modalities' names.
        score (str): ``'probability'``, ``'loss'`` or ``'auto'``: the first
            where the model gives one map of logits for labels of pixels or
            one vector for the label of the image, else the second. Defaults
            to ``'auto'``.
        class_mean (bool): Whether p(y) is averaged within each class first,
            so that a frequent class does not decide. Defaults to False.
        losses (str): The losses that have this in their name count. Defaults
            to ``'loss'``, all.

    Raises:
        ValueError: If ``score`` is unknown, or ``class_mean`` is for a loss.
            In training, if no loss has ``losses`` in its name, or the model
            gives no logits for ``'probability'``.
    """

    def __init__(self,
                 modalities: Sequence[str],
                 score: str = 'auto',
                 class_mean: bool = False,
                 losses: str = 'loss') -> None:
        if score not in KINDS:
            raise ValueError(f'score={score!r} is none of {list(KINDS)}')
        if class_mean and score == 'loss':
            raise ValueError('class_mean=True is for score="probability": a '
                             'loss is not split by class')
        self.modalities = tuple(modalities)
        self.kind = score
        self.class_mean = class_mean
        self.losses = losses
        self._last: Optional[Tensor] = None
        self._begun = False

    def observe(self, signal: Signal) -> None:
        """Take in one training forward.

        Args:
            signal (Signal): What it offers.
        """
        unknown = torch.full_like(signal.weights, float('nan'))
        self._last = unknown if self._last is None else \
            self._last.to(unknown.device)
        if not has_labels(signal):
            self._sums = torch.zeros_like(unknown)[:, None]
            self._counts = torch.zeros_like(self._sums)
            return
        if not self._begun:
            self._begin(signal)
        score = self._loss if self.kind == 'loss' else self._probability
        pairs = [score(signal, name) for name in self.modalities]
        self._sums, self._counts = (torch.stack(x) for x in zip(*pairs))

    def step(self) -> Tensor:
        """End the batch. Every rank must call it.

        Returns:
            Tensor: Logarithm of the scores, shape (M,), float32; NaN for a
            modality that no sample had so far.
        """
        all_reduce(self._sums)
        all_reduce(self._counts)
        # Classes without a pixel do not count.
        means = self._sums / self._counts
        known = self._counts > 0
        mean = means.where(known, means.new_zeros(())).sum(1) / known.sum(1)
        log = -mean if self.kind == 'loss' else mean.clamp(min=_TINY).log()
        self._last = torch.where(log.isfinite(), log, self._last)
        return self._last

    @property
    def values(self) -> Tensor:
        """Tensor: The newest scores, shape (M,)."""
        if self._last is None:
            return torch.full((len(self.modalities), ), float('nan'))
        return self._last.exp()

    def state_dict(self) -> Dict[str, Tensor]:
        """Modality to the logarithm of its score."""
        return {} if self._last is None else dict(
            zip(self.modalities, self._last.clone()))

    def load_state_dict(self, state_dict: Dict[str, Tensor]) -> None:
        """Restore :meth:`state_dict`."""
        if state_dict:
            self._last = torch.stack(
                [state_dict[name].float() for name in self.modalities])

    def _begin(self, signal: Signal) -> None:
        self._begun = True
        self.kind = kind_of_score(self.kind, signal)
        if self.class_mean and self.kind == 'loss':
            raise ValueError('class_mean=True needs a model that gives one '
                             'map of logits for labels of pixels')

    def _loss(self, signal: Signal, name: str) -> Tuple[Tensor, Tensor]:
        """Sum of the loss over the samples and their number, shape (1,)."""
        rows, loss = loss_of(signal, name, key=self.losses)
        if not rows:
            loss = signal.weights.new_zeros(())
        # A loss that is not finite is left out, so that one bad batch does not
        # last.
        ok = loss.isfinite()
        loss = loss.where(ok, torch.zeros_like(loss))
        return len(rows) * loss[None], len(rows) * ok[None].float()

    def _probability(self, signal: Signal,
                     name: str) -> Tuple[Tensor, Tensor]:
        """Sum of p(y) over pixels and their number, shape (num_classes,) or
        (1,)."""
        rows, logits = logits_of(signal, name)
        groups = head_of(signal).num_classes if self.class_mean else 1
        if not rows:
            nothing = signal.weights.new_zeros(groups)
            return nothing, nothing
        found = labelled(signal, rows, logits)
        p = found.log_p.exp()
        ok = found.valid & p.isfinite()
        p = p.where(ok, torch.zeros_like(p))
        if not self.class_mean:
            return p.sum()[None], ok.sum()[None].float()
        masks = [ok & (found.labels == c) for c in range(groups)]
        return (torch.stack([(p * mask).sum() for mask in masks]),
                torch.stack([mask.sum() for mask in masks]).float())
