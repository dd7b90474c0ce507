"""A model's own neck and heads, on features that are there already.

The losses of subsets (:class:`JoinedForward`) and the scores of single
modalities (:meth:`Signal.losses`) both stand on this.
"""
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from mwam_mm.attributes import replaced_attribute

from .backbones import MultiModalBackbone
from .necks import MWAMNeck
from .subsets import Selection, own_labels, take_images

__all__ = ['NOT_HEADS', 'Host', 'find_host', 'heads_of', 'normalises']

# MultiheadAttention drops out by a function, not by a layer.
_IN_EVALUATION = (_NormBase, _DropoutNd, nn.MultiheadAttention)
# A model's children that are no heads.
NOT_HEADS = ('data_preprocessor', 'backbone', 'neck', 'modality_heads')


def heads_of(model: nn.Module) -> List[nn.Module]:
    """All heads of a model, those of a list one by one."""
    heads: List[nn.Module] = []
    for name, child in model.named_children():
        if name not in NOT_HEADS:
            heads += child if isinstance(child, nn.ModuleList) else [child]
    return heads


def normalises(*modules: nn.Module) -> bool:
    """Whether modules have layers that see the whole batch at once."""
    return any(
        isinstance(m, _BatchNorm) and m.training for module in modules
        for m in module.modules())


class Host:
    """A model whose neck and heads run on features that are there already.

    Args:
        model (BaseModel): A model of OpenMMLab, whose ``forward`` takes
            ``inputs``, ``data_samples`` and ``mode``.
        backbone (MultiModalBackbone): Its backbone.
        neck (MWAMNeck, optional): What fuses the modalities, if that is one.
            Defaults to None.
    """

    def __init__(self,
                 model: BaseModel,
                 backbone: MultiModalBackbone,
                 neck: Optional[MWAMNeck] = None) -> None:
        self.model = model
        self.backbone = backbone
        self.neck = neck
        #: bool: Whether neck and heads run on a selection at the moment.
        self.running = False

    def losses(self, selection: Selection, inputs: Tensor,
               data_samples: Sequence[Any]) -> dict:
        """The model's own losses of a selection, with gradient.

        Args:
            selection (Selection): N rows.
            inputs (Tensor): The stacked tensor that the features are of,
                shape (B, C, H, W).
            data_samples (Sequence): The B samples, with labels.

        Returns:
            dict: As the model's ``loss`` returns.
        """
        return self._forward(
            selection,
            inputs=inputs,
            data_samples=[data_samples[i] for i in selection.rows],
            mode='loss')

    def logits(self, selection: Selection, inputs: Tensor) -> Any:
        """What the model gives of a selection with ``mode='tensor'``.

        Args:
            selection (Selection): N rows.
            inputs (Tensor): The stacked tensor, shape (B, C, H, W).

        Returns:
            Any: As the model's ``forward`` returns.
        """
        return self._forward(selection, inputs=inputs, mode='tensor')

    def _forward(self, selection: Selection, inputs: Tensor,
                 **arguments) -> Any:
        inputs = take_images(self.backbone.layout, inputs, selection.rows,
                             selection.outputs.present)
        with self.backbone.replay(selection.outputs):
            return self.forward(inputs=inputs, **arguments)

    def forward(self, **arguments) -> Any:
        """The model's forward, of which nobody is told."""
        if arguments.get('data_samples') is not None:
            arguments['data_samples'] = own_labels(arguments['data_samples'])
        with replaced_attribute(self, 'running', True):
            # The method of the class is called, since hooks on the model are
            # for the forward that this one is part of, and a compiled forward
            # would be compiled anew.
            return type(self.model).forward(self.model, **arguments)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Within it, nothing learns: no gradient, dropout layers let all
        through, normalisation layers use and keep their statistics, and
        buffers of heads and losses are as before when it ends.

        Everything else stays in training mode, since some heads give other
        outputs in evaluation, of which they cannot tell the loss.
        """
        layers = [
            m for m in self.model.modules()
            if m.training and (isinstance(m, _IN_EVALUATION)
                               or type(m).__name__ == 'DropPath')
        ]
        branches = set(self.backbone.modules())
        buffers = [(m, name, x, x._version, x.clone())
                   for m in self.model.modules()
                   if m not in branches and not isinstance(m, _NormBase)
                   for name, x in m.named_buffers(recurse=False)]
        for layer in layers:
            layer.training = False
        try:
            with torch.no_grad():
                yield
        finally:
            for layer in layers:
                layer.training = True
            for module, name, x, version, before in buffers:
                # Backward refuses tensors that were written to.
                if x._version != version:
                    x.copy_(before)
                setattr(module, name, x)


def find_host(model: nn.Module) -> Optional[Host]:
    """The :class:`Host` of a model, None unless it has exactly one
    :class:`MultiModalBackbone`."""
    backbones, necks = ([m for m in model.modules() if isinstance(m, cls)]
                        for cls in (MultiModalBackbone, MWAMNeck))
    if len(backbones) != 1:
        return None
    return Host(model, backbones[0], necks[0] if len(necks) == 1 else None)
