"""OMBRIA for classification: is this tile flooded?"""
from typing import Iterator, Tuple

import numpy as np

from mwam_mm.registry import DATASETS

from .multi_modal_cls import MultiModalClsDataset
from .ombria import OmbriaDataset
from .transforms import LoadPaletteAnnotations

__all__ = ['OmbriaClsDataset']


@DATASETS.register_module()
class OmbriaClsDataset(MultiModalClsDataset):
    """Tiles of OMBRIA's images of floods, flooded or not.

    Files and layout are those of :class:`OmbriaDataset`. Each image is cut
    into equal tiles, one per sample, its ``crop_box``. A tile counts as
    flooded where the mask says so of enough of it.

    Args:
        data_root (str): The folder.
        split (str): 'train' or 'test'. Defaults to 'train'.
        tiles (int): Number of tiles along each side. Defaults to 2.
        threshold (float): Share of the tile that must be under water.
            Defaults to 0.2, which about half of them have.
        **kwargs: Further arguments of :class:`MultiModalClsDataset`.

    Raises:
        FileNotFoundError: As :class:`OmbriaDataset`.
        ValueError: Likewise, or if a mask has other colours than black and
            white.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.OmbriaClsDataset',
        ...     data_root='data/floods',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             sar=dict(channels=1))),
        ...         dict(type='PackInputs')
        ...     ])
    """
    METAINFO = dict(classes=('dry', 'flooded'))

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 tiles: int = 2,
                 threshold: float = 0.2,
                 **kwargs) -> None:
        self.split = split
        self.tiles = tiles
        self.threshold = threshold
        super().__init__(data_root=data_root, **kwargs)

    def samples(self) -> Iterator[Tuple[str, dict]]:
        """Go through the tiles, see :class:`MultiModalClsDataset`."""
        load = LoadPaletteAnnotations(
            palette=OmbriaDataset.METAINFO['palette'])
        images = OmbriaDataset(self.data_root, self.split)
        for i in range(len(images)):
            info = images.get_data_info(i)
            mask = load(info)['gt_seg_map']
            rows, columns = (
                np.linspace(0, size, self.tiles + 1).astype(int).tolist()
                for size in mask.shape)
            paths = {
                key: info[key]
                for key in OmbriaDataset.FOLDERS if key != 'seg_map_path'
            }
            for top, bottom in zip(rows, rows[1:]):
                for left, right in zip(columns, columns[1:]):
                    share = (mask[top:bottom, left:right] == 1).mean()
                    yield info['img_path'], dict(
                        paths,
                        gt_label=int(share > self.threshold),
                        crop_box=(left, top, right - left, bottom - top))
