"""Fusions: the features of all modalities at one level become one."""
from typing import Dict, Mapping, Optional

import torch
from mmcv.cnn import ConvModule
from mmengine.dist import is_distributed
from mmengine.model import BaseModule
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from mwam_mm.layout import Presence, to_device
from mwam_mm.registry import MODELS


class Fusion(BaseModule):
    """Base of the fusions.

    Args:
        in_channels (Mapping[str, int]): Modality to its number of channels.
        out_channels (int, optional): Number of channels of the result.
            Defaults to None, the largest of ``in_channels``.
        init_cfg (dict, optional): Initialisation config. Defaults to None.
    """

    def __init__(self,
                 in_channels: Mapping[str, int],
                 out_channels: Optional[int] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.in_channels = dict(in_channels)
        self.out_channels = out_channels or max(self.in_channels.values())

    def _require_equal_channels(self) -> None:
        if set(self.in_channels.values()) != {self.out_channels}:
            raise ValueError(
                f'{self.__class__.__name__} adds features, which needs the '
                f'same channels everywhere, but got {self.in_channels} to '
                f'{self.out_channels}: use mwam_mm.ConcatFusion')

    def _summands(self, features: Dict[str, Tensor],
                  present: Optional[Presence]) -> Dict[str, Tensor]:
        """The features to add up: those that are 0 for all are left out.

        In training all stay, so that every parameter gets a gradient, and so
        they do where another rank may have what this one lacks.
        """
        if self.training or present is None:
            return features
        some = {n: f for n, f in features.items() if any(present[n])}
        # A blank window has no modality at all.
        if not some or len(some) == len(features) or is_distributed():
            return features
        return some

    def forward(self,
                features: Dict[str, Tensor],
                present: Optional[Presence] = None) -> Tensor:
        """Fuse one level.

        Args:
            features (dict[str, Tensor]): Modality to its features of shape
                (B, C_m, H, W), 0 where absent.
            present (dict[str, list[bool]], optional): Modality to whether
                each of the B samples has it. Defaults to None, all present.

        Returns:
            Tensor: Features of shape (B, out_channels, H, W).
        """
        raise NotImplementedError


@MODELS.register_module()
class SumFusion(Fusion):
    """Add the modalities' features. No parameters.

    Examples:
        .. code-block:: python

            fusion=dict(type='mwam_mm.SumFusion')
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._require_equal_channels()

    def forward(self,
                features: Dict[str, Tensor],
                present: Optional[Presence] = None) -> Tensor:
        return sum(self._summands(features, present).values())


@MODELS.register_module()
class ConcatFusion(Fusion):
    """Concatenate the modalities' features and mix them by a 1x1 convolution.

    The same as adding a projection of each, so the modalities may have
    different numbers of channels.

    Args:
        norm_cfg (dict, optional): Normalisation after the convolution.
            Defaults to None.
        act_cfg (dict, optional): Activation. Defaults to None.

    Examples:
        .. code-block:: python

            fusion=dict(type='mwam_mm.ConcatFusion', norm_cfg=norm_cfg)
    """

    def __init__(self,
                 *args,
                 norm_cfg: Optional[dict] = None,
                 act_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # Checkpoints have the channels in the order of the names, with rgb
        # among them.
        self.order = sorted(self.in_channels)
        self.conv = ConvModule(
            sum(self.in_channels.values()),
            self.out_channels,
            1,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg)

    def forward(self,
                features: Dict[str, Tensor],
                present: Optional[Presence] = None) -> Tensor:
        return self.conv(
            torch.cat([features[name] for name in self.order], dim=1))


@MODELS.register_module()
class GatedFusion(Fusion):
    """Weight each modality's channels by squeeze-and-excitation, then add.

    Args:
        ratio (int): Reduction of the gates' hidden channels. Defaults to 16.

    Examples:
        .. code-block:: python

            fusion=dict(type='mwam_mm.GatedFusion', ratio=16)
    """

    def __init__(self, *args, ratio: int = 16, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._require_equal_channels()
        hidden = max(self.out_channels // ratio, 1)
        self.gates = nn.ModuleDict({
            name: nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, hidden, 1), nn.ReLU(),
                nn.Conv2d(hidden, channels, 1), nn.Sigmoid())
            for name, channels in self.in_channels.items()
        })

    def forward(self,
                features: Dict[str, Tensor],
                present: Optional[Presence] = None) -> Tensor:
        return sum(
            self.gates[name](f) * f
            for name, f in self._summands(features, present).items())


@MODELS.register_module()
class MeanVarFusion(Fusion):
    """Mean and variance over the modalities that are present, mixed by a 1x1
    convolution.

    In the manner of MMANet's and HeMIS's fusion: both statistics have the
    same meaning whatever is missing, where a sum shrinks. The variance is
    that of the population, so 0 where one modality is left. In mixed precision
    it is computed and mixed in the precision of the parameters: features that
    are 512 apart have a variance beyond float16.

    Args:
        norm_cfg (dict, optional): Normalisation after the convolution.
            Defaults to None.
        act_cfg (dict, optional): Activation. Defaults to None.

    Examples:
        .. code-block:: python

            fusion=dict(type='mwam_mm.MeanVarFusion', norm_cfg=norm_cfg,
                        act_cfg=dict(type='ReLU'))
    """

    def __init__(self,
                 *args,
                 norm_cfg: Optional[dict] = None,
                 act_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        super().__init__(*args, **kwargs)
        channels = set(self.in_channels.values())
        if len(channels) != 1:
            raise ValueError(
                'MeanVarFusion needs the same channels everywhere, but got '
                f'{self.in_channels}: use mwam_mm.ConcatFusion')
        self.conv = ConvModule(
            2 * channels.pop(),
            self.out_channels,
            1,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg)

    def forward(self,
                features: Dict[str, Tensor],
                present: Optional[Presence] = None) -> Tensor:
        weight = self.conv.conv.weight
        with autocast(weight.device.type, enabled=False):
            x = torch.stack(list(features.values())).to(weight.dtype)
            if present is None:
                mask = x.new_ones(*x.shape[:2], 1, 1, 1)
            else:
                mask = to_device([present[name] for name in features], x,
                                 x.dtype)
                mask = mask[:, :, None, None, None]
            # A blank window has no modality at all.
            count = mask.sum(0).clamp(min=1)
            mean = (x * mask).sum(0) / count
            var = ((x - mean).square() * mask).sum(0) / count
            return self.conv(torch.cat([mean, var], dim=1))
