"""LLVIP: pedestrians at night in RGB and infrared."""
from typing import Dict, Iterator, Tuple

from mwam_mm.registry import DATASETS

from .benchmark_det import BenchmarkDetDataset

__all__ = ['LLVIPDataset']


@DATASETS.register_module()
class LLVIPDataset(BenchmarkDetDataset):
    """LLVIP, 15488 RGB-infrared pairs of pedestrians in low light.

    `LLVIP: A Visible-infrared Paired Dataset for Low-light Vision
    <https://bupt-ai-cz.github.io/LLVIP/>`_, in the layout of its publishers:

    .. code-block:: none

        data_root
        ├── visible
        │   ├── train/NNNNNN.jpg    12025
        │   └── test/NNNNNN.jpg     3463
        ├── infrared
        │   ├── train/NNNNNN.jpg    three equal channels
        │   └── test/NNNNNN.jpg
        └── Annotations/NNNNNN.xml  Pascal VOC, for both modalities

    Args:
        data_root (str): Folder with visible, infrared and Annotations.
        split (str): 'train' or 'test'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.LLVIPDataset',
        ...     data_root='data/llvip',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             infrared=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(classes=('person', ), palette=[(220, 20, 60)])

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the pairs of the split."""
        return self.pairs(
            'Annotations/{}.xml',
            img_path=f'visible/{self.split}',
            infrared_path=f'infrared/{self.split}')
