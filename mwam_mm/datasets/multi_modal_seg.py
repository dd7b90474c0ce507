"""Segmentation dataset whose samples have one file per modality."""
import os.path as osp
from typing import List

from mmseg.datasets import BaseSegDataset

from mwam_mm.registry import DATASETS

from .label_maps import check_label_maps
from .transforms import check_pipeline, keep_absent

__all__ = ['MultiModalSegDataset']

_STOCK_KEYS = ('img_path', 'seg_map_path')


@DATASETS.register_module()
class MultiModalSegDataset(BaseSegDataset):
    """:class:`BaseSegDataset` with further image files beside each image.

    The files of a sample have the same path relative to their folders, apart
    from the suffix. Every entry of ``data_prefix`` besides ``img_path`` and
    ``seg_map_path`` is the folder of one more modality, and its key is the
    modality's ``path_key`` in the data dict. :class:`LoadModalities`, which
    knows the optional ones, checks whether those files exist.

    A sample whose label map is missing or damaged, has another size than the
    image or a label that is no class is an error that names the file.

    .. code-block:: none

        data_root
        ├── image/train/a/0001.jpg      img_path='image/train'
        ├── depth/train/a/0001.png      depth_path='depth/train'
        ├── thermal/train/a/0001.tiff   thermal_path='thermal/train'
        └── label/train/a/0001.png      seg_map_path='label/train'

    Args:
        *args: Positional arguments of :class:`BaseSegDataset`.
        modality_suffix (dict[str, str]): Path key to the suffix of that
            modality's files. A key not named here has ``img_suffix``.
            Defaults to dict().
        **kwargs: Keyword arguments of :class:`BaseSegDataset`.

    Raises:
        FileNotFoundError: If no image is found.
        ValueError: If a key of ``data_prefix`` does not end in ``_path``,
            ``modality_suffix`` names a key that ``data_prefix`` does not
            have, or the pipeline holds a stock transform that does not work
            on a stacked image (see :func:`check_pipeline`).

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.MultiModalSegDataset',
        ...     data_root='data/my_dataset',
        ...     data_prefix=dict(
        ...         img_path='image/train',
        ...         depth_path='depth/train',
        ...         thermal_path='thermal/train',
        ...         seg_map_path='label/train'),
        ...     img_suffix='.jpg',
        ...     modality_suffix=dict(depth_path='.png', thermal_path='.tiff'),
        ...     metainfo=dict(classes=('road', 'car')),
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001, invalid_value=0),
        ...             thermal=dict(channels=1))),
        ...         dict(type='LoadAnnotations'),
        ...         dict(type='RandomFlip', prob=0.5),
        ...         dict(type='PackSegInputs')
        ...     ])
    """

    def __init__(self, *args, modality_suffix: dict = {}, **kwargs) -> None:
        # The base class builds the whole dataset in its constructor.
        self.modality_suffix = dict(modality_suffix)
        super().__init__(*args, **kwargs)
        keep_absent(self.pipeline)
        check_pipeline(self.pipeline)
        check_label_maps(self.pipeline, self.metainfo.get('classes'),
                         self.ignore_index)

    def load_data_list(self) -> List[dict]:
        """List the samples and add the paths of the further modalities.

        Returns:
            list[dict]: One dict per sample with ``img_path``, one path per
            modality, ``seg_map_path`` and the other keys of
            :class:`BaseSegDataset`.
        """
        folders = {
            key: folder
            for key, folder in self.data_prefix.items()
            if key not in _STOCK_KEYS
        }
        misnamed = [key for key in folders if not key.endswith('_path')]
        if misnamed:
            raise ValueError(
                f'data_prefix has keys {misnamed}; the key of a modality is '
                "its path_key and ends in '_path', e.g. 'depth_path'")
        unused = sorted(set(self.modality_suffix) - set(folders))
        if unused:
            raise ValueError(
                f'modality_suffix names {unused}, but data_prefix has the '
                f'modality keys {sorted(folders)}')

        data_list = super().load_data_list()
        img_dir = self.data_prefix['img_path']
        if not data_list:
            raise FileNotFoundError(
                f'no image with img_suffix={self.img_suffix!r} found in '
                f"data_prefix['img_path']={img_dir!r}"
                + (f' by ann_file={self.ann_file!r}' if self.ann_file else ''))
        for data_info in data_list:
            img_path = data_info['img_path']
            name = osp.relpath(img_path, img_dir)
            stem = name[:len(name) - len(self.img_suffix)]
            for key, folder in folders.items():
                suffix = self.modality_suffix.get(key, self.img_suffix)
                data_info[key] = osp.join(folder, stem + suffix)
        return data_list
