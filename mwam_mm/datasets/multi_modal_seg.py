"""Segmentation dataset whose samples have one file per modality."""
import os.path as osp
from typing import Dict, List, Mapping, Sequence

import mmengine.fileio as fileio
from mmseg.datasets import BaseSegDataset

from mwam_mm.registry import DATASETS

from .file_names import (
    FileNames,
    files_below,
    log_left_out,
    name_in_folder,
    read_columns,
    read_lines,
)
from .label_maps import check_label_maps
from .transforms import check_pipeline, keep_absent, pack_paths

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

    Where no modality is called ``rgb``, whose key is ``img_path``, leave
    ``img_path`` out: the files of the first of the others by name are listed,
    and are what ``img_path`` names in the data dict as well.

    A sample whose label map is missing or damaged, has another size than the
    image or a label that is no class is an error that names the file.
    Files of modalities that are of no sample, since they have another suffix
    or there is no image of their name, are named in the log. To have samples
    without an image, where ``rgb`` is optional, list them as ``ann_file``.

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
        file_names (dict[str, str]): Path key to the pattern of the names of
            those files, ``seg_map_path`` included, where they do not differ
            in the suffix only: ``dict(img_path='rgb_{}.png',
            depth_path='depth_{}.png', seg_map_path='{}_label.png')``, see
            :class:`FileNames`. It takes the place of all suffixes, and a key
            not named here has the image's. The files may lie in one folder.
            Defaults to dict().
        columns (Sequence[str]): Path keys of the columns of ``ann_file``, for
            lists that name each file of a sample, with its suffix:
            ``('img_path', 'thermal_path', 'seg_map_path')``. Paths are
            relative to the folders of ``data_prefix``, or ``data_root`` where
            it has none. Defaults to (), a list of images without suffix.
        **kwargs: Keyword arguments of :class:`BaseSegDataset`.

    Raises:
        FileNotFoundError: If the folder of images does not exist, or no image
            is found.
        ValueError: If ``data_prefix`` has no folder of images, or a key that
            does not end in ``_path``; if ``modality_suffix`` names a key that
            ``data_prefix`` does not have; if ``file_names`` or ``columns`` do
            not fit; or if the pipeline holds a stock transform that does not
            work on a stacked image (see :func:`check_pipeline`).

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

    def __init__(self,
                 *args,
                 modality_suffix: dict = {},
                 file_names: Mapping[str, str] = {},
                 columns: Sequence[str] = (),
                 **kwargs) -> None:
        # The base class builds the whole dataset in its constructor.
        self.modality_suffix = dict(modality_suffix)
        self.file_names = dict(file_names)
        self.columns = tuple(columns)
        super().__init__(*args, **kwargs)
        keep_absent(self.pipeline)
        check_pipeline(self.pipeline)
        pack_paths(self.pipeline)
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
            for key, folder in self.data_prefix.items() if folder is not None
        }
        modalities = [key for key in folders if key not in _STOCK_KEYS]
        misnamed = [key for key in modalities if not key.endswith('_path')]
        if misnamed:
            raise ValueError(
                f'data_prefix has keys {misnamed}; the key of a modality is '
                "its path_key and ends in '_path', e.g. 'depth_path'")
        unused = sorted(set(self.modality_suffix) - set(modalities))
        if unused:
            raise ValueError(
                f'modality_suffix names {unused}, but data_prefix has the '
                f'modality keys {sorted(modalities)}')
        if self.columns:
            return self._load_columns()
        patterns = self._patterns(folders)
        if 'img_path' not in folders and not modalities:
            raise ValueError(
                'data_prefix has no folder of images: it needs img_path '
                "or the path_key of a modality, e.g. 'depth_path'")
        listed = 'img_path' if 'img_path' in folders else min(modalities)
        names = FileNames(patterns)
        data_list = []
        common_names = self._common_names(listed, names)
        if not self.ann_file:
            self._log_left_out(folders, [listed, *modalities], common_names,
                               names)
        for common in common_names:
            paths = {
                key: osp.join(folder, names.name(key, common))
                for key, folder in folders.items()
            }
            data_list.append(
                self._data_info({'img_path': paths[listed], **paths}))
        if not data_list:
            raise FileNotFoundError(
                f'no image called {patterns[listed]!r} found in '
                f'data_prefix[{listed!r}]={folders[listed]!r}'
                + (f' by ann_file={self.ann_file!r}' if self.ann_file else '')
                + ': img_suffix, or file_names, says what images are called')
        return data_list

    def _log_left_out(self, folders: Mapping[str, str], keys: Sequence[str],
                      common: Sequence[str], names: FileNames) -> None:
        """Log the files of the modalities that are of no sample."""
        log_left_out(names, folders, keys, common, self.backend_args)

    def _patterns(self, folders: Mapping[str, str]) -> Dict[str, str]:
        """Path key to the pattern of the names in its folder."""
        if not self.file_names:
            suffixes = dict(
                self.modality_suffix, seg_map_path=self.seg_map_suffix)
            return {
                key: '{}' + suffixes.get(key, self.img_suffix)
                for key in folders
            }
        if self.modality_suffix:
            raise ValueError('file_names takes the place of modality_suffix: '
                             'give either')
        if 'img_path' not in self.file_names:
            raise ValueError(
                f'file_names has patterns for {sorted(self.file_names)}, and '
                'needs one for img_path')
        unused = sorted(set(self.file_names) - set(folders))
        if unused:
            raise ValueError(
                f'file_names has patterns for {unused}, of which data_prefix '
                "names no folder: add them to data_prefix, as '' where it is "
                'data_root itself')
        return {
            key: self.file_names.get(key, self.file_names['img_path'])
            for key in folders
        }

    def _common_names(self, listed: str, names: FileNames) -> List[str]:
        """What the names of each sample have in common, by ``ann_file`` or
        the files in a folder."""
        folder = self.data_prefix[listed]
        if self.ann_file:
            if not fileio.isfile(self.ann_file, self.backend_args):
                raise FileNotFoundError(
                    f'ann_file={self.ann_file!r} does not exist')
            return [
                name_in_folder(line.strip(), folder)
                for _, line in read_lines(self.ann_file, self.backend_args)
            ]
        if not fileio.isdir(folder, backend_args=self.backend_args):
            raise FileNotFoundError(
                f'data_prefix[{listed!r}]: folder {folder!r} does not exist')
        found = (names.common(listed, file)
                 for file in files_below(folder, self.backend_args))
        return [common for common in found if common is not None]

    def _load_columns(self) -> List[dict]:
        """List the samples that ``ann_file`` names file by file."""
        if not self.ann_file or 'img_path' not in self.columns or len(
                set(self.columns)) < len(self.columns):
            raise ValueError(
                f'columns={list(self.columns)} must name the columns of '
                f'ann_file={self.ann_file!r}, one of which is img_path, each '
                'once')
        folders = {
            key: self.data_prefix.get(key) or self.data_root or ''
            for key in self.columns
        }
        return [
            self._data_info(paths)
            for paths in read_columns(self.ann_file, self.columns, folders)
        ]

    def _data_info(self, paths: Mapping[str, str]) -> dict:
        return dict(
            paths,
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[])
