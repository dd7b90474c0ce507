"""A multimodal model of a stock segmentor's or detector's config."""
import copy
import logging
import os.path as osp
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from mwam_mm.registry import MODELS

from .backbones import MultiModalBackbone, flatten_levels
from .backbones.multi_branch import default_of

__all__ = ['multimodal']

# Models and backbones that more than the image enters, or something else.
_REFUSED = {
    'BoxInst':
    'it finds the masks by the similarity of RGB colours in the data '
    'preprocessor',
    'CLRNet':
    'it is for lanes, which are no boxes',
    'Detectron2Wrapper':
    'the model is Detectron2\'s, as one piece',
    'DepthEstimator':
    'it estimates depth, from a backbone that takes text, and has no classes',
    'MaskTrackRCNN':
    'it is for instances in videos',
    'Mask2FormerVideo':
    'it is for instances in videos',
    'MultimodalEncoderDecoder':
    'its image encoder is one half of CLIP, whose other half encodes the '
    'names of the classes; a further modality has no such text to be '
    'compared with',
    'PanopticFPN':
    'it learns the label maps of stuff, which a detection dataset does not '
    'have; Mask R-CNN is the same without them',
    'TridentFasterRCNN':
    'its backbone gives three images for one in training, and its heads ask '
    'it how many',
    'VPD':
    'the backbone is a diffusion model that takes the names of the classes '
    'as text beside the image',
}
# Parts of models that are more than an encoder and a decoder of images.
_REFUSED_PARTS = {
    'detector':
    'it wraps a whole detector, for tracking in videos or for training with '
    'unlabelled images; make the config of that detector multimodal',
    'language_model':
    'it is a vision-language model, whose text encoder a further modality '
    'has nothing to do with',
    'teacher_config':
    'it learns from a trained RGB detector, which sees no further modality',
}
# Ours for each stock data preprocessor, and the arguments it takes over.
_PREPROCESSORS = {
    'SegDataPreProcessor':
    ('mwam_mm.MultiModalSegDataPreprocessor',
     ('size', 'size_divisor', 'seg_pad_val', 'batch_augments', 'test_cfg')),
    'DetDataPreprocessor':
    ('mwam_mm.MultiModalDetDataPreprocessor',
     ('pad_size_divisor', 'pad_mask', 'mask_pad_value', 'pad_seg',
      'seg_pad_value', 'boxtype2tensor', 'batch_augments')),
}
# Sizes of the image that shows what a backbone gives, until one fits.
_PROBE_SIZES = (64, 128, 256)


