"""The pretrained weights of a stock model, and what is frozen for them."""
import os.path as osp
from typing import Any, Mapping, Optional

from mmengine.config import ConfigDict

from mwam_mm.config import class_of, default_of, type_name, walk_dicts
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import MODELS

from .notice import notice

__all__ = [
    'compare_normalisation', 'drop_downloads', 'has_weights', 'thaw_backbone'
]


def thaw_backbone(branch: ConfigDict, override: Mapping,
                  where: str = 'base.backbone') -> None:
    """Let a backbone that starts from scratch be trained as a whole.

    Detectors expect a pretrained backbone and freeze its first stages and the
    statistics of its BN. Frozen random weights would be of no use.

    Args:
        branch (ConfigDict): Config of the backbone, changed in place.
        override (Mapping): What the user sets in the base, by dotted path. It
            is not changed.
        where (str): What messages call the backbone. Defaults to
            ``'base.backbone'``.
    """
    if has_weights(branch):
        return
    cls = class_of(branch, MODELS)
    norm_eval = branch.get('norm_eval', default_of(cls, 'norm_eval'))
    norm_cfg = branch.get('norm_cfg') or {}
    changed = []
    if norm_eval and 'backbone.norm_eval' not in override:
        branch.norm_eval = False
        changed.append('norm_eval')
    # The value for "no stage" is -1, in EfficientNet 0.
    none = default_of(cls, 'frozen_stages')
    if branch.get('frozen_stages', none) != none and \
            'backbone.frozen_stages' not in override:
        branch.frozen_stages = none
        changed.append('frozen_stages')
    if norm_cfg.get('requires_grad') is False and \
            'backbone.norm_cfg.requires_grad' not in override:
        norm_cfg.requires_grad = True
        changed.append('norm_cfg.requires_grad')
    if norm_eval and norm_cfg.get('eps') == 0:  # as in NAS-FCOS
        norm_cfg.pop('eps')
        changed.append('norm_cfg.eps')
    if changed:
        notice(f'{where} starts from scratch, so {changed} left out: '
               'what is frozen there would stay random')


def compare_normalisation(stock: Mapping, rgb: Optional[Mapping]) -> None:
    """Say where a base's weights were trained on RGB of other values.

    Args:
        stock (Mapping): Config of the base's data preprocessor. Its backbone
            has pretrained weights.
        rgb (Mapping, optional): The fields of the modality "rgb", None
            without it.
    """
    if rgb is None or rgb.get('channels') != 3 or not stock.get('mean'):
        return
    ours = ModalityLayout(dict(rgb=rgb))['rgb']
    turned = any(stock.get(key)
                 for key in ('bgr_to_rgb', 'rgb_to_bgr', 'to_rgb'))
    mean, std = list(stock['mean']), list(stock.get('std') or [1., 1., 1.])
    far = any(
        abs(a - b) > max(s, t) or not 0.5 <= s / t <= 2
        for a, b, s, t in zip(mean, ours.mean, std, ours.std))
    if far or turned != ours.bgr_to_rgb:
        notice(f'the pretrained weights of base.backbone are for mean={mean}, '
               f'std={std} and bgr_to_rgb={turned}, but modalities["rgb"] '
               f'has mean={list(ours.mean)}, std={list(ours.std)} and '
               f'bgr_to_rgb={ours.bgr_to_rgb}: give it the same, unless the '
               'values of the files are others')


def has_weights(branch: Mapping) -> bool:
    """Whether a backbone starts from pretrained weights.

    Args:
        branch (Mapping): Config of the backbone.

    Returns:
        bool: Whether it names a file of them.
    """
    inits = branch.get('init_cfg') or []
    inits = inits if isinstance(inits, (list, tuple)) else [inits]
    return bool(branch.get('pretrained')) or any(
        'checkpoint' in cfg for cfg in inits)


def drop_downloads(cfg: ConfigDict, where: str = 'base') -> None:
    """Leave out pretrained weights that would have to be downloaded.

    Args:
        cfg (ConfigDict): Config of the stock model, or of a backbone, changed
            in place.
        where (str): What messages call it. Defaults to ``'base'``.

    Raises:
        FileNotFoundError: If weights are named by a path where no file is.
        ValueError: If the backbone itself downloads something.
    """
    for path, part in walk_dicts(cfg, where):
        if isinstance(part.get('pretrained'), str) and not _is_local(
                part['pretrained'], f'{path}.pretrained'):
            part['pretrained'] = None
        init = part.get('init_cfg')
        if isinstance(init, dict) and not _keeps(init, path):
            part.pop('init_cfg')
        elif isinstance(init, (list, tuple)):
            part['init_cfg'] = [c for c in init if _keeps(c, path)]
    backbone = cfg
    if 'backbone' in cfg:
        backbone, where = cfg.backbone, f'{where}.backbone'
    for path, part in walk_dicts(backbone, where):
        for key, value in part.items():
            if _is_remote(value):
                raise ValueError(
                    f'{type_name(backbone)} cannot be made multimodal '
                    f'without a download: {path}.{key}={value!r}. Save the '
                    'file and name its path')


def _keeps(init_cfg: Mapping, path: str) -> bool:
    return 'checkpoint' not in init_cfg or _is_local(
        init_cfg['checkpoint'], f'{path}.init_cfg')


def _is_remote(value: Any) -> bool:
    return isinstance(value, str) and '://' in value and \
        not value.startswith('file://')


def _is_local(file: str, where: str) -> bool:
    """Whether pretrained weights are a local file, which then must exist."""
    if _is_remote(file):
        notice(f'{where}: {file} left out, training starts from scratch. '
               'To use it, download the file and name its path')
        return False
    if not osp.exists(file):
        scratch = f'{where}=None'
        if where.startswith('base.'):
            scratch = f'override={{{where[len("base."):]!r}: None}}'
        raise FileNotFoundError(
            f'{where}: the pretrained weights {file!r} do not exist. Put them '
            f'there, or start from scratch by {scratch}')
    return True
