"""The prediction from a subset is pulled to that from the complete input."""
from typing import Any, Iterator, List, Optional, Tuple

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
from .base import Context
from .boxes import boxes_of, giou, gives_boxes
from .subsets import OnSubsets, training_subsets

__all__ = ['Distill', 'predicting_head']


@INTERVENTIONS.register_module(name='distill')
class Distill(OnSubsets):
    r"""Pull what the model makes of a subset to what it makes of all.

    With ``on='logits'`` it adds, for each subset s,

    .. math::
        w T^2 \mathrm{KL}(\sigma(z_o / T) \| \sigma(z_s / T)),

    with the logits :math:`z_o` of the complete input detached; where the
    head's losses use a sigmoid, the sum over the classes, each by itself. In
    segmentation it is the mean over the pixels that are not ignored, in
    classification over the images; in one-stage detection it is of the class
    scores of the same locations, each location weighted by its highest score.
    There ``box_weight`` adds the boxes of these locations, with 1 - GIoU of
    the two as the distance, weighted alike. ``on='features'`` adds the mean
    squared difference of what the neck hands to the heads, as the mean over
    levels, for any model.

    With ``'combination'``, ``'lfm'`` or ``'mmpareto'`` the subsets are those
    that it trains, and no pass is added. Without, they are those of
    ``subsets``. The losses appear in the
    log as ``rgb.loss_distill`` and ``rgb.loss_distill_box``, multiplied by
    their weight.

    Args:
        on (str): ``'logits'`` or ``'features'``. Defaults to ``'logits'``.
        weight (float): Factor of the losses. Defaults to 1.
        temperature (float): T. Defaults to 1.
        weights (str): ``'even'``, or ``'k'``: the loss of a modality alone
            is multiplied by its K, or it is drawn by K. Defaults to
            ``'even'``.
        subsets (str, optional): As in :class:`Combination`. Only where no
            other intervention trains subsets. Defaults to None,
            ``'singles'``.
        box_weight (float): Factor of the boxes' losses, for one-stage
            detectors and ``on='logits'``. Defaults to 0, no boxes.

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
    name = 'distill'

    def __init__(self,
                 on: str = 'logits',
                 weight: float = 1.,
                 temperature: float = 1.,
                 weights: str = 'even',
                 subsets: Optional[str] = None,
                 box_weight: float = 0.) -> None:
        if on not in ('logits', 'features'):
            raise ValueError(f'"distill": on={on!r}, but known are '
                             "['logits', 'features']")
        for key, value in (('weight', weight), ('box_weight', box_weight)):
            if value < 0:
                raise ValueError(
                    f'"distill": {key}={value} must not be negative')
        if temperature <= 0:
            raise ValueError(
                f'"distill": temperature={temperature} must be positive')
        if box_weight and on == 'features':
            raise ValueError(f'"distill": box_weight={box_weight} goes with '
                             "on='logits', not with on='features'")
        self.on, self.weight, self.temperature = on, weight, temperature
        self.box_weight, self._subsets = box_weight, subsets
        super().__init__(subsets or 'singles', weights)

    def check(self, context: Context) -> None:
        super().check(context)
        self._given = training_subsets(context)
        if self._subsets and self._given:
            raise ValueError(
                f'{context.where} "distill" takes the subsets of '
                f'"{self._given[0]}": leave out distill.subsets')
        if self.on == 'logits' and predicting_head(context.model) is None:
            raise ValueError(
                f'{context.where} "distill" finds no logits in '
                f'{type(context.model).__name__} that belong to the same '
                "places for all subsets: set on='features'")
        if self.box_weight and not gives_boxes(
                predicting_head(context.model)):
            head = type(predicting_head(context.model)).__name__
            raise ValueError(
                f'{context.where} "distill" does not know how {head} codes '
                'boxes of the same places, if it has any: set '
                'distill.box_weight=0')

    def attach(self, context: Context) -> None:
        super().attach(context)
        self._head = head = predicting_head(context.model)
        if self.on == 'features':
            distance = self._of_features
        elif _is_dense(head):
            distance = self._of_maps
        elif _is_classifier(head):
            distance = self._of_images
        else:
            distance = self._of_pixels
        self._terms = dict(loss_distill=(self.weight, distance))
        if self.box_weight:
            self._terms['loss_distill_box'] = self.box_weight, self._of_boxes

    def at_features(self, signal: Signal,
                    outputs: BranchOutputs) -> BranchOutputs:
        if self._given:
            return outputs
        return super().at_features(signal, outputs)

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        if signal.joined is None:
            return losses  # the model was not called for losses
        if self._given:
            self.kind = 'paired' if 'paired' in signal.subsets else 'singles'
        joined = signal.joined
        added = {
            f'{name}.{key}': factor * weight * distance(
                joined, joined.groups[name])
            for name, weight in self.subset_weights(signal).items()
            for key, (factor, distance) in self._terms.items()
        }
        return {**losses, **added}

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
        binary = self._head.out_channels == 1 or _by_class(
            self._head.loss_decode)
        means = []
        for subset, complete in self._pairs(joined, group):
            valid = interpolate(labels, subset.shape[2:])[:, 0]
            valid = (valid != self._head.ignore_index).float()
            kl = self._divergence(subset, complete, 1, binary)
            means.append((kl * valid).sum() / valid.sum().clamp(min=1))
        return torch.stack(means).mean()

    def _of_images(self, joined: JoinedForward, group: Group) -> Tensor:
        binary = _by_class(self._head.loss_module)
        return torch.stack([
            self._divergence(subset, complete, 1, binary).mean()
            for subset, complete in self._pairs(joined, group)
        ]).mean()

    def _of_maps(self, joined: JoinedForward, group: Group) -> Tensor:
        binary = self._head.use_sigmoid_cls
        pairs = list(self._pairs(joined, group))
        return _weighted_mean([
            self._divergence(*(self._classes(x) for x in pair), 2, binary)
            for pair in pairs
        ], [self._score(complete) for _, complete in pairs])

    def _of_boxes(self, joined: JoinedForward, group: Group) -> Tensor:
        codes = flatten_levels(joined.predictions(self._head)[1])
        subset = boxes_of(self._head,
                          [joined.take(x, group.places) for x in codes])
        complete = boxes_of(
            self._head, [joined.take(x, group.rows).detach() for x in codes])
        return _weighted_mean(
            [1 - giou(a, b) for a, b in zip(subset, complete)], [
                self._score(logits).permute(0, 2, 3, 1)
                for _, logits in self._pairs(joined, group)
            ])

    def _classes(self, logits: Tensor) -> Tensor:
        """Shape (B, A, C, H, W): several anchors at a location, each with its
        classes."""
        return logits.unflatten(1, (-1, self._head.cls_out_channels))

    def _score(self, logits: Tensor) -> Tensor:
        """The highest score of each anchor, shape (B, A, H, W)."""
        logits = self._classes(logits)
        if self._head.use_sigmoid_cls:
            return logits.sigmoid().amax(2)
        # The last class is the background.
        return logits.softmax(2)[:, :, :-1].amax(2)

    def _pairs(self, joined: JoinedForward,
               group: Group) -> Iterator[Tuple[Tensor, Tensor]]:
        """Logits from the subset and, detached, from the complete input."""
        logits = joined.predictions(self._head)
        if _is_dense(self._head):
            logits = logits[0]  # all dense heads return the scores first
        for x in flatten_levels(logits):
            if _is_dense(self._head) or _is_classifier(self._head) or (
                    x.ndim == 4 and x.size(1) == self._head.out_channels):
                yield (joined.take(x, group.places).float(),
                       joined.take(x, group.rows).detach().float())

    def _divergence(self, subset: Tensor, complete: Tensor, dim: int,
                    binary: bool) -> Tensor:
        """KL from the complete prediction's distribution, times T^2."""
        t = self.temperature
        if binary:  # each class is a distribution by itself
            p = (complete / t).sigmoid()
            kl = p * (logsigmoid(complete / t) - logsigmoid(subset / t)) + (
                1 - p) * (logsigmoid(-complete / t) - logsigmoid(-subset / t))
        else:
            log_p = log_softmax(complete / t, dim)
            kl = log_p.exp() * (log_p - log_softmax(subset / t, dim))
        return kl.sum(dim) * t**2


