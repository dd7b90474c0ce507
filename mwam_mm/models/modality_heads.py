"""The weighted loss (Eq. 7): heads of each modality's own, in training."""
import copy
from typing import Any, Dict, List, Mapping, Union

from mmengine.runner.checkpoint import get_state_dict
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mwam_mm.registry import MODELS

from .backbones import Features, map_levels
from .necks import MWAMNeck

__all__ = ['with_modality_heads']

_NOT_HEADS = ('data_preprocessor', 'backbone', 'neck', 'auxiliary_head')


@MODELS.register_module()
def with_modality_heads(host: Union[str, type], **kwargs) -> nn.Module:
    r"""Build a model that can train with the weighted loss.

    With ``MWAMHook(intervention='loss')`` the model's loss becomes (Eq. 7)

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
            an :class:`MWAMNeck` with ``mwam`` and heads.
        **kwargs: The config of the model.

    Returns:
        nn.Module: The model, of a subclass of its own class.

    Raises:
        ValueError: If the model has no :class:`MWAMNeck` with ``mwam`` or no
            heads, or they do not take the features of one modality.

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
    heads = ModalityHeads(
        {name: copy.deepcopy(own)
         for name in model.neck.layout.names})
    cls = type(model)
    model.__class__ = type(cls.__name__, (_LossPerModality, cls), {})
    model.modality_heads = heads
    return model


def _check(model: nn.Module) -> None:
    where = f'with_modality_heads: {type(model).__name__}'
    neck = getattr(model, 'neck', None)
    if not isinstance(neck, MWAMNeck) or neck.mwam is None:
        raise ValueError(
            f'{where} has no MWAMNeck with mwam, whose weights the losses of '
            'the modalities would get: set model.neck.mwam=dict()')
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
        if name not in (*_NOT_HEADS, 'modality_heads'):
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
        self._register_state_dict_hook(_leave_out)
        self.register_load_state_dict_post_hook(_do_not_miss)

    def state(self) -> Dict[str, Dict[str, Tensor]]:
        """Modality to the state of its heads."""
        return {name: get_state_dict(head) for name, head in self.items()}

    def load_state(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore :meth:`state`."""
        for name, head in self.items():
            head.load_state_dict(state[name])


def _leave_out(module: nn.Module, state_dict: dict, prefix: str, _) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]


def _do_not_miss(module: nn.Module, incompatible_keys: Any) -> None:
    incompatible_keys.missing_keys[:] = [
        key for key in incompatible_keys.missing_keys
        if 'modality_heads' not in key.split('.')
    ]


class _LossPerModality:
    """Mixed into the class of a model by :func:`with_modality_heads`."""

    def reset_modality_heads(self) -> None:
        """Make the modalities' heads equal to the model's own."""
        own = get_state_dict(_after_fusion(self))
        self.modality_heads.load_state(dict.fromkeys(self.modality_heads, own))

    def loss(self, inputs: Tensor, data_samples: List[Any]) -> dict:
        """The losses of the model and, in training, of each modality.

        Args:
            inputs (Tensor): Normalised stacked tensor of shape (B, C, H, W).
            data_samples (list): The data samples, with the labels.

        Returns:
            dict: Names to losses and other values to log.

        Raises:
            RuntimeError: If no :class:`MWAMHook` asks for the losses.
        """
        losses = super().loss(inputs, data_samples)
        if not self.training:
            return losses
        unfused = self.neck.pop_unfused()
        if unfused is None:
            raise RuntimeError(
                'the model has modality heads, but no MWAMHook that trains '
                "them: add custom_hooks=[dict(type='mwam_mm.MWAMHook', "
                "intervention='loss')], or build the model without "
                'with_modality_heads')
        features, present = unfused
        weights = self.neck.mwam.weights
        for (name, heads), weight in zip(self.modality_heads.items(), weights):
            index = [i for i, p in enumerate(present[name]) if p]
            idle = not index
            if idle:
                # On one blank sample, for nothing: so every parameter gets a
                # gradient and the collective calls within heads (SyncBN,
                # MMDetection's reduce_mean) meet on all ranks.
                index, weight = [0], 0.
            if len(index) == 1 < len(data_samples) and _normalises(heads):
                # The same loss, but norm layers on pooled features of 1x1
                # pixel refuse a single sample.
                index = index * 2
            one = self._view(heads, features[name], index)
            for key, value in one.loss(
                    inputs[index], [data_samples[i] for i in index]).items():
                if 'loss' in key:  # as MMEngine decides what is one
                    losses[f'{name}.{key}'] = map_levels(
                        lambda x: weight * x, value)
                elif not idle:
                    losses[f'{name}.{key}'] = value
        return losses

    def _view(self, heads: nn.Module, features: Features,
              index: List[int]) -> nn.Module:
        """The host, whose backbone gives features that are there already."""
        view = copy.copy(self)
        view.__class__ = type(self).__mro__[2]
        features = map_levels(lambda f: f[index], features)
        view.__dict__.update(
            _parameters=heads._parameters,
            _modules=dict(heads._modules, backbone=lambda _: features))
        return view


def _normalises(heads: nn.Module) -> bool:
    return any(isinstance(m, _BatchNorm) for m in heads.modules())
