"""The weighted loss (Eq. 7): heads of each modality's own, in training."""
import copy
from typing import Any, Dict, Mapping, Sequence, Union

import torch
from mmengine.runner.checkpoint import get_state_dict
from torch import Tensor, nn

from mwam_mm.registry import MODELS

from .backbones import BranchOutputs, Features, map_levels
from .host import NOT_HEADS, normalises
from .necks import MWAMNeck
from .subsets import own_labels, rows_with, take_images, take_rows, times

__all__ = ['ModalityHeads', 'with_modality_heads']

_NOT_HEADS = (*NOT_HEADS, 'auxiliary_head')


@MODELS.register_module()
def with_modality_heads(host: Union[str, type], **kwargs) -> nn.Module:
    r"""Build a model that can train with the weighted loss.

    With ``intervention='loss'`` of :class:`MWAMHook`, or of
    :class:`BalanceHook` with any weigher, the model's loss becomes (Eq. 7)

    .. math::
        L = L(y, y_o) + \sum_m K_m L(y, y_m),

    where :math:`y_o` is what the model predicts, and :math:`y_m` what a copy
    of all that follows the fusion (the neck within :class:`MWAMNeck` and the
    heads, auxiliary heads aside) makes of the features of modality m alone.
    Only the samples that have the modality count. The losses appear in the
    log as ``rgb.<name>``, multiplied by K.

    The copies start as the model's own heads are when training starts, and
    exist for training only: they are not in the model's ``state_dict``, so
    its checkpoints load in the plain model and the reverse. The checkpoints
    of a training run hold them under ``mwam``, for resuming.

    Args:
        host (str | type): The type of the model, which has a backbone,
            an :class:`MWAMNeck` and heads.
        **kwargs: The config of the model.

    Returns:
        nn.Module: The model, of its own class.

    Raises:
        ValueError: If the model has no :class:`MWAMNeck` or no heads, or they
            do not take the features of one modality.

    Examples:
        .. code-block:: python

            _base_ = './my_multimodal_config.py'
            model = dict(
                type='mwam_mm.with_modality_heads', host=_base_.model.type)
            custom_hooks = [
                dict(type='mwam_mm.MWAMHook',
                     intervention=['loss', 'gradient'])
            ]
    """
    model = MODELS.build(dict(kwargs, type=host))
    _check(model)
    own = _after_fusion(model)
    model.modality_heads = ModalityHeads(
        {name: copy.deepcopy(own)
         for name in model.neck.layout.names})
    model.register_forward_pre_hook(_refuse_idle_heads)
    return model


def _check(model: nn.Module) -> None:
    where = f'with_modality_heads: {type(model).__name__}'
    neck = getattr(model, 'neck', None)
    if not isinstance(neck, MWAMNeck):
        raise ValueError(
            f'{where} has no MWAMNeck that would hand out the features of '
            "each modality: set model.neck.type='mwam_mm.MWAMNeck'")
    heads = [n for n, _ in model.named_children() if n not in _NOT_HEADS]
    if not heads or not hasattr(model, 'loss'):
        raise ValueError(
            f'{where} has no heads and loss that could be repeated for each '
            'modality: use the intervention "gradient" or "update"')
    for fusion, channels in zip(neck.fusions, neck.in_channels):
        if set(channels.values()) != {fusion.out_channels}:
            raise ValueError(
                f'{where} has heads for {fusion.out_channels} channels, the '
                f'fused ones, which cannot take those of the modalities, '
                f'{channels}: use branches of the same channels and a fusion '
                'that keeps them, or the intervention "gradient" or "update"')
    wrong = [name for name in neck.layout.names if 'loss' in name]
    if wrong:
        raise ValueError(f'{where}: rename the modalities {wrong}: MMEngine '
                         'takes all logs with "loss" in their name for losses')


def _after_fusion(model: nn.Module) -> nn.Module:
    """What follows the fusion, as one module that shares its parameters."""
    part = nn.Module()
    part._parameters.update(model._parameters)  # such as level embeddings
    for name, child in model.named_children():
        if name not in _NOT_HEADS:
            part.add_module(name, child)
    if model.neck.neck is not None:
        part.add_module('neck', model.neck.neck)
    return part


