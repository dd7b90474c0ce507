"""The model's own losses of the complete input and of subsets."""
from typing import Any

from mwam_mm.models.subsets import times
from mwam_mm.registry import INTERVENTIONS

from ..signal import Signal
from .base import Context
from .subsets import OnSubsets

__all__ = ['Combination']


@INTERVENTIONS.register_module(name='combination')
class Combination(OnSubsets):
    r"""Train the model's own neck and heads on subsets of the modalities.

    .. math::
        L = L(y, y_o) + \sum_m w_m L(y, y_m)

    where :math:`y_m` is what the model's own neck and heads make of modality
    m alone. The branches run once. Neck and heads see the complete batch and
    the subsets joined, so that normalisation layers meet the mixture that
    they meet in use; see :class:`JoinedForward` for heads whose losses cannot
    be split by sample. There is no parameter and nothing to save.

    The losses appear in the log as ``rgb.<name>``, or ``paired.<name>``,
    multiplied by their weight.

    Args:
        subsets (str): ``'singles'``: each modality alone, on the samples that
            have it. ``'paired'``: each sample once more with one modality
            drawn from those that it has, which costs one more pass of neck
            and heads however many modalities there are. Defaults to
            ``'singles'``.
        weights (str): ``'even'``, or ``'k'``: a modality's losses are
            multiplied by its K, or it is drawn in proportion to the K of the
            iteration before. Defaults to ``'even'``.
        reduction (str): ``'sum'``, or ``'mean'``: the model's own losses, of
            the complete input and of subsets, are divided by their number,
            1 + M for singles and 2 for pairs. Defaults to ``'sum'``.

    Raises:
        ValueError: If an argument is none of these. When training starts, if
            another intervention trains the same losses.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.MWAMHook',
                     intervention=dict(type='combination', weights='k'))
            ]
    """
    name = 'combination'

    def __init__(self,
                 subsets: str = 'singles',
                 weights: str = 'even',
                 reduction: str = 'sum') -> None:
        super().__init__(subsets, weights)
        if reduction not in ('sum', 'mean'):
            raise ValueError(f'"combination": reduction={reduction!r}, but '
                             "known are ['sum', 'mean']")
        self.reduction = reduction

    def check(self, context: Context) -> None:
        super().check(context)
        if self.kind == 'singles' and 'loss' in context.interventions:
            raise ValueError(
                f'{context.where}: "combination" and "loss" both add the '
                'losses of each modality alone, under the same names: name '
                'one of them, or set combination.subsets="paired"')

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        if signal.joined is None:
            return losses  # the model was not called for losses
        share = 1.
        if self.reduction == 'mean':
            share = 1 / (1 + len(self.subset_names(signal)))
        own, added = {}, {}
        for name, weight in self.subset_weights(signal).items():
            of_subset = signal.joined.losses(name)
            # The other losses were added by interventions that came before.
            own.update({k: losses[k] for k in of_subset if k in losses})
            added.update(times(
                share * weight,
                of_subset,
                only_losses=signal.joined.groups[name].idle,
                prefix=f'{name}.'))
        return {**losses, **times(share, own), **added}
