"""The neck wrapper: fuse the modalities, weight the branches' gradients."""
import logging
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from mwam_mm.layout import ModalityLayout
from mwam_mm.mwam import MWAM, scale_gradient
from mwam_mm.registry import MODELS

from ..backbones import BranchOutputs


@MODELS.register_module()
class MWAMNeck(BaseModule):
    """Fuse the modalities per level, then call a stock neck.

    With ``mwam`` the gradient that reaches each branch of
    :class:`MultiModalBackbone` is scaled by its weight K (Alg. 1), in
    training only. The neck's parameters and its outputs are the same with and
    without. Add ``custom_hooks=[dict(type='mwam_mm.MWAMHook')]`` so that the
    weights are logged and the bank travels in the checkpoint.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        in_channels (Sequence[int] | Mapping[str, Sequence[int]]): Number of
            channels per level, one list for all modalities or one for each.
        fusion (dict): Config of the fusion, built once per level with
            ``in_channels``. Defaults to ``dict(type='mwam_mm.SumFusion')``.
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
                 fusion: Optional[dict] = None,
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
        fusion = fusion or dict(type='mwam_mm.SumFusion')
        self.fusions = nn.ModuleList(
            MODELS.build(dict(fusion, in_channels=channels))
            for channels in self.in_channels)
        self.neck = None if neck is None else MODELS.build(neck)
        # A plain object: the model's state_dict is the same without it.
        self.mwam = None if mwam is None else MWAM(names, **mwam)
        self.has_hook = False

    def forward(self, outputs: BranchOutputs) -> Tuple[Tensor, ...]:
        """Fuse.

        Args:
            outputs (BranchOutputs): What :class:`MultiModalBackbone` returns.

        Returns:
            tuple[Tensor]: The wrapped neck's outputs, or the fused levels of
            shape (B, out_channels, H_l, W_l).

        Raises:
            TypeError: If the input is not from :class:`MultiModalBackbone`.
            ValueError: If the features do not fit ``in_channels`` or the
                modalities' sizes differ.
        """
        if not isinstance(outputs, BranchOutputs):
            raise TypeError('MWAMNeck takes the outputs of '
                            'mwam_mm.MultiModalBackbone, but got '
                            f'{type(outputs).__name__}')
        features = outputs.features
        self._check_features(features)
        if self.mwam is not None and self.training:
            self._check_hook()
            weights = self.mwam.update(outputs.inputs, outputs.present)
            features = {
                name: f and tuple(scale_gradient(x, weight) for x in f)
                for (name, f), weight in zip(features.items(), weights)
            }
        fused = tuple(
            fusion(self._level(features, i))
            for i, fusion in enumerate(self.fusions))
        return fused if self.neck is None else self.neck(fused)

    def _check_hook(self) -> None:
        if not self.has_hook:
            self.has_hook = True
            print_log(
                'MWAMNeck weights the branches, but no MWAMHook looks after '
                'it: the bank is not saved in checkpoints and nothing is '
                "logged. Add custom_hooks=[dict(type='mwam_mm.MWAMHook')].",
                logger='current',
                level=logging.WARNING)

    def _level(self, features: Dict[str, Optional[Tuple[Tensor, ...]]],
               i: int) -> Dict[str, Tensor]:
        """The features of level ``i``, zeros for wholly absent modalities."""
        like = next(f[i] for f in features.values() if f is not None)
        return {
            name: like.new_zeros(
                len(like), self.in_channels[i][name], *like.shape[2:])
            if f is None else f[i]
            for name, f in features.items()
        }

    def _check_features(
            self, features: Dict[str, Optional[Tuple[Tensor, ...]]]) -> None:
        sizes = {}
        for name, f in features.items():
            if f is None:
                continue
            expected = [channels[name] for channels in self.in_channels]
            actual = [x.size(1) for x in f]
            if actual != expected:
                raise ValueError(
                    f'the branch of modality "{name}" gives features of '
                    f'{actual} channels, but MWAMNeck.in_channels says '
                    f'{expected}')
            sizes[name] = [tuple(x.shape[2:]) for x in f]
        if len(set(map(tuple, sizes.values()))) > 1:
            raise ValueError(
                'MWAMNeck fuses features of the same size, but the branches '
                f'give {sizes}: use branches of the same strides')
