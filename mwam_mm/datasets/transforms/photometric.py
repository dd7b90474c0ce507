"""Photometric transforms on one modality of a stacked image."""
from typing import Any, Callable, Iterable, List, Mapping, Optional, Union

import numpy as np
from mmcv.transforms import BaseTransform, Compose

from mwam_mm.config import type_name, walk_transforms
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import TRANSFORMS

__all__ = ['PhotometricTransforms']

# Some photometric transforms set these anew without changing the size.
_SHAPE_KEYS = ('img_shape', 'pad_shape')
# Transforms that move pixels and change nothing else of a sample, or nothing
# else of one without a label map.
_MOVING = ('RandomRotate', 'Rotate', 'Shear', 'Translate')
# Albumentations' base class of what moves pixels, and words in the names of
# its subclasses that move none.
_DUAL = 'DualTransform'
_IN_PLACE = ('Dropout', 'Erasing', 'Lambda', 'Masking', 'NoOp')


def _same(old: Any, new: Any) -> bool:
    return new is old or (isinstance(old, np.ndarray)
                          and np.array_equal(old, new))


def _moving(transforms: Iterable[Callable]) -> List[str]:
    """Names of the transforms that are known to move pixels."""
    found = []
    for transform in walk_transforms(transforms):
        # The wrappers of Albumentations hold its transforms as `aug`.
        for part in (transform,
                     *walk_transforms(getattr(transform, 'aug', []))):
            name, *bases = (c.__name__ for c in type(part).__mro__)
            if name in _MOVING or _DUAL in bases and not any(
                    word in name for word in _IN_PLACE):
                found.append(name)
    return found


@TRANSFORMS.register_module()
class PhotometricTransforms(BaseTransform):
    """Apply stock photometric transforms to one modality of the stack.

    OpenMMLab's photometric transforms are made for images of three channels
    with values 0 to 255. They get the channels of one modality here, as
    uint8 by default: on float images MMSegmentation's ones compute a wrong
    hue without an error. Values are rounded for that, as a uint8 image would
    be by ``Resize``. What gives or takes float32 (MMDetection's
    ``PhotoMetricDistortion`` gives it; others take it by ``to_float32``) is
    rounded and clipped to 0 to 255 where the stack is uint8.

    Only the values of the image may change. A transform that changes its size
    or anything else in the sample, or that is known to move pixels, would part
    the modality from the others and is refused.

    Required Keys:

    - img

    Modified Keys:

    - img (the channels of the modality)

    Args:
        transforms (list[dict | Callable]): The photometric transforms.
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        modality (str): Name of the modality. Defaults to 'rgb'.
        to_float32 (bool): Whether the transforms get a float32 image rather
            than a uint8 one. Defaults to False.

    Raises:
        ValueError: If the layout lacks the modality or scales its values, or
            a transform moves pixels; when called, if a value is outside 0 to
            255, or a transform changes more than the values of the image.

    Examples:
        >>> dict(
        ...     type='mwam_mm.PhotometricTransforms',
        ...     modalities=modalities,
        ...     transforms=[dict(type='PhotoMetricDistortion')])
    """

    def __init__(self,
                 transforms: List[Union[dict, Callable]],
                 modalities: Mapping,
                 modality: str = 'rgb',
                 to_float32: bool = False) -> None:
        layout = ModalityLayout(modalities)
        layout.check_names([modality], 'PhotometricTransforms.modality')
        if layout[modality].scale != 1:
            raise ValueError(
                'photometric transforms expect values 0 to 255, but '
                f'modalities[{modality!r}].scale={layout[modality].scale}. '
                'Remove the scale and adapt mean and std instead')
        self.layout = layout
        self.modality = modality
        self.to_float32 = to_float32
        self.transforms = Compose(transforms)
        moving = _moving(self.transforms)
        if moving:
            raise ValueError(
                f'{moving} move pixels, which would part modality '
                f'{modality!r} from the others. Put only photometric '
                'transforms in PhotometricTransforms')

    def __iter__(self):
        """Iterate over the transforms, as MMCV's wrappers do."""
        return iter(self.transforms)

    def transform(self, results: dict) -> Optional[dict]:
        """Apply the transforms to the modality's channels.

        Args:
            results (dict): The sample.

        Returns:
            dict: The sample.
        """
        stack = results['img']
        where = self.layout[self.modality].slice
        image = np.ascontiguousarray(stack[..., where])
        inputs = dict(results, img=self._convert(image))
        outputs = self.transforms(inputs.copy())
        if outputs is None:
            return None
        image = outputs['img']
        if image.shape != inputs['img'].shape:
            raise ValueError(
                f'{self} changes the image from shape {inputs["img"].shape} '
                f'to {image.shape}. Put only photometric transforms in it')
        changed = [
            key for key, value in outputs.items()
            if key not in ('img', ) + _SHAPE_KEYS
            and not (key in inputs and _same(inputs[key], value))
        ]
        if changed:
            raise ValueError(
                f'{self} changes {changed}, which would part modality '
                f'{self.modality!r} from the rest of the sample. Put only '
                'photometric transforms in it')

        if stack.dtype == np.uint8 and image.dtype != np.uint8:
            image = np.clip(np.rint(image), 0, 255)
        # A copy, because TestTimeAug gives one array to several pipelines.
        results['img'] = stack.copy()
        results['img'][..., where] = image
        return results

    def _convert(self, image: np.ndarray) -> np.ndarray:
        """Give the transforms the data type they expect."""
        # Interpolation may overshoot in the last digits.
        if image.min() < -0.01 or image.max() > 255.01:
            raise ValueError(
                f'modality {self.modality!r} has values from {image.min()} '
                f'to {image.max()}, but photometric transforms expect 0 to '
                f'255. Put {type(self).__name__} right after LoadModalities '
                'or, where the files themselves hold such values, leave '
                f'{[type_name(t) for t in self.transforms]} out')
        if not self.to_float32 and image.dtype != np.uint8:
            image = np.rint(image)
        return np.clip(image, 0, 255).astype(
            np.float32 if self.to_float32 else np.uint8)

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(transforms={self.transforms}, '
                f'modality={self.modality!r}, '
                f'to_float32={self.to_float32})')
