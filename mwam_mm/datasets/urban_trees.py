"""Urban trees: aerial tiles in RGB and near infrared."""
import csv
import os.path as osp
from typing import Dict, Iterator, List, Tuple

from mwam_mm.registry import DATASETS

from .benchmark_det import BenchmarkDetDataset, Box, read_list, to_number

__all__ = ['UrbanTreesDataset']

_SIDE = 256  # height and width of the tiles in pixels


@DATASETS.register_module()
class UrbanTreesDataset(BenchmarkDetDataset):
    """Urban trees of Southern California, 311 RGB and near-infrared tiles.

    `Individual Tree Detection in Large-Scale Urban Environments using
    High-Resolution Multispectral Imagery
    <https://github.com/jonathanventura/urban-tree-detection-data>`_, in the
    layout of its publishers:

    .. code-block:: none

        data_root
        ├── images/NAME.tif         256 x 256, 8 bits: R, G, B, near infrared
        ├── csv/NAME.csv            x and y of each tree; no file: no tree
        ├── train_socal.txt         names; no place is in two lists
        ├── val_socal.txt
        └── test_socal.txt

    A tree is annotated as a point. As the publishers do for box detectors, its
    box is a square of fixed size around the point, cut off at the edge of the
    tile. Both modalities are channels of one file: near infrared needs
    ``path_key='img_path'`` and ``file_channels=[3]``.

    Args:
        data_root (str): Folder with images, csv and the lists.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        box_size (float): Side of the boxes in pixels of 0.6 m. Defaults to
            24.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.UrbanTreesDataset',
        ...     data_root='data/urban_trees',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, file_channels=[0, 1, 2],
        ...                      bgr_to_rgb=True),
        ...             nir=dict(channels=1, file_channels=[3],
        ...                      path_key='img_path'))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(classes=('tree', ), palette=[(60, 180, 75)])
    SPLITS = ('train', 'val', 'test')

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 box_size: float = 24,
                 **kwargs) -> None:
        if box_size <= 0:
            raise ValueError(f'box_size must be positive, but got {box_size}')
        self.box_size = box_size
        super().__init__(data_root, split, **kwargs)

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the tiles of the split."""
        for name in read_list(
                osp.join(self.data_root, f'{self.split}_socal.txt')):
            yield dict(img_path=f'images/{name}.tif'), f'csv/{name}.csv'

    def boxes(self, path: str) -> List[Box]:
        """Read the points of a tile, which has none if there is no file."""
        if not osp.isfile(path):
            return []
        boxes = []
        half = self.box_size / 2
        with open(path, newline='', encoding='utf-8') as file:
            rows = csv.DictReader(file)
            if not {'x', 'y'} <= set(rows.fieldnames or ()):
                raise ValueError(f'{path!r} has columns {rows.fieldnames}; '
                                 "expected 'x' and 'y'")
            for row in rows:
                x, y = (
                    to_number(row[key], f'{path!r}, line {rows.line_num}')
                    for key in 'xy')
                if not (0 <= x < _SIDE and 0 <= y < _SIDE):
                    raise ValueError(
                        f'{path!r}, line {rows.line_num}: the point '
                        f'({x:g}, {y:g}) is outside the tile')
                boxes.append(
                    Box('tree', max(x - half, 0), max(y - half, 0),
                        min(x + half, _SIDE), min(y + half, _SIDE)))
        return boxes
