"""MSRS: MFNet's road scenes, realigned and enhanced."""
from typing import List, Optional

from mwam_mm.registry import DATASETS

from .benchmark import BenchmarkSegDataset
from .mfnet import MFNetDataset, select_subset

__all__ = ['MSRSDataset']


@DATASETS.register_module()
class MSRSDataset(BenchmarkSegDataset):
    """Multi-Spectral Road Scenarios, 1444 RGB-thermal pairs of 9 classes.

    `PIAFusion: A progressive infrared and visible image fusion network based
    on illumination aware <https://github.com/Linfeng-Tang/MSRS>`_, in the
    layout of its publishers: pairs of MFNet without the misaligned ones and
    with enhanced thermal images.

    .. code-block:: none

        data_root
        ├── train                              1083 pairs
        │   ├── vi/NNNNND.png                  8-bit colour (N: by night)
        │   ├── ir/NNNNND.png                  8-bit thermal
        │   └── Segmentation_labels/NNNNND.png class ids, 0 to 8
        └── test                               361 pairs

    Args:
        data_root (str): Folder with train and test.
        split (str): 'train' or 'test'. Defaults to 'train'.
        subset (str, optional): 'day' or 'night' for the part of the split that
            was taken then. Defaults to None, which takes all.
        **kwargs: Other arguments of :class:`MultiModalSegDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.MSRSDataset',
        ...     data_root='data/msrs',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             thermal=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations'),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = MFNetDataset.METAINFO

    FOLDERS = dict(
        img_path='{split}/vi',
        thermal_path='{split}/ir',
        seg_map_path='{split}/Segmentation_labels')

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 subset: Optional[str] = None,
                 **kwargs) -> None:
        self.subset = subset
        super().__init__(data_root, split, **kwargs)

    def select(self, data_list: List[dict]) -> List[dict]:
        """Choose by time of day."""
        return select_subset(data_list, self.subset)
