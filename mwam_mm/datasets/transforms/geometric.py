"""Geometric transforms whose stock form stops at four channels."""
from typing import Mapping, Optional, Tuple

import numpy as np
from mmcv.transforms import Pad

from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import TRANSFORMS

from .loading import stack_mean

__all__ = ['PadModalities']


@TRANSFORMS.register_module()
class PadModalities(Pad):
    """Pad a stacked image of any number of channels and its label map.

    The image is padded at the right and bottom with each channel's mean.
    After normalisation that is 0, what the data preprocessor pads with, and
    what "no information" is everywhere else. (In a uint8 image the mean is
    rounded, and the padding is 0 only up to half a grey level.)

    Required Keys:

    - img
    - gt_seg_map (optional)

    Modified Keys:

    - img
    - gt_seg_map
    - img_shape

    Added Keys:

    - pad_shape
    - pad_fixed_size
    - pad_size_divisor

    Args:
        modalities (Mapping): The layout, see :class:`ModalityLayout`.
        size (tuple[int], optional): Size to pad to, (width, height). Defaults
            to None.
        size_divisor (int, optional): Divisor of the padded height and width.
            Defaults to None.
        pad_to_square (bool): Whether to pad to a square. Defaults to False.
        seg_pad_val (int): Padding value of the label map. Defaults to 255.

    Raises:
        ValueError: If the image does not have the layout's channels.

    Examples:
        >>> dict(
        ...     type='mwam_mm.PadModalities',
        ...     modalities=modalities,
        ...     size=(640, 480))
    """

    def __init__(self,
                 modalities: Mapping,
                 size: Optional[Tuple[int, int]] = None,
                 size_divisor: Optional[int] = None,
                 pad_to_square: bool = False,
                 seg_pad_val: int = 255) -> None:
        super().__init__(
            size=size,
            size_divisor=size_divisor,
            pad_to_square=pad_to_square,
            pad_val=dict(img=0, seg=seg_pad_val))
        self.layout = ModalityLayout(modalities)
        self._mean = np.concatenate(
            [stack_mean(m) for m in self.layout.values()])

    def _pad_img(self, results: dict) -> None:
        stack = results['img']
        height, width, channels = stack.shape
        if channels != self.layout.num_channels:
            raise ValueError(f'the image has {channels} channels, but the '
                             f'layout {self.layout} has '
                             f'{self.layout.num_channels}')
        # The stock transform finds the size and sets the keys; only its
        # filling, by cv2.copyMakeBorder, is limited to four channels.
        results['img'] = stack[..., 0]
        super()._pad_img(results)
        shape = results['img'].shape + (channels, )
        mean = self._mean
        if stack.dtype == np.uint8:
            mean = np.rint(mean)
        padded = np.empty(shape, stack.dtype)
        padded[:height, :width] = stack
        padded[height:] = mean
        padded[:height, width:] = mean
        results['img'] = padded
        results['pad_shape'] = padded.shape
