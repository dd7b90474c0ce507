"""A multimodal model from the config of a stock OpenMMLab model."""
import copy
from typing import List, Mapping, Optional

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed
from mmengine.model import revert_sync_batchnorm
from torch import nn

from mwam_mm.config import class_of, type_name, walk_dicts
from mwam_mm.models.backbones.multi_branch import change_branch
from mwam_mm.registry import MODELS

from .heads import set_num_classes
from .notice import notice
from .pretrained import (
    compare_normalisation,
    drop_downloads,
    has_weights,
    thaw_backbone,
)
from .probe import probe_levels

__all__ = ['check_base', 'multimodal']

# Models and backbones that take more than an image, or something else.
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
# What stock tools set in the config of a model, whatever its type.
_EDITED = ('pretrained', 'train_cfg', 'test_cfg')
# Stock data preprocessor to ours and the arguments that ours takes over.
_PREPROCESSORS = {
    'SegDataPreProcessor':
    ('mwam_mm.MultiModalSegDataPreprocessor',
     ('size', 'size_divisor', 'seg_pad_val', 'batch_augments', 'test_cfg')),
    'DetDataPreprocessor':
    ('mwam_mm.MultiModalDetDataPreprocessor',
     ('pad_size_divisor', 'pad_mask', 'mask_pad_value', 'pad_seg',
      'seg_pad_value', 'boxtype2tensor', 'batch_augments')),
    'ClsDataPreprocessor':
    ('mwam_mm.MultiModalClsDataPreprocessor',
     ('pad_size_divisor', 'to_onehot', 'num_classes', 'batch_augments')),
}


@MODELS.register_module()
def multimodal(base: Mapping,
               modalities: Mapping,
               num_classes: Optional[int] = None,
               branches: Optional[Mapping[str, dict]] = None,
               fusion: Optional[dict] = None,
               mwam: Optional[dict] = None,
               override: Optional[dict] = None,
               data_preprocessor: Optional[dict] = None,
               **edits) -> nn.Module:
    """Build a stock model with one encoder per modality.

    The base's backbone becomes the branch of every modality, in a
    :class:`MultiModalBackbone`, and its neck, if any, is wrapped in
    :class:`MWAMNeck`, which fuses the branches level by level. Heads, losses
    and everything else stay, and so does the class of the model.

    The log says what cannot stay: pretrained weights that would have to be
    downloaded are left out (a local file is loaded into each branch); what
    the base freezes in its pretrained backbone is then trained; in a run that
    is not distributed SyncBN layers become BN, which computes the same and
    works on a CPU too.

    Args:
        base (Mapping): Config of the stock model: a segmentor of
            MMSegmentation, a detector of MMDetection, a classifier of
            MMPretrain, or another that hands the features of ``backbone`` to
            ``neck`` and heads. In a config file ``_base_.model``.
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        num_classes (int, optional): Number of classes of the dataset. It is
            set in every head that has the base's number, and what the base
            says about single classes (weights in the loss, an ignored label)
            and about stuff (a detector's semantic head) is taken out.
            Defaults to None, the base's classes.
        branches (dict[str, dict], optional): Modality to what differs from
            ``base.backbone`` in its branch, merged as in a config that
            inherits: ``depth=dict(frozen_stages=1)``. ``init_cfg`` replaces
            the base's. Where this changes the numbers of channels, the fused
            levels keep those of the base. Defaults to None.
        fusion (dict, optional): Config of the fusion per level. Defaults to
            None, the sum.
        mwam (dict, optional): Arguments of :class:`mwam_mm.mwam.MWAM`; an
            empty dict takes the paper's constants. Defaults to None, no
            weighting.
        override (dict, optional): Changes to ``base`` in the form of
            ``--cfg-options``, e.g. ``{'backbone.drop_path_rate': 0.1}``. They
            come after ``num_classes``. Defaults to None.
        data_preprocessor (dict, optional): The stock data preprocessor, where
            ``base`` names none: MMEngine's runner passes the config's own.
            Defaults to None.
        **edits: ``pretrained``, ``train_cfg`` and ``test_cfg``, which stock
            tools such as ``mmseg.apis.init_model`` set in a model's config.
            They are set in the base.

    Returns:
        nn.Module: The model, of the base's own class.

    Raises:
        ValueError: If the base is not an encoder-decoder of images, takes
            text, or its backbone gives something else than feature maps.
        FileNotFoundError: If a local file of pretrained weights is missing.
        TypeError: If another argument is given, or ``override`` is no
            mapping.

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
    unknown = sorted(set(edits) - set(_EDITED))
    if unknown:
        raise TypeError(
            f'mwam_mm.multimodal has no arguments {unknown}: give what '
            'differs from the base as branches, fusion, mwam or override')
    if override is not None and not isinstance(override, Mapping):
        raise TypeError(
            'mwam_mm.multimodal.override must be a dict from keys of the base '
            "to values, such as {'backbone.drop_path_rate': 0.1}, but got "
            f'{override!r}')
    base = ConfigDict(copy.deepcopy(dict(base, **edits)))
    base.setdefault('data_preprocessor', data_preprocessor or {})
    check_base(base)
    if num_classes is not None:
        set_num_classes(base, num_classes)
    if override:
        config = Config(base)
        config.merge_from_dict(override)
        base = ConfigDict(config.to_dict())
    drop_downloads(base)
    branch = base.backbone
    if base.get('pretrained'):
        branch.pretrained = base.pretrained
    base.pop('pretrained', None)
    if has_weights(branch):
        compare_normalisation(base.data_preprocessor, modalities.get('rgb'))
    changed = {
        name: _changed_branch(name, branch, changes, override or {})
        for name, changes in (branches or {}).items()
    }
    thaw_backbone(branch, override or {})
    if not is_distributed():
        for _, cfg in walk_dicts([base, changed]):
            if cfg.get('type') == 'MMSyncBN':  # it cannot even be built
                cfg['type'] = 'SyncBN'
    backbone = MODELS.build(
        dict(
            type='mwam_mm.MultiModalBackbone',
            modalities=modalities,
            branch=branch,
            branches=changed))
    levels, eval_levels = probe_levels(backbone, branch)
    out_channels = None
    widths = set(map(tuple, levels.values()))
    if len(widths) > 1 or set(changed) == set(levels):
        # The heads are for the features of the base.
        out_channels = _widths(branch)
    # The model gets this backbone, whose levels are known, not a second one.
    base.backbone = dict(type=lambda: backbone)
    base.neck = dict(
        type='mwam_mm.MWAMNeck',
        modalities=modalities,
        in_channels=levels,
        eval_levels=eval_levels,
        fusion=fusion,
        out_channels=out_channels,
        neck=base.get('neck'),
        mwam=mwam)
    base.data_preprocessor = _preprocessor(base, modalities)
    model = MODELS.build(base)
    head = getattr(model, 'bbox_head', None)
    if type(head).__name__ == 'SSDHead' and not hasattr(head, 'loss_cls'):
        # MMDetection reads it since 3.2, and without it SSD cannot predict
        # (open-mmlab/mmdetection#11780).
        head.loss_cls = None
    if not is_distributed() and any(
            'SyncBatchNorm' in type(m).__name__ for m in model.modules()):
        notice('not a distributed run: SyncBN layers become BN')
        model = revert_sync_batchnorm(model)
    return model


def _changed_branch(name: str, branch: Mapping, changes: Mapping,
                    override: Mapping) -> ConfigDict:
    """Config of the backbone of a branch that differs from the base's."""
    where = f'branches[{name!r}]'
    cfg = change_branch(branch, changes)
    drop_downloads(cfg, where)
    # What is said here stays frozen, as what ``override`` says.
    said = {f'{path}.{key}'
            for path, part in walk_dicts(dict(changes), 'backbone')
            for key in part}
    thaw_backbone(cfg, {**override, **dict.fromkeys(said)}, where)
    return cfg


