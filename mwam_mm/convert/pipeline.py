"""A pipeline for stacked images from a stock one for RGB images."""
import inspect
from typing import Any, List, Mapping, Optional, Sequence

from mmcv.transforms import Compose

from mwam_mm.config import class_of, type_name
from mwam_mm.datasets.transforms.geometric import FILLING
from mwam_mm.datasets.transforms.pipeline import (
    PHOTOMETRIC,
    check_pipeline,
    pack_paths,
)
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import TRANSFORMS

__all__ = [
    'MULTIMODAL', 'expanded', 'loads_annotations', 'multimodal_pipeline',
    'multimodal_transforms'
]

#: What stands for a stock pipeline in a config: by name, by class.
MULTIMODAL = ('multimodal', 'multimodal_pipeline')
_TEXT = 'it prepares the text of a vision-language model'
_VIDEO = 'it is for tracking in videos'
_PRETRAINING = 'it is for pretraining without labels'
_PIL = "it is for PIL images: use the transform of MMPretrain's own"
_REFUSED = {
    'ApplyToList': _PRETRAINING,
    'BEiTMaskGenerator': _PRETRAINING,
    'ConcatCDInput': 'it joins the two images of change detection',
    'InstaBoost': 'it paints over moved objects, and only in RGB',
    'LoadDepthAnnotation': 'the labels are depths, not classes',
    'LoadProposals': 'the proposals belong to another network',
    'LoadTextAnnotations': _TEXT,
    'LoadTrackAnnotations': _VIDEO,
    'MultiView': _PRETRAINING,
    'NumpyToPIL': _PIL,
    'PILToNumpy': _PIL,
    'PackReIDInputs': _VIDEO,
    'PackTrackInputs': _VIDEO,
    'RandomResizedCropAndInterpolationWithTwoPic': _PRETRAINING,
    'RandomSamplingNegPos': _TEXT,
    'SimMIMMaskGenerator': _PRETRAINING,
    'UniformRefFrameSample': _VIDEO,
}
# Arguments that hold transforms, in lists of lists.
_NESTED = ('aug_space', 'policies', 'transforms')


@TRANSFORMS.register_module(name='multimodal')
def multimodal_pipeline(transforms: Sequence[dict],
                        modalities: Mapping,
                        annotations: Optional[dict] = None,
                        loading: Optional[dict] = None) -> Compose:
    """Build a stock pipeline for stacked images.

    Stands for all transforms of the stock pipeline, see
    :func:`multimodal_transforms` for what becomes of them. Others may stand
    before and after it.

    Args:
        transforms (Sequence[dict]): The stock pipeline.
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        annotations (dict, optional): Transform that loads the dataset's
            labels. Defaults to None, the stock pipeline's.
        loading (dict, optional): Arguments of :class:`LoadModalities` beside
            ``modalities``, e.g. ``dict(resize_to='rgb')``. Defaults to None.

    Returns:
        Compose: The transforms.

    Raises:
        ValueError: If a transform has no counterpart for stacked images.

    Examples:
        >>> train_pipeline = [
        ...     dict(type='mwam_mm.multimodal',
        ...          transforms=_base_.train_pipeline,
        ...          modalities=modalities),
        ...     dict(type='mwam_mm.RandomDropModality',
        ...          modalities=modalities)
        ... ]  # doctest: +SKIP
    """
    pipeline = Compose(
        multimodal_transforms(transforms, modalities, annotations, loading))
    check_pipeline(pipeline)
    pack_paths(pipeline)
    return pipeline


def loads_annotations(transform: Mapping) -> bool:
    """Whether a transform loads labels, by its name.

    Args:
        transform (Mapping): Its config.
    """
    name = type_name(transform)
    return name.startswith('Load') and 'Annotation' in name


def expanded(transforms: Sequence[dict]) -> List[dict]:
    """A pipeline whose transforms are all named.

    Args:
        transforms (Sequence[dict]): Configs of the transforms.

    Returns:
        list[dict]: The configs, with those of :func:`multimodal_transforms`
        in the place of each ``mwam_mm.multimodal``.
    """
    steps: List[dict] = []
    for step in transforms:
        if type_name(step) in MULTIMODAL:
            arguments = dict(step)
            for key in ('type', '_scope_'):
                arguments.pop(key, None)
            steps += multimodal_transforms(**arguments)
        else:
            steps.append(step)
    return steps


