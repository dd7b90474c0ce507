"""OMBRIA: floods in radar and optical satellite images."""
from mwam_mm.registry import DATASETS

from .benchmark import BenchmarkSegDataset

__all__ = ['OmbriaDataset']


@DATASETS.register_module()
class OmbriaDataset(BenchmarkSegDataset):
    """OMBRIA, 694 Sentinel-1 and Sentinel-2 pairs of two classes.

    `OmbriaNet - Supervised Flood Mapping via Convolutional Neural Networks
    Using Multitemporal Sentinel-1 and Sentinel-2 Data Fusion
    <https://github.com/geodrak/OMBRIA>`_, in the layout of its publishers:

    .. code-block:: none

        data_root
        ├── OmbriaS1                            radar (SAR)
        │   ├── train                           624 pairs
        │   │   ├── AFTER/S1_after_NNNN.png     8-bit backscatter
        │   │   └── BEFORE/S1_before_NNNN.png   the same before the flood
        │   └── test                            70 pairs
        └── OmbriaS2                            optical
            ├── train
            │   ├── AFTER/S2_after_NNNN.png     8-bit colour
            │   ├── BEFORE/S2_before_NNNN.png   the same before the flood
            │   └── MASK/S2_mask_NNNN.png       0 land, 255 flood
            └── test

    The modalities are ``rgb`` and ``sar`` and, of the time before the flood,
    ``rgb_before`` and ``sar_before``. The folders BEFORE may be missing where
    no modality of them is used. The labels need
    :class:`LoadPaletteAnnotations`.

    Args:
        data_root (str): Folder with OmbriaS1 and OmbriaS2.
        split (str): 'train' or 'test'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalSegDataset`, apart
            from those that say where files are.

    Raises:
        FileNotFoundError: If a folder is missing, or an image or mask lacks
            its partner. The message names the file.
        ValueError: If ``split`` is unknown, or an image has another name than
            those above.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.OmbriaDataset',
        ...     data_root='data/floods',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             sar=dict(channels=1),
        ...             rgb_before=dict(channels=3, bgr_to_rgb=True),
        ...             sar_before=dict(channels=1))),
        ...         dict(type='mwam_mm.LoadPaletteAnnotations',
        ...              palette=[[0, 0, 0], [255, 255, 255]]),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('land', 'flood'), palette=[[0, 0, 0], [255, 255, 255]])

    FOLDERS = dict(
        img_path='OmbriaS2/{split}/AFTER',
        sar_path='OmbriaS1/{split}/AFTER',
        rgb_before_path='OmbriaS2/{split}/BEFORE',
        sar_before_path='OmbriaS1/{split}/BEFORE',
        seg_map_path='OmbriaS2/{split}/MASK')
    PREFIXES = dict(
        img_path='S2_after_',
        sar_path='S1_after_',
        rgb_before_path='S2_before_',
        sar_before_path='S1_before_',
        seg_map_path='S2_mask_')