def _widths(branch: Mapping) -> List[int]:
    """Number of channels of each level that a backbone gives."""
    backbone = MODELS.build(
        dict(
            type='mwam_mm.MultiModalBackbone',
            modalities=dict(rgb=dict(channels=3)),
            branch=branch))
    return probe_levels(backbone, branch)[0]['rgb']


def check_base(base: Mapping) -> None:
    """Refuse a model that cannot be made multimodal, saying why.

    Args:
        base (Mapping): Config of the stock model.

    Raises:
        ValueError: If it takes text or has no backbone.
    """
    backbone = base.get('backbone') or {}
    for cfg in (base, backbone):
        reason = _REFUSED.get(type_name(cfg))
        if reason is not None:
            raise ValueError(
                f'{type_name(cfg)} cannot be made multimodal: {reason}')
    for key, reason in _REFUSED_PARTS.items():
        if base.get(key):
            raise ValueError(
                f'{type_name(base)} cannot be made multimodal: {reason}')
    if 'type' not in backbone:
        raise ValueError(
            f'{type_name(base)} cannot be made multimodal: it has no '
            f'backbone whose copies could encode the modalities, only '
            f'{sorted(base)}')
    name = type_name(base.get('data_preprocessor') or {})
    if name and name not in _PREPROCESSORS:
        raise ValueError(
            f'{type_name(base)} cannot be made multimodal: its '
            f'data_preprocessor is {name}, but only {list(_PREPROCESSORS)} '
            'have a multimodal counterpart')


def _stock_preprocessor(model: Mapping) -> str:
    """Name of the data preprocessor of a model whose config names none."""
    modules = [c.__module__ for c in class_of(model, MODELS).__mro__]
    for package, name in (('mmdet.', 'DetDataPreprocessor'),
                          ('mmpretrain.', 'ClsDataPreprocessor')):
        if any(module.startswith(package) for module in modules):
            return name
    return 'SegDataPreProcessor'


def _preprocessor(model: Mapping, modalities: Mapping) -> dict:
    """The multimodal counterpart of a stock data preprocessor."""
    cfg = model['data_preprocessor']
    name, kept = _PREPROCESSORS[type_name(cfg) or _stock_preprocessor(model)]
    return dict(
        type=name,
        modalities=modalities,
        **{key: cfg[key]
           for key in kept if key in cfg})
