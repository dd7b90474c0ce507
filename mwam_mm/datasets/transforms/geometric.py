"""Geometric transforms that are made for three channels, on a stack."""
import copy
import random
from typing import Any, Dict, List, Mapping, Optional

import numpy as np
from mmcv.transforms import BaseTransform

from mwam_mm.config import class_of, parameter_of, type_name
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import TRANSFORMS

__all__ = ['FILLING', 'FillWithMean']


class _KeepType(np.ndarray):
    """An array that refuses to become uint8.

    ``MixUp`` casts its images to uint8. They are multiples of its fill value,
    so that one of this class keeps values of other data types as they are.
    """

    def astype(self, dtype, *args, **kwargs):
        if dtype == np.uint8:
            return self.copy()
        return super().astype(dtype, *args, **kwargs)


# The fill values of stock transforms, by the name of the argument. Of those
# whose names MMDetection and MMPretrain share, each takes its own arguments.
_ZEROS = (0., 0., 0.)
FILLING: Dict[str, Dict[str, Any]] = {
    # mmcv and mmseg
    'Pad': dict(pad_val=0),
    'RandomCutOut': dict(fill_in=_ZEROS),
    'RandomMosaic': dict(pad_val=0),
    'RandomRotate': dict(pad_val=0),
    # mmdet
    'CachedMixUp': dict(pad_val=np.zeros(3, np.float32).view(_KeepType)),
    'CachedMosaic': dict(pad_val=0),
    'CopyPaste': dict(),
    'CutOut': dict(fill_in=_ZEROS),
    'Expand': dict(mean=_ZEROS),
    'FixShapeResize': dict(pad_val=0),
    'MixUp': dict(pad_val=np.zeros(3, np.float32).view(_KeepType)),
    'Mosaic': dict(pad_val=0),
    'RandomAffine': dict(border_val=_ZEROS),
    'RandomCenterCropPad': dict(mean=_ZEROS, std=(1., 1., 1.), to_rgb=True),
    'RandomErasing': dict(img_border_value=0, mode='const', fill_color=_ZEROS),
    'RandomShift': dict(),
    'Rotate': dict(img_border_value=0, pad_val=0),
    'ShearX': dict(img_border_value=0),
    'ShearY': dict(img_border_value=0),
    'TranslateX': dict(img_border_value=0),
    'TranslateY': dict(img_border_value=0),
    # mmpretrain
    'Cutout': dict(pad_val=0),
    'RandomCrop': dict(pad_val=0),
    'Shear': dict(pad_val=0),
    'Translate': dict(pad_val=0),
}


