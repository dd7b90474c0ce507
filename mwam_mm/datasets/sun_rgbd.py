"""SUN RGB-D: indoor scenes with the depth of four sensors."""
from mwam_mm.registry import DATASETS

from .benchmark import BenchmarkSegDataset

__all__ = ['SUNRGBDDataset']


@DATASETS.register_module()
class SUNRGBDDataset(BenchmarkSegDataset):
    """SUN RGB-D, 10335 RGB-D pairs of 37 classes.

    `SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite
    <https://rgbd.cs.princeton.edu>`_ with the official split into 5285 for
    training and 5050 for testing. ``tools/dataset_converters/sun_rgbd.py``
    turns the publishers' ``SUNRGBD`` and ``SUNRGBDtoolbox`` into this tree:

    .. code-block:: none

        data_root
        ├── train
        │   ├── rgb/NNNNN.jpg      8-bit colour, several sizes
        │   ├── depth/NNNNN.png    16-bit depth in mm, 0 where there is none
        │   └── label/NNNNN.png    0 unlabelled, 1 to 37 the classes
        └── test

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
        ...     type='mwam_mm.SUNRGBDDataset',
        ...     data_root='data/sun_rgbd',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001,
        ...                        invalid_value=0))),
        ...         dict(type='LoadAnnotations'),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table',
                 'door', 'window', 'bookshelf', 'picture', 'counter',
                 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow',
                 'mirror', 'floor_mat', 'clothes', 'ceiling', 'books',
                 'fridge', 'tv', 'paper', 'towel', 'shower_curtain', 'box',
                 'whiteboard', 'person', 'night_stand', 'toilet', 'sink',
                 'lamp', 'bathtub', 'bag'),
        # The classes are the first 37 of NYU-Depth V2 and have its colours.
        palette=[[128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128],
                 [128, 0, 128], [0, 128, 128], [128, 128, 128], [64, 0, 0],
                 [192, 0, 0], [64, 128, 0], [192, 128, 0], [64, 0, 128],
                 [192, 0, 128], [64, 128, 128], [192, 128, 128], [0, 64, 0],
                 [128, 64, 0], [0, 192, 0], [128, 192, 0], [0, 64, 128],
                 [128, 64, 128], [0, 192, 128], [128, 192, 128], [64, 64, 0],
                 [192, 64, 0], [64, 192, 0], [192, 192, 0], [64, 64, 128],
                 [192, 64, 128], [64, 192, 128], [192, 192, 128], [0, 0, 64],
                 [128, 0, 64], [0, 128, 64], [128, 128, 64], [0, 0, 192],
                 [128, 0, 192]])

    FOLDERS = dict(
        img_path='{split}/rgb',
        depth_path='{split}/depth',
        seg_map_path='{split}/label')

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 reduce_zero_label: bool = True,
                 **kwargs) -> None:
        super().__init__(
            data_root,
            split,
            img_suffix='.jpg',
            modality_suffix=dict(depth_path='.png'),
            reduce_zero_label=reduce_zero_label,
            **kwargs)
