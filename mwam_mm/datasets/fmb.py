"""FMB: the full-time multi-modality benchmark of road scenes."""
from mwam_mm.registry import DATASETS

from .benchmark import BenchmarkSegDataset

__all__ = ['FMBDataset']


@DATASETS.register_module()
class FMBDataset(BenchmarkSegDataset):
    """Full-time Multi-modality Benchmark, 1500 RGB-thermal pairs, 14 classes.

    `Multi-interactive Feature Learning and a Full-time Multi-modality
    Benchmark for Image Fusion and Segmentation
    <https://github.com/JinyuanLiu-CV/SegMiF>`_, in the layout of its
    publishers:

    .. code-block:: none

        data_root
        ├── train                   1220 pairs
        │   ├── Visible/NNNNN.png   8-bit colour
        │   ├── Infrared/NNNNN.png  8-bit thermal
        │   └── Label/NNNNN.png     0 unlabelled, 1 to 14 the classes
        └── test                    280 pairs

    Pixels without a label are ignored (``reduce_zero_label``).

    Args:
        data_root (str): Folder with train and test.
        split (str): 'train' or 'test'. Defaults to 'train'.
        reduce_zero_label (bool): Whether label 0 is ignored and the classes
            count from 0. Defaults to True.
        **kwargs: Other arguments of :class:`MultiModalSegDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.FMBDataset',
        ...     data_root='data/fmb',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             thermal=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations'),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('road', 'sidewalk', 'building', 'traffic lamp',
                 'traffic sign', 'vegetation', 'sky', 'person', 'car',
                 'truck', 'bus', 'motorcycle', 'bicycle', 'pole'),
        palette=[[228, 228, 179], [133, 57, 181], [177, 162, 67],
                 [50, 178, 200], [199, 45, 132], [84, 172, 66], [79, 73, 179],
                 [166, 99, 76], [253, 121, 66], [91, 165, 137],
                 [152, 97, 155], [140, 153, 105], [158, 215, 222],
                 [90, 113, 135]])

    FOLDERS = dict(
        img_path='{split}/Visible',
        thermal_path='{split}/Infrared',
        seg_map_path='{split}/Label')

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 reduce_zero_label: bool = True,
                 **kwargs) -> None:
        super().__init__(
            data_root, split, reduce_zero_label=reduce_zero_label, **kwargs)
