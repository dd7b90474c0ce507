"""CASIA-SURF: RGB, depth and infrared faces, real or fake."""
from mwam_mm.registry import DATASETS

from .multi_modal_cls import MultiModalClsDataset

__all__ = ['CASIASURFDataset']


@DATASETS.register_module()
class CASIASURFDataset(MultiModalClsDataset):
    """CASIA-SURF in its publishers' layout.

    Each line of a list has the files of a face in three modalities and 1 for
    a living face, 0 for a fake one.

    .. code-block:: none

        data_root
        ├── train_list.txt
        ├── val_private_list.txt
        ├── Training/real_part/CLKJ_AS0137/real.rssdk/color/31.jpg
        ├── Training/real_part/CLKJ_AS0137/real.rssdk/depth/31.jpg
        └── Training/real_part/CLKJ_AS0137/real.rssdk/ir/31.jpg

    The files of depth and infrared have three equal channels, of which
    ``file_channels=[0]`` takes one.

    Args:
        data_root (str): The folder.
        ann_file (str): The list. Defaults to 'train_list.txt'.
        **kwargs: Further arguments of :class:`MultiModalClsDataset`.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.CASIASURFDataset',
        ...     data_root='data/casia_surf',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, file_channels=[0]),
        ...             ir=dict(channels=1, file_channels=[0]))),
        ...         dict(type='Resize', scale=(112, 112)),
        ...         dict(type='PackInputs')
        ...     ])
    """
    METAINFO = dict(classes=('fake', 'real'))

    def __init__(self,
                 data_root: str,
                 ann_file: str = 'train_list.txt',
                 **kwargs) -> None:
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            columns=('img_path', 'depth_path', 'ir_path'),
            **kwargs)