class ModalityHeads(nn.ModuleDict):
    """Modality to its copy of what follows the fusion.

    Not in the ``state_dict`` of a model that holds it. It is no
    ``BaseModule``, so initialising the model does not draw numbers for it.
    """

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__(heads)
        #: bool: Whether somebody adds the losses to the model's.
        self.in_training = False
        self._register_state_dict_hook(_leave_out)
        self.register_load_state_dict_post_hook(_do_not_miss)

    def start_from(self, model: nn.Module) -> None:
        """Make all heads equal to the model's own."""
        own = get_state_dict(_after_fusion(model))
        self.load_state(dict.fromkeys(self, own))

    def state(self) -> Dict[str, Dict[str, Tensor]]:
        """Modality to the state of its heads."""
        return {name: get_state_dict(head) for name, head in self.items()}

    def load_state(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore :meth:`state`."""
        for name, head in self.items():
            head.load_state_dict(state[name])

    def losses(self, model: nn.Module, outputs: BranchOutputs,
               weights: Mapping[str, Tensor], inputs: Tensor,
               data_samples: Sequence[Any]) -> Dict[str, Any]:
        """The loss of each modality alone, multiplied by its weight.

        Args:
            model (nn.Module): The model that holds the heads.
            outputs (BranchOutputs): What its branches gave.
            weights (Mapping[str, Tensor]): Modality to K, 0-d.
            inputs (Tensor): Normalised stacked tensor of shape (B, C, H, W).
            data_samples (Sequence): The B data samples, with labels.

        Returns:
            dict[str, Any]: Names that begin with the modality's, to losses
            and other values to log.
        """
        losses: Dict[str, Any] = {}
        features = model.neck.unfused(outputs)
        for name, heads in self.items():
            weight = weights[name]
            rows = rows_with(outputs.present, [name])
            idle = not rows
            if idle:
                # The heads run on one blank sample, whose loss counts 0, so
                # that every parameter gets a gradient and the collective
                # calls within heads (SyncBN, MMDetection's reduce_mean) meet
                # on all ranks.
                rows, weight = [0], 0.
            if len(rows) == 1 < len(data_samples) and normalises(heads):
                # A single sample runs twice, which gives the same loss: norm
                # layers on features that are pooled to 1x1 pixel refuse one.
                rows = rows * 2

            alone = _view(
                model, heads,
                map_levels(lambda x: take_rows(x, rows), features[name]))
            images = take_images(
                model.backbone.layout, inputs, rows,
                {n: [n == name] * len(rows) for n in outputs.present})
            own = alone.loss(images,
                             own_labels([data_samples[i] for i in rows]))
            losses.update(
                times(weight, own, only_losses=idle, prefix=f'{name}.'))
        return losses


def _leave_out(module: nn.Module, state_dict: dict, prefix: str, _) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]


def _do_not_miss(module: nn.Module, incompatible_keys: Any) -> None:
    incompatible_keys.missing_keys[:] = [
        key for key in incompatible_keys.missing_keys
        if 'modality_heads' not in key.split('.')
    ]


def _refuse_idle_heads(model: nn.Module, args: tuple) -> None:
    """Refuse a training forward whose heads would learn nothing."""
    if (model.training and torch.is_grad_enabled()
            and not model.modality_heads.in_training):
        raise RuntimeError(
            'the model has modality heads, but no hook that trains '
            "them: add custom_hooks=[dict(type='mwam_mm.MWAMHook', "
            "intervention='loss')], or build the model without "
            'with_modality_heads')


def _view(model: nn.Module, heads: nn.Module,
          features: Features) -> nn.Module:
    """The model with other heads, on features that are there already."""
    view = copy.copy(model)
    modules = dict(
        data_preprocessor=model.data_preprocessor,
        backbone=lambda _: features,
        neck=lambda x: x)  # unless MWAMNeck wraps one
    view.__dict__.update(
        _parameters=heads._parameters,
        _modules={**modules, **heads._modules})
    return view