def _weighted_mean(values: List[Tensor], weights: List[Tensor]) -> Tensor:
    """Over all levels together."""
    total = sum((w * x).sum() for w, x in zip(weights, values))
    return total / sum(w.sum() for w in weights)


def predicting_head(model: nn.Module) -> Optional[nn.Module]:
    """The head whose logits ``distill`` compares.

    Args:
        model (nn.Module): A model of OpenMMLab.

    Returns:
        nn.Module, optional: The head that gives the model's prediction. None
        if its logits do not belong to the same places whatever the features
        are, as those of two-stage and DETR-like detectors.
    """
    heads = splittable_heads(model)
    for name, gives_logits in (('decode_head', _is_decoder),
                               ('bbox_head', _is_dense),
                               ('head', _is_classifier)):
        head = getattr(model, name, None)
        if isinstance(head, nn.ModuleList):  # a cascade
            head = head[-1]
        if head in heads and gives_logits(head):
            return head
    return None


def _by_class(losses: nn.Module) -> bool:
    """Whether a head's losses take a probability of each class by itself, a
    sigmoid, and not one distribution over all classes."""
    if isinstance(losses, nn.ModuleList):
        # A dice loss may use a sigmoid beside a cross-entropy that does not.
        return all(map(_by_class, losses))
    losses = getattr(losses, 'ce', losses)  # MMPretrain's LabelSmoothLoss
    # MMPretrain's FocalLoss always uses a sigmoid and has no attribute that
    # says so.
    return getattr(losses, 'use_sigmoid',
                   type(losses).__name__ == 'FocalLoss')


def _is_decoder(head: nn.Module) -> bool:
    return hasattr(head, 'ignore_index')  # all heads of MMSegmentation have it


def _is_classifier(head: nn.Module) -> bool:
    """Not what estimates numbers, which are no logits."""
    # All heads of MMPretrain have `pre_logits`.
    return hasattr(head, 'pre_logits') and not any(
        cls.__name__ == 'RegressionHead' for cls in type(head).__mro__)


def _is_dense(head: nn.Module) -> bool:
    """Not YOLOv3 and what marks points, whose outputs are others, and not
    TOOD, which gives probabilities."""
    return hasattr(head, 'cls_out_channels') and hasattr(
        head, 'use_sigmoid_cls') and not any(
            cls.__name__ == 'TOODHead' for cls in type(head).__mro__)
