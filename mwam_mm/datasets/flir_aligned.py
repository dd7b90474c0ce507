"""FLIR-aligned: road scenes in RGB and thermal."""
import os.path as osp
from typing import Dict, Iterator, Tuple

from mwam_mm.registry import DATASETS

from .benchmark_det import BenchmarkDetDataset, read_list

__all__ = ['FLIRAlignedDataset']

_STEM = '_PreviewData'


@DATASETS.register_module()
class FLIRAlignedDataset(BenchmarkDetDataset):
    """The aligned version of FLIR ADAS, 5142 RGB-thermal pairs.

    `Multispectral Fusion for Object Detection with Cyclic Fuse-and-Refine
    Blocks <https://arxiv.org/abs/2009.12664>`_, in the layout of its
    publishers:

    .. code-block:: none

        data_root  (called align)
        ├── JPEGImages/FLIR_NNNNN_RGB.jpg           8-bit colour
        ├── JPEGImages/FLIR_NNNNN_PreviewData.jpeg  8-bit thermal
        ├── Annotations/FLIR_NNNNN_PreviewData.xml  Pascal VOC
        ├── align_train.txt                         4129 names
        └── align_validation.txt                    1013 names

    The few boxes of dogs are left out, as in all published results.

    Args:
        data_root (str): Folder with JPEGImages, Annotations and the lists.
        split (str): 'train' or 'validation'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.FLIRAlignedDataset',
        ...     data_root='data/flir_aligned/align',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             thermal=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('person', 'car', 'bicycle'),
        palette=[(220, 20, 60), (0, 0, 142), (119, 11, 32)])
    SPLITS = ('train', 'validation')
    ALIASES = dict(dog=None)

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the pairs of the split."""
        for name in read_list(
                osp.join(self.data_root, f'align_{self.split}.txt')):
            stem = name[:-len(_STEM)] if name.endswith(_STEM) else name
            yield dict(
                img_path=f'JPEGImages/{stem}_RGB.jpg',
                thermal_path=f'JPEGImages/{stem}{_STEM}.jpeg',
            ), f'Annotations/{stem}{_STEM}.xml'
