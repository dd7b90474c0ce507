"""Boxes of the potholes, from their masks."""
import os.path as osp
from typing import Dict, Iterator, List, Tuple

import cv2
import mmcv
import numpy as np

from mwam_mm.registry import DATASETS

from .benchmark_det import BenchmarkDetDataset, Box
from .pothole_pairs import pothole_pairs

__all__ = ['PotholeDetDataset']

_COLORS = ((0, 0, 0), (0, 0, 153))  # B, G, R of road and pothole


@DATASETS.register_module()
class PotholeDetDataset(BenchmarkDetDataset):
    """Stereo pothole dataset, 67 RGB-D pairs with a box around each pothole.

    The pairs are those of :class:`PotholeDataset`. A pothole is a connected
    part of the label, in which pixels that share a corner are connected.

    Args:
        data_root (str): Folder with dataset1, dataset2 and dataset3.
        split (str): 'train' or 'test'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.PotholeDetDataset',
        ...     data_root='data/potholes',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=1 / 65535,
        ...                        invalid_value=0))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(classes=('pothole', ), palette=[(153, 0, 0)])

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the pairs of the split."""
        for paths in pothole_pairs(self.data_root, self.split):
            paths = {
                key: osp.relpath(path, self.data_root)
                for key, path in paths.items()
            }
            label = paths.pop('seg_map_path')
            yield paths, label

    def boxes(self, path: str) -> List[Box]:
        """Find the boxes around the parts of a label image."""
        image = mmcv.imread(path)
        if image is None:
            raise ValueError(f'{path!r} is no image, or is damaged')
        road, pothole = ((image == color).all(2) for color in _COLORS)
        if not (road | pothole).all():
            raise ValueError(f'{path!r} has other colours than (0, 0, 0) and '
                             '(153, 0, 0)')
        _, _, parts, _ = cv2.connectedComponentsWithStats(
            pothole.astype(np.uint8))
        return [
            Box('pothole', int(x), int(y), int(x + w), int(y + h))
            for x, y, w, h, _ in parts[1:]  # 0 is the road
        ]
