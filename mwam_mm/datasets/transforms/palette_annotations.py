"""Loading of label maps that are stored as colour images."""
from typing import Optional, Sequence

import mmengine.fileio as fileio
import numpy as np
from mmseg.datasets.transforms import LoadAnnotations

from mwam_mm.registry import TRANSFORMS

from .decoding import check_upright, decode

__all__ = ['LoadPaletteAnnotations']


@TRANSFORMS.register_module()
class LoadPaletteAnnotations(LoadAnnotations):
    """Load a label map stored as a colour image.

    Required Keys:

    - seg_map_path (str)
    - seg_fields (list)
    - label_map (dict, optional)
    - reduce_zero_label (bool, optional)

    Modified Keys:

    - seg_fields

    Added Keys:

    - gt_seg_map (np.ndarray): Class ids of shape (H, W), uint8.

    Args:
        palette (Sequence[Sequence[int]]): The colour (R, G, B) of each class
            id, in the order of the dataset's ``METAINFO['classes']``.
        imdecode_backend (str): Backend of :func:`mmcv.imfrombytes`. Defaults
            to 'pillow'.
        backend_args (dict, optional): Arguments of the file backend, see
            :mod:`mmengine.fileio`. Defaults to None.

    Raises:
        ValueError: If the palette is not a list of different colours, or if
            the label image cannot be read or has a colour that the palette
            does not have.

    Examples:
        >>> dict(
        ...     type='mwam_mm.LoadPaletteAnnotations',
        ...     palette=[[0, 0, 0], [153, 0, 0]])
    """

    def __init__(self,
                 palette: Sequence[Sequence[int]],
                 imdecode_backend: str = 'pillow',
                 backend_args: Optional[dict] = None) -> None:
        super().__init__(
            imdecode_backend=imdecode_backend, backend_args=backend_args)
        self.palette = [tuple(color) for color in palette]
        colors = np.array(self.palette)
        if colors.ndim != 2 or colors.shape[1] != 3 or not (
                0 <= colors.min() and colors.max() <= 255):
            raise ValueError('palette must be a list of (R, G, B) with '
                             f'values 0 to 255, but got {palette}')
        codes = self._encode(colors[..., ::-1])
        self._order = np.argsort(codes)
        self._codes = codes[self._order]
        if (np.diff(self._codes) == 0).any():
            raise ValueError(f'palette names a colour twice: {palette}')

    @staticmethod
    def _encode(bgr: np.ndarray) -> np.ndarray:
        """One integer per colour."""
        bgr = bgr.astype(np.int32)
        return bgr[..., 0] | bgr[..., 1] << 8 | bgr[..., 2] << 16

    def _load_seg_map(self, results: dict) -> None:
        where = f"results['seg_map_path'] = {results['seg_map_path']!r}"
        content = fileio.get(
            results['seg_map_path'], backend_args=self.backend_args)
        check_upright(content, where)
        codes = self._encode(
            decode(content, 'color_ignore_orientation',
                   self.imdecode_backend, where))

        index = np.searchsorted(self._codes, codes)
        index[index == len(self._codes)] = 0
        unknown = codes[self._codes[index] != codes]
        if unknown.size:
            code = int(unknown[0])
            color = (code >> 16, code >> 8 & 255, code & 255)
            raise ValueError(
                f'{where} has {unknown.size} pixel(s) of colours that are '
                f'not in the palette, e.g. (R, G, B) = {color}. Add the '
                f'colour to palette={self.palette} or correct the file')

        ids = np.arange(len(self._codes))
        if results.get('reduce_zero_label'):
            ids = (ids - 1) % 256
        label_map = results.get('label_map') or {}
        ids = np.array([label_map.get(i, i) for i in ids.tolist()], np.uint8)
        results['gt_seg_map'] = ids[self._order][index]
        results['seg_fields'].append('gt_seg_map')

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(palette={self.palette}, '
                f'imdecode_backend={self.imdecode_backend!r}, '
                f'backend_args={self.backend_args})')
