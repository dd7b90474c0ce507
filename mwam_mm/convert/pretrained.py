"""The pretrained weights of a stock model, and what is frozen for them."""
import os.path as osp
from typing import Any, Mapping

from mmengine.config import ConfigDict

from mwam_mm.config import type_name, walk_dicts
from mwam_mm.models.backbones.multi_branch import default_of
from mwam_mm.registry import MODELS

from .notice import notice

__all__ = ['drop_downloads', 'thaw_backbone']


def thaw_backbone(branch: ConfigDict, override: Mapping) -> None:
    """Let a backbone that starts from scratch be trained as a whole.

    Detectors expect a pretrained backbone and freeze its first stages and the
    statistics of its BN. Frozen random weights would be of no use.

    Args:
        branch (ConfigDict): Config of the backbone, changed in place.
        override (Mapping): What the user sets in the base, by dotted path. It
            is not changed.
    """
    inits = branch.get('init_cfg') or []
    inits = inits if isinstance(inits, (list, tuple)) else [inits]
    if branch.get('pretrained') or any('checkpoint' in cfg for cfg in inits):
        return
    with MODELS.switch_scope_and_registry(branch.get('_scope_')) as registry:
        cls = branch.type
        cls = registry.get(cls) if isinstance(cls, str) else cls
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
        notice(f'base.backbone starts from scratch, so {changed} left out: '
               'what is frozen there would stay random')


def drop_downloads(base: ConfigDict) -> None:
    """Leave out pretrained weights that would have to be downloaded.

    Args:
        base (ConfigDict): Config of the stock model, changed in place.

    Raises:
        FileNotFoundError: If weights are named by a path where no file is.
        ValueError: If the backbone itself downloads something.
    """
    for path, cfg in walk_dicts(base, 'base'):
        if isinstance(cfg.get('pretrained'), str) and not _is_local(
                cfg['pretrained'], f'{path}.pretrained'):
            cfg['pretrained'] = None
        init = cfg.get('init_cfg')
        if isinstance(init, dict) and not _keeps(init, path):
            cfg.pop('init_cfg')
        elif isinstance(init, (list, tuple)):
            cfg['init_cfg'] = [c for c in init if _keeps(c, path)]
    for path, cfg in walk_dicts(base.backbone, 'base.backbone'):
        for key, value in cfg.items():
            if _is_remote(value):
                raise ValueError(
                    f'{type_name(base.backbone)} cannot be made multimodal '
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
        key = where[len('base.'):]
        raise FileNotFoundError(
            f'{where}: the pretrained weights {file!r} do not exist. Put them '
            f'there, or start from scratch by override={{{key!r}: None}}')
    return True
