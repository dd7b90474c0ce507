"""SUN RGB-D: boxes of furniture in RGB-D images."""
from mwam_mm.registry import DATASETS

from .multi_modal_coco import MultiModalCocoDataset

__all__ = ['SUNRGBDDetDataset']


@DATASETS.register_module()
class SUNRGBDDetDataset(MultiModalCocoDataset):
    """SUN RGB-D, 10335 RGB-D pairs with boxes of 19 classes.

    `SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite
    <https://rgbd.cs.princeton.edu>`_ with the official split into 5285 for
    training and 5050 for testing, the 2-D boxes of the publishers'
    ``SUNRGBDMeta2DBB_v2.mat``, and the 19 classes of the RGB-D detection
    literature. ``tools/dataset_converters/sun_rgbd.py --boxes`` makes this
    tree:

    .. code-block:: none

        data_root
        ├── train
        │   ├── rgb/NNNNN.jpg      8-bit colour, several sizes
        │   └── depth/NNNNN.png    16-bit depth in mm, 0 where there is none
        ├── test
        └── annotations/{train,test}.json

    Args:
        data_root (str): Folder with train, test and annotations.
        split (str): 'train' or 'test'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.SUNRGBDDetDataset',
        ...     data_root='data/sun_rgbd',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001,
        ...                        invalid_value=0))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('bathtub', 'bed', 'bookshelf', 'box', 'chair', 'counter',
                 'desk', 'door', 'dresser', 'garbage_bin', 'lamp', 'monitor',
                 'night_stand', 'pillow', 'sink', 'sofa', 'table', 'tv',
                 'toilet'),
        palette=[(128, 64, 128), (0, 0, 128), (128, 192, 0), (192, 64, 128),
                 (128, 0, 128), (192, 128, 0), (64, 128, 128), (64, 0, 0),
                 (128, 64, 0), (107, 142, 35), (0, 64, 128), (70, 130, 180),
                 (64, 192, 0), (0, 192, 0), (0, 128, 64), (0, 128, 128),
                 (128, 128, 128), (128, 192, 128), (0, 64, 0)])
    STRICT = False  # nobody can correct the publishers' boxes
    SPLITS = ('train', 'test')

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 **kwargs) -> None:
        if split not in self.SPLITS:
            raise ValueError(f'split={split!r} is not a split of '
                             f'SUNRGBDDetDataset, which has '
                             f'{list(self.SPLITS)}')
        super().__init__(
            data_root=data_root,
            ann_file=f'annotations/{split}.json',
            **kwargs)
