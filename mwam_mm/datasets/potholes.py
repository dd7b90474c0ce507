"""Potholes: road images with transformed stereo disparity."""
from typing import List

from mwam_mm.registry import DATASETS

from .multi_modal_seg import MultiModalSegDataset
from .pothole_pairs import pothole_pairs

__all__ = ['PotholeDataset']


@DATASETS.register_module()
class PotholeDataset(MultiModalSegDataset):
    """Stereo pothole dataset, 67 RGB-D pairs of two classes.

    `Pothole Detection Based on Disparity Transformation and Road Surface
    Modeling <https://github.com/ruirangerfan/stereo_pothole_datasets>`_, in
    the layout of its publishers:

    .. code-block:: none

        data_root
        ├── dataset1
        │   ├── rgb/NN.png        8-bit colour
        │   ├── disp_tg/NN.png    16-bit disparity, 0 where there is none
        │   └── label/NN.png      colour: (0, 0, 0) road, (153, 0, 0) pothole
        ├── dataset2
        └── dataset3

    There is no official split. Every third pair of the sorted list, from the
    first on, is for testing (23 pairs), the others are for training (44).
    The labels need :class:`LoadPaletteAnnotations`.

    Args:
        data_root (str): Folder with dataset1, dataset2 and dataset3.
        split (str): 'train' or 'test'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalSegDataset`, apart
            from those that say where files are.

    Raises:
        FileNotFoundError: If a folder is missing or has no ``.png`` file, or
            a pair lacks one of its three files.
        ValueError: If ``split`` is neither 'train' nor 'test'.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.PotholeDataset',
        ...     data_root='data/potholes',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=1 / 65535,
        ...                        invalid_value=0))),
        ...         dict(type='mwam_mm.LoadPaletteAnnotations',
        ...              palette=[[0, 0, 0], [153, 0, 0]]),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('road', 'pothole'), palette=[[0, 0, 0], [153, 0, 0]])

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 **kwargs) -> None:
        self.split = split
        super().__init__(
            data_root=data_root,
            data_prefix=dict(img_path=''),
            img_suffix='.png',
            **kwargs)

    def load_data_list(self) -> List[dict]:
        """List the pairs of the split.

        Returns:
            list[dict]: One dict per pair with ``img_path``, ``depth_path``,
            ``seg_map_path`` and the other keys of :class:`BaseSegDataset`.
        """
        return [
            self._data_info(paths) for paths in pothole_pairs(
                self.data_root, self.split, self.backend_args)
        ]
