"""MFNet: urban roads in RGB and thermal, by day and by night."""
import os.path as osp
from typing import List, Optional

from mwam_mm.registry import DATASETS

from .benchmark import BenchmarkSegDataset

__all__ = ['MFNetDataset', 'select_subset']

_SUFFIXES = dict(day='D', night='N')


def select_subset(data_list: List[dict], subset: Optional[str]) -> List[dict]:
    """Select samples by the last letter of their names: Day or Night.

    Args:
        data_list (list[dict]): Data dicts with ``img_path``.
        subset (str, optional): 'day', 'night', or None for both.

    Returns:
        list[dict]: The selected data dicts.

    Raises:
        ValueError: If ``subset`` is unknown, or nothing is selected.
    """
    if subset is None:
        return data_list
    if subset not in _SUFFIXES:
        raise ValueError(
            f"subset must be None, 'day' or 'night', but got {subset!r}")
    selected = [
        info for info in data_list
        if osp.splitext(info['img_path'])[0].endswith(_SUFFIXES[subset])
    ]
    if not selected:
        raise ValueError(
            f'subset={subset!r} selects none of {len(data_list)} samples: no '
            f'name ends in {_SUFFIXES[subset]!r} as in '
            f"'00001{_SUFFIXES[subset]}.png'")
    return selected


@DATASETS.register_module()
class MFNetDataset(BenchmarkSegDataset):
    """MFNet's multi-spectral road scenes, 1569 RGB-thermal pairs, 9 classes.

    `MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles
    with Multi-Spectral Scenes
    <https://www.mi.t.u-tokyo.ac.jp/static/projects/mil_multispectral/>`_, in
    the layout of its publishers (``ir_seg_dataset``):

    .. code-block:: none

        data_root
        ├── images/NNNNND.png   4 channels: R, G, B, thermal (N: by night)
        ├── labels/NNNNND.png   class ids, 0 to 8
        ├── train.txt           784 pairs; val.txt 392, test.txt 393
        └── ...

    Both modalities are channels of one file: thermal needs
    ``path_key='img_path'`` and ``file_channels=[3]``. "unlabelled" counts as
    a class, as in the publishers' metric.

    ``train.txt`` also lists the mirrored copies (``*_flip``) that the
    publishers' ``make_flip.py`` writes. They are passed over whether they are
    there or not: ``RandomFlip`` does the same.

    Args:
        data_root (str): Folder with images, labels and the lists.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        subset (str, optional): 'day' or 'night' for the part of the split that
            was taken then. Defaults to None, which takes all.
        **kwargs: Other arguments of :class:`MultiModalSegDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.MFNetDataset',
        ...     data_root='data/mfnet',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, file_channels=[0, 1, 2],
        ...                      bgr_to_rgb=True),
        ...             thermal=dict(channels=1, file_channels=[3],
        ...                          path_key='img_path'))),
        ...         dict(type='LoadAnnotations'),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('unlabelled', 'car', 'person', 'bike', 'curve', 'car_stop',
                 'guardrail', 'color_cone', 'bump'),
        palette=[[0, 0, 0], [64, 0, 128], [64, 64, 0], [0, 128, 192],
                 [0, 0, 192], [128, 128, 0], [64, 64, 128], [192, 128, 128],
                 [192, 64, 0]])

    SPLITS = ('train', 'val', 'test')
    FOLDERS = dict(img_path='images', seg_map_path='labels')

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 subset: Optional[str] = None,
                 **kwargs) -> None:
        self.subset = subset
        super().__init__(data_root, split, ann_file=f'{split}.txt', **kwargs)

    def select(self, data_list: List[dict]) -> List[dict]:
        """Drop the mirrored copies and choose by time of day."""
        return select_subset([
            info for info in data_list
            if not info['img_path'].endswith(f'_flip{self.img_suffix}')
        ], self.subset)