@MODELS.register_module()
def multimodal(base: Mapping,
               modalities: Mapping,
               num_classes: Optional[int] = None,
               fusion: Optional[dict] = None,
               mwam: Optional[dict] = None,
               override: Optional[dict] = None,
               data_preprocessor: Optional[dict] = None) -> nn.Module:
    """Build a stock segmentor or detector with one encoder per modality.

    The base's backbone becomes the branch of every modality, in a
    :class:`MultiModalBackbone`, and its neck, if any, is wrapped in
    :class:`MWAMNeck`, which fuses the branches level by level. Heads, losses
    and everything else stay, and so does the class of the model.

    What cannot stay is said in the log: pretrained weights that would have to
    be downloaded are left out (a local file is loaded into each branch), what
    the base freezes in its pretrained backbone is then trained, and without a
    distributed run SyncBN layers become the equivalent BN, which unlike them
    works on a CPU.

    Args:
        base (Mapping): Config of the stock model: a segmentor of
            MMSegmentation, a detector of MMDetection, or another that hands
            the features of ``backbone`` to ``neck`` and heads. In a config
            file ``_base_.model``.
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        num_classes (int, optional): Number of classes of the dataset. It is
            set in every head that has the base's number, and what the base
            says about single classes (weights in the loss, an ignored label)
            and about stuff (a detector's semantic head) is taken out.
            Defaults to None, the base's classes.
        fusion (dict, optional): Config of the fusion per level. Defaults to
            None, the sum.
        mwam (dict, optional): Arguments of :class:`mwam_mm.mwam.MWAM`; an
            empty dict takes the paper's constants. Defaults to None, no
            weighting.
        override (dict, optional): Changes to ``base``, after everything
            above, in the form of ``--cfg-options``, e.g.
            ``{'backbone.drop_path_rate': 0.1}``. Defaults to None.
        data_preprocessor (dict, optional): The stock data preprocessor, where
            ``base`` names none: MMEngine's runner passes the config's own.
            Defaults to None.

    Returns:
        nn.Module: The model, of the base's own class.

    Raises:
        ValueError: If the base is not an encoder-decoder of images, takes
            text, or its backbone gives something else than feature maps.
        FileNotFoundError: If a local file of pretrained weights is missing.

    Examples:
        .. code-block:: python

            _base_ = ['./my_segformer.py']
            modalities = dict(
                rgb=dict(channels=3, mean=[123.7, 116.3, 103.5],
                         std=[58.4, 57.1, 57.4], bgr_to_rgb=True),
                depth=dict(channels=1, mean=2.8, std=1.4, scale=0.001,
                           invalid_value=0))
            model = dict(
                _delete_=True, type='mwam_mm.multimodal', base=_base_.model,
                modalities=modalities, num_classes=13, mwam=dict())
            custom_hooks = [dict(type='mwam_mm.MWAMHook')]
    """
    base = ConfigDict(copy.deepcopy(dict(base)))
    base.setdefault('data_preprocessor', data_preprocessor or {})
    check_base(base)
    if num_classes is not None:
        _set_num_classes(base, num_classes)
    if override:
        config = Config(base)
        config.merge_from_dict(override)
        base = ConfigDict(config.to_dict())
    _drop_downloads(base)
    if not is_distributed():
        for _, cfg in _walk(base, 'base'):
            if cfg.get('type') == 'MMSyncBN':  # cannot even be built
                cfg['type'] = 'SyncBN'

    branch = base.backbone
    if base.get('pretrained'):
        branch.pretrained = base.pretrained
    base.pop('pretrained', None)
    _thaw(branch, override or {})
    backbone = MODELS.build(
        dict(
            type='mwam_mm.MultiModalBackbone',
            modalities=modalities,
            branch=branch))
    levels, eval_levels = _probe(backbone, branch)
    # The model gets the backbone that was looked into, not a second one.
    base.backbone = dict(type=lambda: backbone)
    base.neck = dict(
        type='mwam_mm.MWAMNeck',
        modalities=modalities,
        in_channels=levels,
        eval_levels=eval_levels,
        fusion=fusion,
        neck=base.get('neck'),
        mwam=mwam)
    base.data_preprocessor = _preprocessor(base, modalities)
    model = MODELS.build(base)
    head = getattr(model, 'bbox_head', None)
    if type(head).__name__ == 'SSDHead' and not hasattr(head, 'loss_cls'):
        # MMDetection asks for it since 3.2 and SSD cannot predict without
        # (open-mmlab/mmdetection#11780).
        head.loss_cls = None
    if not is_distributed() and any(
            'SyncBatchNorm' in type(m).__name__ for m in model.modules()):
        _notice('not a distributed run: SyncBN layers become BN')
        model = revert_sync_batchnorm(model)
    return model


def check_base(base: Mapping) -> None:
    """Refuse a model that cannot be made multimodal, saying why.

    Args:
        base (Mapping): Config of the stock model.

    Raises:
        ValueError: If it takes text or has no backbone.
    """
    backbone = base.get('backbone') or {}
    for cfg in (base, backbone):
        reason = _REFUSED.get(_type_name(cfg))
        if reason is not None:
            raise ValueError(
                f'{_type_name(cfg)} cannot be made multimodal: {reason}')
    for key, reason in _REFUSED_PARTS.items():
        if base.get(key):
            raise ValueError(
                f'{_type_name(base)} cannot be made multimodal: {reason}')
    if 'type' not in backbone:
        raise ValueError(
            f'{_type_name(base)} cannot be made multimodal: it has no '
            f'backbone whose copies could encode the modalities, only '
            f'{sorted(base)}')
    name = _type_name(base.get('data_preprocessor') or {})
    if name and name not in _PREPROCESSORS:
        raise ValueError(
            f'{_type_name(base)} cannot be made multimodal: its '
            f'data_preprocessor is {name}, but only {list(_PREPROCESSORS)} '
            'have a multimodal counterpart')


