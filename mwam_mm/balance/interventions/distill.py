"""The prediction from a subset is pulled to that from the complete input."""
from typing import Any, Dict, Iterator, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    interpolate,
    log_softmax,
    logsigmoid,
    mse_loss,
)

from mwam_mm.models.backbones import BranchOutputs, flatten_levels
from mwam_mm.models.joined import Group, JoinedForward, splittable_heads
from mwam_mm.registry import INTERVENTIONS

from ..signal import Signal
from .base import Context, Intervention
from .subsets import SubsetChoice

__all__ = ['Distill']


@INTERVENTIONS.register_module(name='distill')
class Distill(Intervention):
    r"""Pull what the model makes of a subset to what it makes of all.

    With ``on='logits'`` it adds, for each subset s,

    .. math::
        w T^2 \mathrm{KL}(\sigma(z_o / T) \| \sigma(z_s / T)),

    with the logits :math:`z_o` of the complete input detached. In
    segmentation it is the mean over the pixels that are not ignored; in
    one-stage detection it is of the class scores of the same locations, each
    location weighted by its highest score. ``on='features'`` adds the mean
    squared difference of what the neck hands to the heads, as the mean over
    levels, for any model.

    With ``'combination'`` the subsets are those that it trains, and no pass
    is added. Without, they are those of ``subsets``. The losses appear in the
    log as ``rgb.loss_distill``, multiplied by their weight.

    Args:
        on (str): ``'logits'`` or ``'features'``. Defaults to ``'logits'``.
        weight (float): Factor of the losses. Defaults to 1.
        temperature (float): T. Defaults to 1.
        weights (str): ``'even'``, or ``'k'``: the loss of a modality alone
            is multiplied by its K, or it is drawn by K. Defaults to
            ``'even'``.
        subsets (str, optional): As in :class:`Combination`, without which it
            may be given only. Defaults to None, ``'singles'``.

    Raises:
        ValueError: If an argument is none of these.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.MWAMHook',
                     intervention=['combination',
                                   dict(type='distill', temperature=2.)])
            ]
    """

    def __init__(self,
                 on: str = 'logits',
                 weight: float = 1.,
                 temperature: float = 1.,
                 weights: str = 'even',
                 subsets: Optional[str] = None) -> None:
        if on not in ('logits', 'features'):
            raise ValueError(f'"distill": on={on!r}, but known are '
                             "['logits', 'features']")
        if weight < 0 or temperature <= 0:
            raise ValueError(
                f'"distill": weight={weight} must not be negative and '
                f'temperature={temperature} must be positive')
        self.on, self.weight, self.temperature = on, weight, temperature
        self._subsets = subsets
        self.choice = SubsetChoice(subsets or 'singles', weights, 'distill')

    def check(self, context: Context) -> None:
        self.choice.check(context)
        if self._subsets and 'combination' in context.interventions:
            raise ValueError(
                f'{context.where} "distill" takes the subsets of '
                '"combination": leave out distill.subsets')
        if self.on == 'logits' and _predicting_head(context.model) is None:
            raise ValueError(
                f'{context.where} "distill" finds no logits in '
                f'{type(context.model).__name__} that belong to the same '
                "places for all subsets: set on='features'")

    def attach(self, context: Context) -> None:
        super().attach(context)
        self.choice.attach(context)
        self._head = _predicting_head(context.model)

    def at_features(self, signal: Signal,
                    outputs: BranchOutputs) -> BranchOutputs:
        if 'combination' not in self.context.interventions:
            self.choice.ask(signal, outputs.present)
        return outputs

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        if signal.joined is None:
            return losses  # not called for losses
        distance = self._of_features if self.on == 'features' else \
            self._of_maps if _is_dense(self._head) else self._of_pixels
        weights = self.choice.weights(signal)
        return {
            **losses, **{
                f'{name}.loss_distill':
                self.weight * weight * distance(signal.joined,
                                                signal.joined.groups[name])
                for name, weight in weights.items()
            }
        }

    def state_dict(self) -> Dict[str, Any]:
        return self.choice.state_dict()

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.choice.load_state_dict(state_dict)

    def _of_features(self, joined: JoinedForward, group: Group) -> Tensor:
        pairs = zip(
            flatten_levels(joined.take(joined.fused, group.places)),
            flatten_levels(joined.take(joined.fused, group.rows)))
        return torch.stack([
            mse_loss(subset.float(),
                     complete.detach().float()) for subset, complete in pairs
        ]).mean()

    def _of_pixels(self, joined: JoinedForward, group: Group) -> Tensor:
        labels = torch.stack([
            joined.data_samples[i].gt_sem_seg.data for i in group.rows
        ]).float()
        binary = self._head.out_channels == 1
        means = []
        for subset, complete in self._pairs(joined, group):
            valid = interpolate(labels, subset.shape[2:])[:, 0]
            valid = (valid != self._head.ignore_index).float()
            kl = self._divergence(subset, complete, 1, binary)
            means.append((kl * valid).sum() / valid.sum().clamp(min=1))
        return torch.stack(means).mean()

    def _of_maps(self, joined: JoinedForward, group: Group) -> Tensor:
        classes = self._head.cls_out_channels
        binary = self._head.use_sigmoid_cls
        total, weights = 0., 0.
        for subset, complete in self._pairs(joined, group):
            # Several anchors at a location, each with its classes.
            subset, complete = (x.unflatten(1, (-1, classes))
                                for x in (subset, complete))
            kl = self._divergence(subset, complete, 2, binary)
            scores = complete.sigmoid() if binary else complete.softmax(
                2)[:, :, :-1]  # the last is the background
            weight = scores.amax(2)
            total = total + (weight * kl).sum()
            weights = weights + weight.sum()
        return total / weights

    def _pairs(self, joined: JoinedForward,
               group: Group) -> Iterator[Tuple[Tensor, Tensor]]:
        """Logits from the subset and, detached, from the complete input."""
        logits = joined.predictions(self._head)
        if _is_dense(self._head):
            logits = logits[0]  # as all dense heads return: scores first
        for x in flatten_levels(logits):
            if _is_dense(self._head) or (
                    x.ndim == 4 and x.size(1) == self._head.out_channels):
                yield (joined.take(x, group.places).float(),
                       joined.take(x, group.rows).detach().float())

    def _divergence(self, subset: Tensor, complete: Tensor, dim: int,
                    binary: bool) -> Tensor:
        """KL from the complete prediction's distribution, times T^2."""
        t = self.temperature
        if binary:  # of each class by itself
            p = (complete / t).sigmoid()
            kl = p * (logsigmoid(complete / t) - logsigmoid(subset / t)) + (
                1 - p) * (logsigmoid(-complete / t) - logsigmoid(-subset / t))
        else:
            log_p = log_softmax(complete / t, dim)
            kl = log_p.exp() * (log_p - log_softmax(subset / t, dim))
        return kl.sum(dim) * t**2


def _predicting_head(model: nn.Module) -> Optional[nn.Module]:
    """The head that gives a model's prediction, if its logits belong to the
    same places whatever the features are."""
    heads = splittable_heads(model)
    for name in ('decode_head', 'bbox_head'):
        head = getattr(model, name, None)
        if isinstance(head, nn.ModuleList):  # a cascade
            head = head[-1]
        if head in heads and (not _is_dense(head)
                              or hasattr(head, 'use_sigmoid_cls')):
            return head
    return None


def _is_dense(head: nn.Module) -> bool:
    return hasattr(head, 'cls_out_channels')
