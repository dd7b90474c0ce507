"""Classification dataset whose samples have one file per modality."""
import os.path as osp
from typing import Iterator, List, Optional, Sequence, Tuple

import mmengine.fileio as fileio
from mmengine.dataset import BaseDataset

from mwam_mm.registry import DATASETS

from .file_names import FileNames, files_below, log_left_out, read_lines
from .transforms import check_pipeline, keep_absent
from .transforms.pipeline import loaded_modalities

__all__ = ['MultiModalClsDataset']


@DATASETS.register_module()
class MultiModalClsDataset(BaseDataset):
    """Samples of several files and one label, of a list or of folders.

    A list has one sample a line, its files and its label, with blanks or, for
    names with blanks in them, tabs in between. ``columns`` says whose files
    they are. The label is the index or the name of a class.

    .. code-block:: none

        ann_file='train.txt', columns=('img_path', 'depth_path')

        color/0001.jpg depth/0001.png 1
        color/0002.jpg depth/0002.png 0

    Without ``ann_file`` each folder of ``data_prefix`` has one folder per
    class, and the files of a sample have the same path in them, apart from
    the suffix.

    .. code-block:: none

        data_root
        ├── image/train/cat/0001.jpg    img_path='image/train'
        └── depth/train/cat/0001.png    depth_path='depth/train'

    The keys are the modalities' ``path_key``. Every sample is checked when the
    list is read, so that an error names the line; of optional modalities
    :class:`LoadModalities` finds out which samples lack them.

    Args:
        ann_file (str): The list, below ``data_root``. Defaults to '', folders.
        columns (Sequence[str]): The path keys of the columns of a list.
            Defaults to ('img_path', ).
        data_prefix (dict[str, str]): Path key to the folder, below
            ``data_root``. Defaults to dict(img_path='').
        img_suffix (str): Suffix of the files of ``img_path`` in folders.
            Defaults to '.jpg'.
        modality_suffix (dict[str, str]): Path key to the suffix of that
            modality's files in folders. A key not named here has
            ``img_suffix``. Defaults to dict().
        **kwargs: Further arguments of :class:`mmengine.BaseDataset`.
            ``metainfo=dict(classes=...)`` names the classes, which a list
            needs; by default those of folders are the folders.

    Raises:
        FileNotFoundError: If a folder, the list, a file of it or all images
            are missing.
        ValueError: If a line has another number of columns, or a label or
            folder that is no class; the message names the list and the line.
            If a class has files in its folder, but none of the suffix.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.MultiModalClsDataset',
        ...     data_root='data/my_dataset',
        ...     ann_file='train.txt',
        ...     columns=('img_path', 'depth_path'),
        ...     metainfo=dict(classes=('fake', 'real')),
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001,
        ...                        invalid_value=0))),
        ...         dict(type='Resize', scale=(112, 112)),
        ...         dict(type='PackInputs')
        ...     ])
    """

    def __init__(self,
                 ann_file: str = '',
                 columns: Sequence[str] = ('img_path', ),
                 data_prefix: dict = dict(img_path=''),
                 img_suffix: str = '.jpg',
                 modality_suffix: dict = {},
                 **kwargs) -> None:
        # The base class builds the whole dataset in its constructor.
        self.columns = tuple(columns)
        self.img_suffix = img_suffix
        self.modality_suffix = dict(modality_suffix)
        super().__init__(ann_file=ann_file, data_prefix=data_prefix, **kwargs)
        keep_absent(self.pipeline)
        check_pipeline(self.pipeline)

    @property
    def CLASSES(self) -> Optional[Sequence[str]]:
        """Sequence[str] | None: The classes, as MMPretrain's hooks ask."""
        return self._metainfo.get('classes')

    def get_cat_ids(self, idx: int) -> List[int]:
        """The class of a sample in a list, as MMEngine's wrappers ask."""
        return [int(self.get_data_info(idx)['gt_label'])]

    def load_data_list(self) -> List[dict]:
        """List the samples.

        Returns:
            list[dict]: One dict per sample with the paths and ``gt_label``.
        """
        needed = self._needed_keys()
        data_list = []
        for where, sample in self.samples():
            for key in needed & set(sample):
                if not fileio.exists(sample[key]):
                    raise FileNotFoundError(
                        f'{where}: {key} {sample[key]!r} does not exist')
            data_list.append(sample)
        if not data_list:
            raise FileNotFoundError(
                f'{self.ann_file or dict(self.data_prefix)} holds no sample'
                + ('' if self.ann_file else
                   f' with img_suffix={self.img_suffix!r}'))
        return data_list

    def samples(self) -> Iterator[Tuple[str, dict]]:
        """Go through the samples; for subclasses to override.

        Yields:
            tuple[str, dict]: What an error calls the place where the sample is
            listed, and the sample with its paths and ``gt_label`` (int).
        """
        yield from self._of_list() if self.ann_file else self._of_folders()

    def _needed_keys(self) -> set:
        """The path keys whose files every sample needs."""
        return {
            m.path_key
            for m in loaded_modalities(self.pipeline) if not m.optional
        }

    def _of_list(self) -> Iterator[Tuple[str, dict]]:
        """The samples of a list."""
        classes = self._metainfo.get('classes')
        if not classes:
            raise ValueError(f'{self.ann_file} does not name the classes: set '
                             'metainfo=dict(classes=...)')
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f'columns={list(self.columns)} must name each '
                             f'column of {self.ann_file} once')
        if not fileio.exists(self.ann_file):
            raise FileNotFoundError(f'ann_file {self.ann_file!r} does not '
                                    'exist')
        for number, line in read_lines(self.ann_file):
            where = f'{self.ann_file}, line {number}'
            cells = line.split('\t') if '\t' in line else line.split()
            if len(cells) != len(self.columns) + 1:
                raise ValueError(
                    f'{where} has {len(cells)} columns, but expected are '
                    f'{[*self.columns, "label"]}: {line!r}')
            *files, label = (cell.strip() for cell in cells)
            paths = {
                key: osp.join(
                    self.data_prefix.get(key, self.data_root or ''), file)
                for key, file in zip(self.columns, files)
            }
            yield where, dict(
                paths, gt_label=self._label(label, classes, where))

    @staticmethod
    def _label(label: str, classes: Sequence[str], where: str) -> int:
        if label in classes:
            return list(classes).index(label)
        if not label.isdecimal() or int(label) >= len(classes):
            raise ValueError(
                f'{where}: label {label} is none of the {len(classes)} '
                f'classes, 0 to {len(classes) - 1}: {list(classes)}')
        return int(label)

    def _of_folders(self) -> Iterator[Tuple[str, dict]]:
        """The samples of folders."""
        first = 'img_path' if 'img_path' in self.data_prefix else next(
            iter(self.data_prefix))
        root = self.data_prefix[first]
        if not fileio.isdir(root):
            raise FileNotFoundError(
                f'data_prefix[{first!r}]: folder {root!r} does not exist')
        folders = sorted(fileio.list_dir_or_file(root, list_file=False))
        classes = self._metainfo.setdefault('classes', tuple(folders))
        names = FileNames({
            key: '{}' + self.modality_suffix.get(key, self.img_suffix)
            for key in self.data_prefix
        })
        samples, without = [], []
        for folder in folders:
            if folder not in classes:
                raise ValueError(f'folder {osp.join(root, folder)!r} is none '
                                 f'of the classes {list(classes)}')
            files = files_below(osp.join(root, folder))
            of_class = [
                common for common in (
                    names.common(first, osp.join(folder, file))
                    for file in files) if common is not None
            ]
            if files and not of_class:
                without.append(folder)
            for common in of_class:
                paths = {
                    key: osp.join(prefix, names.name(key, common))
                    for key, prefix in self.data_prefix.items()
                }
                yield paths[first], dict(
                    paths, gt_label=list(classes).index(folder))
            samples += of_class
        if samples and without:
            suffix = self.modality_suffix.get(first, self.img_suffix)
            raise ValueError(
                f'{root!r}: of the classes {without} no file ends in '
                f'{suffix!r}, so they would have no sample: give all images '
                'one suffix, or a list of the files as ann_file')
        if samples:
            log_left_out(names, self.data_prefix,
                         dict.fromkeys([first, *self.data_prefix]), samples)
