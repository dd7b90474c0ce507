"""NYU-Depth V2: indoor scenes with Kinect depth."""
from mwam_mm.registry import DATASETS

from .benchmark import BenchmarkSegDataset

__all__ = ['NYUDepthV2Dataset']


@DATASETS.register_module()
class NYUDepthV2Dataset(BenchmarkSegDataset):
    """NYU-Depth V2, 1449 RGB-D pairs of 40 classes.

    `Indoor Segmentation and Support Inference from RGBD Images
    <https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html>`_, with the 40
    classes of Gupta et al., CVPR 2013, and the official split into 795 for
    training and 654 for testing. ``tools/dataset_converters/nyu_depth_v2.py``
    turns the publishers' ``.mat`` files into this tree:

    .. code-block:: none

        data_root
        ├── train
        │   ├── rgb/NNNN.png      8-bit colour
        │   ├── depth/NNNN.png    16-bit depth in mm, 0 where there is none
        │   └── label/NNNN.png    0 unlabelled, 1 to 40 the classes
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
        ...     type='mwam_mm.NYUDepthV2Dataset',
        ...     data_root='data/nyu_depth_v2',
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
                 'mirror', 'floor mat', 'clothes', 'ceiling', 'books',
                 'refridgerator', 'television', 'paper', 'towel',
                 'shower curtain', 'box', 'whiteboard', 'person',
                 'night stand', 'toilet', 'sink', 'lamp', 'bathtub', 'bag',
                 'otherstructure', 'otherfurniture', 'otherprop'),
        # Bits of the class number spread over the colour channels, as in
        # PASCAL VOC: the publishers give no colours.
        palette=[[128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128],
                 [128, 0, 128], [0, 128, 128], [128, 128, 128], [64, 0, 0],
                 [192, 0, 0], [64, 128, 0], [192, 128, 0], [64, 0, 128],
                 [192, 0, 128], [64, 128, 128], [192, 128, 128], [0, 64, 0],
                 [128, 64, 0], [0, 192, 0], [128, 192, 0], [0, 64, 128],
                 [128, 64, 128], [0, 192, 128], [128, 192, 128], [64, 64, 0],
                 [192, 64, 0], [64, 192, 0], [192, 192, 0], [64, 64, 128],
                 [192, 64, 128], [64, 192, 128], [192, 192, 128], [0, 0, 64],
                 [128, 0, 64], [0, 128, 64], [128, 128, 64], [0, 0, 192],
                 [128, 0, 192], [0, 128, 192], [128, 128, 192], [64, 0, 64]])

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
            data_root, split, reduce_zero_label=reduce_zero_label, **kwargs)
