"""Refusal of pipelines that spoil a stacked multimodal image."""
from typing import Callable, Iterable, Iterator, List

from mwam_mm.config import walk_transforms
from mwam_mm.layout import Modality

from .clip import LoadClip
from .geometric import FILLING
from .loading import LoadModalities

__all__ = [
    'check_pipeline', 'flatten_pipeline', 'keep_absent', 'loaded_modalities',
    'pack_paths'
]

PHOTOMETRIC = frozenset([
    # mmcv and mmseg
    'AdjustGamma', 'Albu', 'BioMedicalGaussianBlur',
    'BioMedicalGaussianNoise', 'BioMedicalRandomGamma', 'CLAHE',
    'PhotoMetricDistortion', 'RandomGrayscale', 'Rerange', 'RGB2Gray',
    # mmdet
    'AutoContrast', 'Brightness', 'Color', 'ColorTransform', 'Contrast',
    'Corrupt', 'Equalize', 'Invert', 'Posterize', 'Sharpness', 'Solarize',
    'SolarizeAdd', 'YOLOXHSVRandomAug',
    # mmpretrain, which has some of mmdet's names too
    'Albumentations', 'ColorJitter', 'GaussianBlur', 'Lighting'
])  # yapf: disable
# Transforms that turn or shear the image, but not the vectors in it.
_TURNING = frozenset([
    'RandomAffine', 'RandomFlip', 'RandomRotate', 'RandomRotFlip', 'Rotate',
    'Shear', 'ShearX', 'ShearY'
])
# Those of FILLING that take any number of channels, and up to four.
_ANY = frozenset([
    'CopyPaste', 'RandomAffine', 'RandomCrop', 'RandomErasing', 'RandomRotate',
    'RandomShift', 'Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'
])
_FOUR = frozenset(['FixShapeResize', 'Pad'])


def flatten_pipeline(transforms: Iterable[Callable]) -> Iterator[Callable]:
    """Go through the transforms that get the stacked image.

    Args:
        transforms (Compose | Sequence[Callable]): Built transforms.

    Yields:
        Callable: The transforms and those that containers hold, apart from
        what :class:`FillWithMean` and :class:`PhotometricTransforms` hold,
        which never get the whole stack.
    """
    return walk_transforms(
        transforms, closed=('FillWithMean', 'PhotometricTransforms'))


def loaded_modalities(transforms: Iterable[Callable]) -> List[Modality]:
    """The modalities that a pipeline loads.

    Args:
        transforms (Compose | Sequence[Callable]): Built transforms.

    Returns:
        list[Modality]: Those of each :class:`LoadModalities`.
    """
    return [
        modality for transform in flatten_pipeline(transforms)
        if isinstance(transform, LoadModalities)
        for modality in transform.layout.values()
    ]


def keep_absent(transforms: Iterable[Callable]) -> None:
    """Let the packing of a pipeline keep which modalities a sample lacks.

    Args:
        transforms (Compose | Sequence[Callable]): Built transforms. Where a
            modality is optional, ``absent_modalities`` is added to the
            ``meta_keys`` of those that have such.
    """
    if not any(m.optional for m in loaded_modalities(transforms)):
        return
    for transform in flatten_pipeline(transforms):
        keys = getattr(transform, 'meta_keys', ('absent_modalities', ))
        if 'absent_modalities' not in keys:
            transform.meta_keys = (*keys, 'absent_modalities')


def check_pipeline(transforms: Iterable[Callable]) -> None:
    """Refuse stock transforms that do not work on a stacked image.

    OpenMMLab's photometric transforms expect three channels. On a stack of
    four some of them drop or repaint the fourth without a word, so they are
    refused before the first sample rather than tolerated. A pipeline without
    :class:`LoadModalities` has no stack and is left alone.

    Where :class:`LoadClip` loads flow, transforms that turn or shear the image
    are refused: the vectors of the flow would stay as they are.

    It also refuses a packing that forgets which optional modalities a sample
    lacks: training and tests would take them for images of 0.

    Args:
        transforms (Compose | Sequence[Callable]): Built transforms.
            Containers such as ``RandomApply``, ``RandomChoice``,
            ``MultiBranch`` and ``TestTimeAug`` are looked into.

    Raises:
        ValueError: If a transform does not fit. The message names it and
            what to use instead.
    """
    loaded = loaded_modalities(transforms)
    if not loaded:
        return
    _check_flow(transforms)
    num_channels = max(m.start + m.channels for m in loaded)
    optional = [m.name for m in loaded if m.optional]
    for transform in flatten_pipeline(transforms):
        name = type(transform).__name__
        if name in PHOTOMETRIC:
            raise ValueError(
                f'{name} expects an RGB image, but the pipeline stacks '
                f'modalities {[m.name for m in loaded]}: it would fail on, '
                'drop or repaint the other channels. Wrap it as dict('
                "type='mwam_mm.PhotometricTransforms', modalities=..., "
                f"transforms=[dict(type='{name}', ...)])")
        if optional and 'absent_modalities' not in getattr(
                transform, 'meta_keys', ('absent_modalities', )):
            raise ValueError(
                f'modalities {optional} are optional, but {name} does not '
                "keep which of them a sample lacks: add 'absent_modalities' "
                'to its meta_keys')
        if name == 'Normalize':
            raise ValueError(
                'Normalize does not know the modalities. Give mean and std '
                'in `modalities` and let the data preprocessor apply them')
        if getattr(transform, 'backend', None) == 'pillow':
            raise ValueError(
                f"{name} has backend='pillow', which resizes RGB images of "
                "data type uint8 only: leave out the backend")
        if name in FILLING and (_fills_with_grey(transform) or (
                name not in _ANY and
                not (name in _FOUR and num_channels <= 4))):
            raise ValueError(
                f'{name} works on up to {4 if name in _FOUR else 3} channels, '
                f'but the pipeline stacks {num_channels}. Wrap it as dict('
                "type='mwam_mm.FillWithMean', modalities=..., "
                f"transform=dict(type='{name}', ...))")


def _check_flow(transforms: Iterable[Callable]) -> None:
    """Refuse what turns the image of a clip, but not its flow."""
    # FillWithMean is looked into: what it holds moves the whole stack.
    steps = list(walk_transforms(transforms, ('PhotometricTransforms', )))
    if not any(isinstance(step, LoadClip) and 'flow' in step.layout
               for step in steps):
        return
    for name in (type(step).__name__ for step in steps):
        if name in _TURNING:
            raise ValueError(
                f'{name} turns the image, but not the motion that the flow '
                'says: use mwam_mm.FlipClip, or leave it out')


def pack_paths(transforms: Iterable[Callable]) -> None:
    """Let the data samples say where the files of their modalities are.

    Stock packing keeps ``img_path`` only; pictures of a sample are made of
    all its files (:class:`mwam_mm.MultiModalSegVisualizer`).

    Args:
        transforms (Compose | Sequence[Callable]): Built transforms, whose
            ``meta_keys`` get the ``path_key`` of each modality.
    """
    keys = [m.path_key for m in loaded_modalities(transforms)]
    for transform in flatten_pipeline(transforms):
        if hasattr(transform, 'meta_keys'):
            transform.meta_keys = tuple(
                dict.fromkeys([*transform.meta_keys, *keys]))


def _fills_with_grey(transform: Callable) -> bool:
    """Whether a transform of MMPretrain fills, which is with three values."""
    if not type(transform).__module__.startswith('mmpretrain.'):
        return False
    return type(transform).__name__ != 'RandomCrop' or bool(
        transform.padding is not None or transform.pad_if_needed)
