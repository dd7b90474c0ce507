"""Fusion inside the encoder, in the manner of ESANet."""
from typing import Dict, List, Mapping, Optional, Tuple

import torch
from mmengine.model import ModuleList
from torch import Tensor, nn

from mwam_mm.layout import Presence
from mwam_mm.registry import MODELS

from .multi_branch import MultiBranch, gather, scatter


@MODELS.register_module()
class ESANetBackbone(MultiBranch):
    """Add the features of the other streams into one stream at every stage.

    In the manner of `ESANet <https://arxiv.org/abs/2011.06961>`_: every
    modality has a ResNet, and after the stem and after each stage the features
    of all are gated by squeeze-and-excitation and added. The sum goes on
    through the stream of the ``main`` modality and is what the backbone
    returns; the other streams go on with their own features. The streams are
    not separate calls, so there is no neck, and MWAM goes by their parameters.

    A stream does not run for the samples that lack its modality, and adds
    exactly 0 to the sum. Where the main modality is absent, only the stem
    of its stream is left out: its stages carry what the others add. So
    normalisation statistics never see blank images.

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        branch (dict, optional): Config of the ResNet that every modality
            without an entry in ``branches`` gets: any backbone with the stages
            of MMSegmentation's or MMDetection's ``ResNet``. Defaults to None.
        branches (dict[str, dict], optional): Modality to the config of its
            ResNet; all must have the same widths and strides. Defaults to
            None.
        main (str): The modality whose stream the others are added into.
            Defaults to ``'rgb'``.
        strict (bool): Whether a pretrained file must give every parameter of
            its branch. Defaults to True.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        TypeError: If a branch has not the stages of a ResNet.
        ValueError: If ``main`` is no modality, or of the errors of
            :class:`MultiModalBackbone`.

    Examples:
        .. code-block:: python

            model = dict(
                backbone=dict(
                    type='mwam_mm.ESANetBackbone',
                    modalities=modalities,
                    branch=dict(type='ResNet', depth=18)))
            custom_hooks = [
                dict(
                    type='mwam_mm.MWAMHook',
                    branches=dict(rgb='backbone.branches.rgb',
                                  depth='backbone.branches.depth'),
                    # The streams are run stage by stage, and the images enter
                    # at their first convolutions (`stem` with deep_stem).
                    inputs=dict(rgb='backbone.branches.rgb.conv1',
                                depth='backbone.branches.depth.conv1'))
            ]
    """

    def __init__(self,
                 modalities: Mapping,
                 branch: Optional[dict] = None,
                 branches: Optional[Mapping[str, dict]] = None,
                 main: str = 'rgb',
                 strict: bool = True,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(modalities, branch, branches, strict, init_cfg)
        self.layout.check_names([main], 'ESANetBackbone.main')
        self.main = main
        for name, stream in self.branches.items():
            if not hasattr(stream, 'res_layers'):
                raise TypeError(
                    f'ESANetBackbone: modality "{name}" has a '
                    f'{type(stream).__name__}, which lacks the stages of a '
                    'ResNet')
        depths = {len(s.res_layers) for s in self.branches.values()}
        if len(depths) != 1:
            raise ValueError('ESANetBackbone needs as many stages in every '
                             f'branch, but they have {sorted(depths)}')
        self.out_indices = self.branches[main].out_indices
        # The number of channels after the stem and after each stage.
        widths = {name: _widths(s) for name, s in self.branches.items()}
        self.fusions = ModuleList(
            MODELS.build(
                dict(type='mwam_mm.GatedFusion',
                     in_channels=dict(zip(widths, channels))))
            for channels in zip(*widths.values()))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Encode and fuse the modalities.

        Args:
            x (Tensor): Normalised stacked tensor of shape (B, C, H, W).

        Returns:
            tuple[Tensor]: The fused features of the main branch's
            ``out_indices``, of shape (B, C_l, H_l, W_l).

        Raises:
            ValueError: If the number of channels is not the layout's, or a
                training sample has no modality at all.
        """
        present = self.layout.presence(x)
        self._check_presence(present)
        with self._joined(present, x) as joined:
            return self._encode(x, present, joined)

    def _encode(self, x: Tensor, present: Presence,
                joined: List[str]) -> Tuple[Tensor, ...]:
        main = self.branches[self.main]
        streams = {
            name: _stem(self.branches[name],
                        gather(x[:, modality.slice], present[name]))
            for name, modality in self.layout.items()
            if any(present[name]) or name in joined
        }
        if not any(map(any, present.values())):
            # In evaluation a window may be blank.
            present = dict(present, **{self.main: [True] * len(x)})
            streams[self.main] = torch.zeros_like(
                _stem(main, x[:, self.layout[self.main].slice]))
        fused = self._fuse(0, streams, present)
        zero = self._touching_idle(present) if self.training else None
        if zero is not None:
            fused = fused + zero.to(fused.dtype)
        streams.pop(self.main, None)
        # From here on the main stream has every sample.
        present = dict(present, **{self.main: [True] * len(x)})
        fused = main.maxpool(fused)
        streams = {n: self.branches[n].maxpool(f) for n, f in streams.items()}
        outs = []
        for i in range(len(main.res_layers)):
            streams = {
                name: _stage(self.branches[name], i)(f)
                for name, f in streams.items()
            }
            everything = dict(streams, **{self.main: _stage(main, i)(fused)})
            fused = self._fuse(i + 1, everything, present)
            if i in self.out_indices:
                outs.append(fused)
        return tuple(outs)

    def _fuse(self, i: int, streams: Dict[str, Tensor],
              present: Presence) -> Tensor:
        """Fuse what the streams have of the samples they run for."""
        full = {name: scatter(f, present[name]) for name, f in streams.items()}
        like = next(iter(full.values()))
        features = {
            name: full.get(name, torch.zeros_like(like))
            for name in self.layout.names
        }
        return self.fusions[i](features, present)

    def _parts(self, name: str) -> List[nn.Module]:
        stream = self.branches[name]
        return _stem_modules(stream) if name == self.main else [stream]


def _widths(stream: nn.Module) -> List[int]:
    """Number of channels after the stem and after each stage."""
    width = stream.base_channels * stream.block.expansion
    return [stream.stem_channels
            ] + [width * 2**i for i in range(len(stream.res_layers))]


def _stem_modules(stream: nn.Module) -> List[nn.Module]:
    if stream.deep_stem:
        return [stream.stem]
    return [stream.conv1, stream.norm1, stream.relu]


def _stem(stream: nn.Module, x: Tensor) -> Tensor:
    for module in _stem_modules(stream):
        x = module(x)
    return x


def _stage(stream: nn.Module, i: int) -> nn.Module:
    return getattr(stream, stream.res_layers[i])