def _notice(message: str) -> None:
    print_log(
        f'multimodal: {message}', logger='current', level=logging.WARNING)


def _type_name(cfg: Mapping) -> str:
    type_ = cfg.get('type', '')
    return type_.split('.')[-1] if isinstance(type_, str) else type_.__name__


def _walk(cfg: Any, path: str) -> Iterator[Tuple[str, dict]]:
    """All dicts within a config, with their paths."""
    if isinstance(cfg, dict):
        yield path, cfg
        cfg = cfg.items()
    elif isinstance(cfg, (list, tuple)):
        cfg = enumerate(cfg)
    else:
        return
    for key, value in list(cfg):
        yield from _walk(value, f'{path}.{key}')


def _set_num_classes(base: ConfigDict, num_classes: int) -> None:
    """Adapt the heads to another dataset."""
    heads = {
        key: value
        for key, value in base.items()
        if key not in ('backbone', 'neck', 'rpn_head', 'data_preprocessor')
    }
    _drop_stuff(base)
    old = main_num_classes(base)
    if old is None:
        return
    for path, cfg in _walk(heads, 'base'):
        # Not e.g. STDC's head for boundaries, which has classes of its own.
        for key in ('num_classes', 'num_things_classes'):
            if cfg.get(key) == old:
                cfg[key] = num_classes
                if cfg.get('out_channels') == 1 and num_classes != old:
                    cfg.pop('out_channels')  # one sigmoid for two classes
        if isinstance(cfg.get('ignore_index'), int):
            _notice(f'{path}.ignore_index={cfg.pop("ignore_index")} left out: '
                    'it is about the classes of the base')
        weight = cfg.get('class_weight')
        if not isinstance(weight, (list, tuple)):
            continue
        if len(weight) > old and len(set(weight[:-1])) == 1:
            # DETR-like: the last weight is that of "no object".
            cfg['class_weight'] = [weight[0]] * num_classes + [weight[-1]]
        else:
            cfg.pop('class_weight')
            _notice(f'{path}.class_weight left out: it is about the classes '
                    'of the base')


def _drop_stuff(base: ConfigDict) -> None:
    """Leave out what a detector learns of label maps beside its boxes."""
    roi_head = base.get('roi_head') or {}
    if roi_head.get('semantic_head'):
        roi_head.semantic_head = None
        if 'semantic_roi_extractor' in roi_head:
            roi_head.semantic_roi_extractor = None
        _notice('base.roi_head.semantic_head left out: it learns the label '
                'maps of the base')
    stuff = [cfg for _, cfg in _walk(base, 'base')
             if cfg.get('num_stuff_classes')]
    for cfg in stuff:
        cfg['num_stuff_classes'] = 0
    if stuff:
        base.test_cfg.update(
            panoptic_on=False, semantic_on=False, instance_on=True)
        _notice('the classes of stuff are left out: instances instead of '
                'panoptic segmentation')


def main_num_classes(base: Mapping) -> Optional[int]:
    """Number of classes of the model's main head.

    Returns:
        int | None: None of a region proposal network, which has no classes.

    Raises:
        ValueError: If there is none.
    """
    keys = ('decode_head', 'roi_head', 'bbox_head', 'panoptic_head',
            'mask_head')
    for key in keys:
        head = base.get(key) or {}
        if key == 'decode_head' and isinstance(head, (list, tuple)):
            head = head[-1]
        for _, cfg in _walk(head, key):
            for name in ('num_classes', 'num_things_classes'):
                if name in cfg:
                    return cfg[name]
    if base.get('rpn_head') and not base.get('roi_head'):
        return None
    raise ValueError('num_classes is given, but no num_classes is found in '
                     f'any of {list(keys)} of base')


