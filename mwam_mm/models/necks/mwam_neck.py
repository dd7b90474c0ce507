"""The neck wrapper: fuse the modalities, weight the branches' gradients."""
import logging
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
)

import torch
from mmengine.dist import is_distributed
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mwam_mm.attributes import replaced_attribute
from mwam_mm.layout import ModalityLayout, Presence
from mwam_mm.mwam import MWAM, scale_gradient
from mwam_mm.registry import MODELS

from ..backbones import BranchOutputs, Features, flatten_levels, nest_levels
from ..backbones.multi_branch import zero_touching


@MODELS.register_module()
class MWAMNeck(BaseModule):
    """Fuse the modalities per level, then call a stock neck.

    With ``mwam`` each branch of :class:`MultiModalBackbone` gets a weight K
    in training. By default the gradient that reaches the branch is scaled by
    it; the ``intervention`` of :class:`MWAMHook` or :class:`BalanceHook` names
    the other ways. The neck's parameters and its outputs are the same with and
    without. Add
    ``custom_hooks=[dict(type='mwam_mm.MWAMHook')]`` so that the weights are
    logged and the bank travels in the checkpoint.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        in_channels (Sequence[int] | Mapping[str, Sequence[int]]): Number of
            channels per level, one list for all modalities or one for each.
        eval_levels (Sequence[int], optional): The levels that the branches
            give in evaluation, for backbones that give fewer then (DDRNet,
            PIDNet). Defaults to None, the same as in training.
        strides (Sequence[int], optional): Stride of each fused level, for
            branches whose strides differ: their features are resized to it
            bilinearly. Said here rather than taken from the branches because
            it must not depend on which modalities are present. Defaults to
            None, no resizing.
        fusion (dict, optional): Config of the fusion, built once per level
            with ``in_channels``. Defaults to None, which is
            :class:`SumFusion`, and :class:`ConcatFusion` at levels where the
            modalities' channels differ.
        out_channels (Sequence[int], optional): Number of channels of each
            fused level. Defaults to None, which leaves it to the fusion.
        neck (dict, optional): Config of the stock neck that takes the fused
            levels. Defaults to None, which returns them.
        mwam (dict, optional): Arguments of :class:`mwam_mm.mwam.MWAM`; an
            empty dict takes the paper's constants. Defaults to None, no
            weighting.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Examples:
        .. code-block:: python

            model = dict(
                neck=dict(
                    type='mwam_mm.MWAMNeck',
                    modalities=modalities,
                    in_channels=[64, 128, 256, 512],
                    fusion=dict(type='mwam_mm.GatedFusion'),
                    neck=dict(type='FPN', in_channels=[64, 128, 256, 512],
                              out_channels=256, num_outs=4),
                    mwam=dict()))
            custom_hooks = [dict(type='mwam_mm.MWAMHook')]
    """

    def __init__(self,
                 modalities: Mapping,
                 in_channels: Union[Sequence[int], Mapping[str,
                                                           Sequence[int]]],
                 eval_levels: Optional[Sequence[int]] = None,
                 strides: Optional[Sequence[int]] = None,
                 fusion: Optional[dict] = None,
                 out_channels: Optional[Sequence[int]] = None,
                 neck: Optional[dict] = None,
                 mwam: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.layout = ModalityLayout(modalities)
        names = self.layout.names
        if not isinstance(in_channels, Mapping):
            in_channels = {name: in_channels for name in names}
        if set(in_channels) != set(names):
            raise ValueError(f'MWAMNeck.in_channels is for '
                             f'{sorted(in_channels)}, but the modalities are '
                             f'{list(names)}')
        if len({len(channels) for channels in in_channels.values()}) != 1:
            raise ValueError('MWAMNeck.in_channels must have the same number '
                             f'of levels everywhere, but got {in_channels}')
        self.in_channels: List[Dict[str, int]] = [
            dict(zip(names, level))
            for level in zip(*(in_channels[name] for name in names))
        ]
        self.eval_levels = eval_levels
        if strides is not None and len(strides) != len(self.in_channels):
            raise ValueError(f'MWAMNeck.strides {list(strides)} are not one '
                             f'for each of {len(self.in_channels)} levels')
        self.strides = strides
        if out_channels is not None and len(out_channels) != len(
                self.in_channels):
            raise ValueError(
                f'MWAMNeck.out_channels {list(out_channels)} are not one for '
                f'each of {len(self.in_channels)} levels')
        self.fusions = ModuleList()
        for level, channels in enumerate(self.in_channels):
            cfg = dict(fusion or _default_fusion(channels),
                       in_channels=channels)
            if out_channels is not None:
                cfg['out_channels'] = out_channels[level]
            self.fusions.append(MODELS.build(cfg))
        self.neck = None if neck is None else MODELS.build(neck)
        # It is no module, so that the model's state_dict is the same without
        # it.
        self.mwam = None if mwam is None else MWAM(names, **mwam)
        #: list[Callable]: Called in training with what the branches gave;
        #: what they return is fused instead, unless it is None. With any of
        #: them, it is theirs to weight the branches.
        self.listeners: List[Callable[[BranchOutputs],
                                      Optional[BranchOutputs]]] = []
        self._warned = False
        self._replayed: Any = None

    def replay(self, fused: Any) -> ContextManager[None]:
        """Return what is there already instead of fusing.

        Args:
            fused (Any): What each forward returns within the context,
                whatever its input.
        """
        return replaced_attribute(self, '_replayed', fused)

    def forward(self, outputs: BranchOutputs) -> Any:
        """Fuse.

        Args:
            outputs (BranchOutputs): What :class:`MultiModalBackbone` returns.

        Returns:
            Any: The wrapped neck's outputs, or the fused levels of shape
            (B, out_channels, H_l, W_l), nested as the branches returned
            theirs: mostly a tuple.

        Raises:
            TypeError: If the input is not from :class:`MultiModalBackbone`.
            ValueError: If the backbone has other modalities, the features do
                not fit ``in_channels`` or the modalities' sizes differ.
        """
        if self._replayed is not None:
            return self._replayed
        if not isinstance(outputs, BranchOutputs):
            raise TypeError('MWAMNeck takes the outputs of '
                            'mwam_mm.MultiModalBackbone, but got '
                            f'{type(outputs).__name__}')
        if outputs.features.keys() != set(self.layout.names):
            raise ValueError(
                f'MWAMNeck.modalities are {list(self.layout.names)}, but the '
                f'backbone has {list(outputs.features)}: give both the same')
        # Passes without gradient only gather the statistics of BatchNorm.
        if self.training and torch.is_grad_enabled():
            outputs = self._weight(outputs)
        levels = self._levels()
        fusions = list(self.fusions)  # a ModuleList is slow to index
        fused = [
            self._fuse(fusions[level], f, outputs.present)
            for level, f in zip(levels, self._by_level(outputs, levels))
        ]
        if self.training and is_distributed():
            fused = self._touch_fusions(fused)
        fused = nest_levels(fused, _some(outputs))
        return fused if self.neck is None else self.neck(fused)

    def unfused(self, outputs: BranchOutputs) -> Dict[str, Features]:
        """What the neck would fuse.

        Args:
            outputs (BranchOutputs): What :class:`MultiModalBackbone` returns.

        Returns:
            dict[str, Features]: Modality to its features, of the sizes of
            the fused levels and nested as the branches returned theirs; 0
            for the samples without it.
        """
        by_level = self._by_level(outputs, self._levels())
        return {
            name: nest_levels([f[name] for f in by_level], _some(outputs))
            for name in outputs.features
        }

    def _weight(self, outputs: BranchOutputs) -> BranchOutputs:
        """Let the listeners act or, without any, scale gradients by K."""
        for listener in self.listeners:
            changed = listener(outputs)
            outputs = outputs if changed is None else changed
        if self.listeners or self.mwam is None:
            return outputs
        if not self._warned:
            self._warned = True
            print_log(
                'MWAMNeck weights the branches, but no MWAMHook looks after '
                'it: the bank is not saved in checkpoints and nothing is '
                "logged. Add custom_hooks=[dict(type='mwam_mm.MWAMHook')].",
                logger='current',
                level=logging.WARNING)
        weights = dict(
            zip(self.mwam.modalities,
                self.mwam.update(outputs.inputs, outputs.present)))
        return outputs.map(lambda name, x: scale_gradient(x, weights[name]))

    def _levels(self) -> Sequence[int]:
        """The levels that the branches give."""
        if self.eval_levels is not None and not self.training:
            return self.eval_levels
        return range(len(self.fusions))

    def _by_level(self, outputs: BranchOutputs,
                  levels: Sequence[int]) -> List[Dict[str, Tensor]]:
        """The features of every modality, one level after the other."""
        features = {
            name: None if f is None else flatten_levels(f)
            for name, f in outputs.features.items()
        }
        if self.strides is not None:
            features = {
                name: f and self._resize(f, levels, outputs.inputs[name])
                for name, f in features.items()
            }
        self._check_features(features, levels)
        if all([f is not None for f in features.values()]):
            return [dict(zip(features, f)) for f in zip(*features.values())]
        return [
            self._level(features, i, level) for i, level in enumerate(levels)
        ]

    def _resize(self, features: List[Tensor], levels: Sequence[int],
                image: Tensor) -> List[Tensor]:
        """Bring the levels of one branch to their strides."""
        resized = []
        for x, level in zip(features, levels):
            stride = self.strides[level]
            size = tuple(-(-s // stride) for s in image.shape[2:])
            if x.shape[2:] not in ((), size):  # a vector has size ()
                x = interpolate(x, size, mode='bilinear', align_corners=False)
            resized.append(x)
        return resized

    @staticmethod
    def _fuse(fusion: nn.Module, features: Dict[str, Tensor],
              present: Presence) -> Tensor:
        if next(iter(features.values())).ndim == 4:
            return fusion(features, present)
        # A vector per sample, such as a class token, is a map of one pixel.
        features = {name: f[:, :, None, None] for name, f in features.items()}
        return fusion(features, present)[:, :, 0, 0]

    def _touch_fusions(self, fused: List[Tensor]) -> List[Tensor]:
        """Give every fusion a gradient, of levels that no head takes too."""
        zero = zero_touching(self.fusions)
        return fused if zero is None else [f + zero.to(f) for f in fused]

    def _level(self, features: Dict[str, Optional[List[Tensor]]], i: int,
               level: int) -> Dict[str, Tensor]:
        """The ``i``-th features, zeros for wholly absent modalities."""
        like = next(f[i] for f in features.values() if f is not None)
        return {
            name: like.new_zeros(
                len(like), self.in_channels[level][name], *like.shape[2:])
            if f is None else f[i]
            for name, f in features.items()
        }

    def _check_features(self, features: Dict[str, Optional[List[Tensor]]],
                        levels: Sequence[int]) -> None:
        sizes = {}
        for name, f in features.items():
            if f is None:
                continue
            shapes = [x.shape for x in f]
            if any([len(shape) not in (2, 4) for shape in shapes]):
                raise ValueError(
                    'MWAMNeck fuses maps of shape (B, C, H, W) and vectors of '
                    f'shape (B, C), but the branch of modality "{name}" '
                    f'gives {[tuple(shape) for shape in shapes]}')
            expected = [self.in_channels[level][name] for level in levels]
            actual = [shape[1] for shape in shapes]
            if actual != expected:
                raise ValueError(
                    f'the branch of modality "{name}" gives features of '
                    f'{actual} channels, but MWAMNeck.in_channels says '
                    f'{expected}')
            sizes[name] = [tuple(shape)[2:] for shape in shapes]
        # They are compared by ==, because the numbers are tensors under
        # torch.jit.trace, whose hashes differ.
        first, *others = sizes.values()
        if any([other != first for other in others]):
            raise ValueError(
                'MWAMNeck fuses features of the same size, but the branches '
                f'give {sizes}: use branches of the same strides, or say in '
                'MWAMNeck.strides which ones to resize the levels to')


def _some(outputs: BranchOutputs) -> Features:
    """The features of a modality that any sample has."""
    return next(f for f in outputs.features.values() if f is not None)


def _default_fusion(channels: Mapping[str, int]) -> dict:
    equal = len(set(channels.values())) == 1
    return dict(type=f'mwam_mm.{"Sum" if equal else "Concat"}Fusion')
