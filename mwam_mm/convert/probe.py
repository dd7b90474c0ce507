"""What the branches of a multimodal backbone give, found by trying."""
from typing import Dict, List, Mapping, Optional, Tuple

import torch
from torch import Tensor

from mwam_mm.config import type_name
from mwam_mm.models.backbones import MultiModalBackbone, flatten_levels

__all__ = ['probe_levels']

# Sizes of the image in pixels, which are tried until one fits.
_SIZES = (64, 128, 256)


def probe_levels(
    backbone: MultiModalBackbone, cfg: Mapping
) -> Tuple[Dict[str, List[int]], Optional[List[int]]]:
    """Find out what the branches give, by a forward of a tiny image.

    The backbone and the random state are afterwards what they were before.

    Args:
        backbone (MultiModalBackbone): The backbone.
        cfg (Mapping): Config of its branches.

    Returns:
        tuple: Modality to the number of channels per level, and which of the
        levels are given in evaluation, None for all.

    Raises:
        ValueError: If a branch fails or gives no feature maps.
    """
    where = f'backbone {type_name(cfg)}'
    size = cfg.get('img_size')
    sizes = list(_SIZES)
    if size:  # which windows of attention may be larger than
        least = size if isinstance(size, int) else min(size)
        sizes = [size, *(s for s in _SIZES if s > least)]
    modes = [(m, m.training) for m in backbone.modules()]
    backbone.eval()
    channels = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for name, branch in backbone.branches.items():
            while True:
                height, width = [sizes[0]] * 2 if isinstance(
                    sizes[0], int) else sizes[0]
                x = torch.randn(1, backbone.layout[name].channels, height,
                                width)
                try:
                    in_eval = flatten_levels(branch(x))
                    # Some give more levels in training. Only the branch
                    # itself is switched, so that its layers compute the same.
                    branch.training = True
                    levels = flatten_levels(branch(x))
                    break
                except Exception as error:
                    branch.training = False
                    if len(sizes) > 1:
                        sizes.pop(0)
                        continue
                    raise ValueError(
                        f'{where} fails on an image of {height}x{width} '
                        'pixels, which is to show what it gives: '
                        f'{error}') from error
            shapes = [tuple(f.shape) for f in levels]
            if not shapes or any(len(s) not in (2, 4) for s in shapes):
                raise ValueError(
                    f'{where} gives {shapes or "nothing"}, but only feature '
                    'maps of shape (B, C, H, W) and vectors of shape (B, C) '
                    'can be fused')
            channels[name] = [shape[1] for shape in shapes]
    for module, training in modes:
        module.training = training
    eval_levels = None
    if [f.shape for f in in_eval] != [f.shape for f in levels]:
        eval_levels = [_find(f, levels, where) for f in in_eval]
    return channels, eval_levels


def _find(features: Tensor, levels: List[Tensor], where: str) -> int:
    for i, level in enumerate(levels):
        if level.shape == features.shape and torch.allclose(level, features):
            return i
    raise ValueError(f'{where} gives features of shape '
                     f'{tuple(features.shape)} in evaluation that it does not '
                     'give in training')