def _thaw(branch: ConfigDict, override: Mapping) -> None:
    """Let a backbone that starts from scratch be trained as a whole.

    Detectors freeze the statistics of BN and the first stages of the backbone
    that they expect to be pretrained.
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
    none = default_of(cls, 'frozen_stages')  # -1, and 0 of EfficientNet
    if branch.get('frozen_stages', none) != none and \
            'backbone.frozen_stages' not in override:
        branch.frozen_stages = none
        changed.append('frozen_stages')
    if norm_cfg.get('requires_grad') is False and \
            'backbone.norm_cfg.requires_grad' not in override:
        norm_cfg.requires_grad = True
        changed.append('norm_cfg.requires_grad')
    if norm_eval and norm_cfg.get('eps') == 0:  # NAS-FCOS
        norm_cfg.pop('eps')
        changed.append('norm_cfg.eps')
    if changed:
        _notice(f'base.backbone starts from scratch, so {changed} left out: '
                'what is frozen there would stay random')


def _drop_downloads(base: ConfigDict) -> None:
    """Leave out pretrained weights that are not on this machine."""
    for path, cfg in _walk(base, 'base'):
        if isinstance(cfg.get('pretrained'), str) and not _is_local(
                cfg['pretrained'], f'{path}.pretrained'):
            cfg['pretrained'] = None
        init = cfg.get('init_cfg')
        if isinstance(init, dict) and not _keeps(init, path):
            cfg.pop('init_cfg')
        elif isinstance(init, (list, tuple)):
            cfg['init_cfg'] = [c for c in init if _keeps(c, path)]
    for path, cfg in _walk(base.backbone, 'base.backbone'):
        for key, value in cfg.items():
            if _is_remote(value):
                raise ValueError(
                    f'{_type_name(base.backbone)} cannot be made multimodal '
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
        _notice(f'{where}: {file} left out, training starts from scratch. '
                'To use it, download the file and name its path')
        return False
    if not osp.exists(file):
        key = where[len('base.'):]
        raise FileNotFoundError(
            f'{where}: the pretrained weights {file!r} do not exist. Put them '
            f'there, or start from scratch by override={{{key!r}: None}}')
    return True


def _stock_preprocessor(model: Mapping) -> str:
    """The one that belongs to a model whose config names none."""
    with MODELS.switch_scope_and_registry(model.get('_scope_')) as registry:
        cls = model['type']
        cls = registry.get(cls) if isinstance(cls, str) else cls
    detects = any(c.__module__.startswith('mmdet.') for c in cls.__mro__)
    return 'DetDataPreprocessor' if detects else 'SegDataPreProcessor'


def _preprocessor(model: Mapping, modalities: Mapping) -> dict:
    """The multimodal counterpart of a stock data preprocessor."""
    cfg = model['data_preprocessor']
    name, kept = _PREPROCESSORS[_type_name(cfg) or _stock_preprocessor(model)]
    return dict(
        type=name,
        modalities=modalities,
        **{key: cfg[key]
           for key in kept if key in cfg})


def _probe(
    backbone: MultiModalBackbone, cfg: Mapping
) -> Tuple[Dict[str, List[int]], Optional[List[int]]]:
    """Find out what the branches give, by a forward of a tiny image.

    It leaves no trace in the backbone or in the random state.

    Args:
        backbone (MultiModalBackbone): The backbone.
        cfg (Mapping): Config of its branches.

    Returns:
        tuple: Modality to the number of channels per level, and which of the
        levels are given in evaluation, None for all.

    Raises:
        ValueError: If a branch fails or gives no feature maps.
    """
    where = f'backbone {_type_name(cfg)}'
    size = cfg.get('img_size')
    sizes = [size] if size else list(_PROBE_SIZES)
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
                    # itself is switched: its layers compute the same.
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