@TRANSFORMS.register_module()
class FillWithMean(BaseTransform):
    """Apply a stock transform that fills or mixes images to a stack.

    Padding, rotation, mosaics and the like fill pixels for which there is
    nothing with a grey level, and most of them take three channels only. Here
    the transform gets three channels at a time, each time with the same
    random numbers, and fills with each channel's mean. After normalisation
    that is 0, what the data preprocessor pads with, and what "no information"
    is everywhere else. (In a uint8 image the mean is rounded, and the filling
    is 0 only up to half a grey level.) Values of other types than uint8 keep
    their type, in ``MixUp`` too.

    Where images are mixed that lack different modalities, the mixture lacks
    those that none of them shows; elsewhere "lacks" means the mean.

    Required Keys:

    - img
    - those of the transform
    - absent_modalities (optional)

    Modified Keys:

    - img
    - those of the transform
    - absent_modalities (optional)

    Args:
        transform (dict): Config of the stock transform. Its fill value for
            images has no effect.
        modalities (Mapping): The layout, see :class:`ModalityLayout`.

    Raises:
        ValueError: If ``transform`` is not one that fills or mixes, or the
            image does not have the layout's channels.

    Examples:
        >>> dict(
        ...     type='mwam_mm.FillWithMean',
        ...     modalities=modalities,
        ...     transform=dict(type='Mosaic', img_scale=(640, 640)))
    """

    def __init__(self, transform: dict, modalities: Mapping) -> None:
        self.layout = ModalityLayout(modalities)
        self._mean = np.concatenate(
            [m.stack_mean for m in self.layout.values()]).astype(np.float32)
        transform = copy.deepcopy(dict(transform))
        name = type_name(transform)
        if name not in FILLING:
            raise ValueError(f'FillWithMean is for {sorted(FILLING)}, but got '
                             f'{name}: use it without FillWithMean')
        cls = class_of(transform, TRANSFORMS)
        for key, value in FILLING[name].items():
            # One that is not known is reported where it is built.
            if cls is None or parameter_of(cls, key) is None:
                continue
            if isinstance(transform.get(key), Mapping):  # img, seg, masks
                value = dict(transform[key], img=value)
            elif name in ('FixShapeResize', 'Pad'):
                value = dict(img=value, seg=255)
            transform[key] = value
        last = self.layout.num_channels - 1
        self._groups = [[min(first + i, last) for i in range(3)]
                        for first in range(0, last + 1, 3)]
        # One for each group: some remember the images that they have seen.
        self.transforms = [TRANSFORMS.build(transform) for _ in self._groups]
        # What the wrapper of datasets asks transforms that mix images for:
        # MMDetection's by the first name, MMSegmentation's by the second.
        for key in ('get_indexes', 'get_indices'):
            if hasattr(self.transforms[0], key):
                self.get_indexes = self.get_indices = getattr(
                    self.transforms[0], key)

    def transform(self, results: dict) -> Optional[dict]:
        """Apply the transform.

        Args:
            results (dict): The sample.

        Returns:
            dict: The sample, None where the transform gives none.
        """
        dtype = results['img'].dtype
        states = np.random.get_state(), random.getstate()
        outputs: List[dict] = []
        planes: Dict[int, np.ndarray] = {}
        for channels, transform in zip(self._groups, self.transforms):
            np.random.set_state(states[0])
            random.setstate(states[1])
            output = transform(self._view(results, channels))
            if output is not None:
                outputs.append(output)
                planes.update(
                    zip(channels, np.moveaxis(output['img'], -1, 0)))
        if not outputs:
            return None
        results = outputs[0]
        if 'absent_modalities' in results:
            results['absent_modalities'] = tuple(
                name for name, m in self.layout.items()
                if m.optional and not any(
                    planes[c].any()
                    for c in range(m.start, m.start + m.channels)))
        image = np.stack([planes[c] for c in range(len(self._mean))], -1)
        image = np.asarray(image + self._mean, np.float32)
        if dtype == np.uint8:
            image = np.clip(np.rint(image), 0, 255)
        results['img'] = image.astype(dtype)
        for key in ('img_shape', 'pad_shape'):
            if len(results.get(key, ())) == 3:
                results[key] = (*results[key][:2], image.shape[2])
        return results

    def _view(self, results: dict, channels: List[int]) -> dict:
        """A copy of a sample with some channels only, minus their mean."""
        stack = results['img']
        if stack.shape[-1] != self.layout.num_channels:
            raise ValueError(f'the image has {stack.shape[-1]} channels, but '
                             f'the layout {self.layout} has '
                             f'{self.layout.num_channels}')
        image = stack[..., channels] - self._mean[channels]
        for name in results.get('absent_modalities', ()):
            where = self.layout[name]
            image[..., [
                where.start <= c < where.start + where.channels
                for c in channels
            ]] = 0
        view = {
            key: copy.deepcopy(value)
            for key, value in results.items()
            if key not in ('img', 'mix_results')
        }
        view['img'] = image
        if 'mix_results' in results:
            view['mix_results'] = [
                self._view(other, channels) for other in results['mix_results']
            ]
        return view

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(transform={self.transforms[0]})'