def multimodal_transforms(transforms: Sequence[dict],
                          modalities: Mapping,
                          annotations: Optional[dict] = None,
                          loading: Optional[dict] = None) -> List[dict]:
    """The configs of a stock pipeline's transforms for stacked images.

    - Loading of the image becomes :class:`LoadModalities`.
    - Loading of the labels stays, but whether to reduce label 0 is left to
      the dataset. Masks of objects become bitmaps, in whatever form they are
      annotated; panoptic labels become boxes and masks of objects.
    - Photometric transforms act on the modality ``rgb`` only, through
      :class:`PhotometricTransforms`.
    - Those that fill or mix images (``Pad``, ``RandomAffine``, ``Mosaic``,
      ...) fill with each channel's mean, through :class:`FillWithMean`.
    - Packing keeps ``absent_modalities`` if a modality is optional, and for
      a detector ``instances``, from which ``CocoMetric`` takes the boxes
      where it has no ``ann_file``.
    - Interpolation that overshoots at edges (bicubic, Lanczos) becomes
      bilinear: in depth it would invent surfaces, and float images are not
      clipped to the values of an image.
    - The operations of MMPretrain's ``AutoAugment`` and ``RandAugment`` are
      treated one by one: colours change in ``rgb`` only, turning and shearing
      is of the whole stack.
    - The others stay. Containers (``TestTimeAug``, ``RandomChoice``,
      ``AutoAugment``, ``MultiBranch``, ...) are looked into.

    Args:
        transforms (Sequence[dict]): The stock pipeline.
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        annotations (dict, optional): Transform that loads the dataset's
            labels. Defaults to None, the stock pipeline's.
        loading (dict, optional): Arguments of :class:`LoadModalities` beside
            ``modalities``. Defaults to None.

    Returns:
        list[dict]: The configs.

    Raises:
        ValueError: If a transform has no counterpart.
    """
    layout = ModalityLayout(modalities)

    def convert(cfg: Any) -> Any:
        if isinstance(cfg, (list, tuple)):
            return [convert(c) for c in cfg]
        cfg = dict(cfg)
        name = type_name(cfg)
        reason = _PIL if '/' in name else _REFUSED.get(name)
        if reason is not None:
            raise ValueError(f'{name} cannot be carried over to modalities '
                             f'{list(layout)}: {reason}')
        if cfg.get('interpolation') in ('bicubic', 'lanczos'):
            cfg['interpolation'] = 'bilinear'
        if name in PHOTOMETRIC:
            if 'rgb' not in layout:
                raise ValueError(
                    f'{name} needs a modality "rgb", but there are '
                    f'{list(layout)}: leave it out of the pipeline')
            return dict(
                type='mwam_mm.PhotometricTransforms',
                modalities=modalities,
                transforms=[cfg])
        if name.startswith('Load') and 'Image' in name:
            kept = ('imdecode_backend', 'backend_args')
            return {
                'type': 'mwam_mm.LoadModalities',
                'modalities': modalities,
                **{key: cfg[key] for key in kept if key in cfg},
                **(loading or {})
            }
        if loads_annotations(cfg):
            if annotations is not None:
                return dict(annotations)
            if name == 'LoadPanopticAnnotations':
                return dict(
                    type='LoadAnnotations', with_bbox=True, with_mask=True)
            for key in ('poly2mask', 'reduce_zero_label'):
                cfg.pop(key, None)
            return cfg
        if name in FILLING and (name != 'RandomCrop' or cfg.get('padding')
                                or cfg.get('pad_if_needed')):
            return dict(
                type='mwam_mm.FillWithMean',
                modalities=modalities,
                transform=cfg)
        if name.startswith('Pack'):
            kept = [key for key, keep in (
                ('absent_modalities',
                 any(m.optional for m in layout.values())),
                ('instances', name == 'PackDetInputs')) if keep]
            meta_keys = cfg.get('meta_keys', _default(cfg, 'meta_keys'))
            if kept:
                cfg['meta_keys'] = tuple(dict.fromkeys([*meta_keys, *kept]))
        if cfg.get('backend') == 'pillow':
            cfg.pop('backend')  # Pillow resizes uint8 images only
        if 'hparams' in cfg or 'num_policies' in cfg or isinstance(
                cfg.get('policies'), str):
            cfg['policies'] = _policies(cfg)
        for key in _NESTED:
            if key in cfg or _default(cfg, key):
                cfg[key] = convert(cfg.get(key) or _default(cfg, key))
        if name == 'MultiBranch':
            cfg.update({
                key: convert(value)
                for key, value in cfg.items()
                if key not in ('type', '_scope_', 'branch_field')
            })
        return cfg

    return convert(transforms)


def _policies(cfg: Mapping) -> List[Any]:
    """The operations of MMPretrain's AutoAugment and RandAugment in full.

    Both would complete them by arguments that a wrapped operation does not
    take.
    """
    from mmpretrain.datasets.transforms import auto_augment
    policies = cfg['policies']
    draws = type_name(cfg) == 'RandAugment'
    if isinstance(policies, str):
        known = (
            auto_augment.RANDAUG_POLICIES
            if draws else auto_augment.AUTOAUG_POLICIES)
        policies = known[policies]
    if not draws:  # which does not pass on `hparams`
        return policies
    hparams = cfg.get('hparams', _default(cfg, 'hparams'))
    level = dict(
        magnitude_level=cfg['magnitude_level'],
        total_level=cfg.get('total_level', _default(cfg, 'total_level')),
        magnitude_std=cfg.get('magnitude_std', _default(cfg, 'magnitude_std')))
    complete = []
    for policy in policies:
        policy = auto_augment.merge_hparams(dict(policy), hparams)
        policy.pop('magnitude_key', None)
        if 'magnitude_range' in policy:
            policy.update(level)
        complete.append(policy)
    return complete


def _default(cfg: Mapping, key: str) -> Any:
    """Default of a transform's argument, None where it takes no such."""
    type_ = class_of(cfg, TRANSFORMS)
    if type_ is None:  # building the transform will say so
        return None
    parameter = inspect.signature(type_).parameters.get(key)
    if parameter is None or parameter.default is parameter.empty:
        return None
    return parameter.default
