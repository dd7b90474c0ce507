"""Base of the public benchmarks, which differ in folders and classes."""
import os.path as osp
from typing import Dict, List, Set, Tuple

import mmengine.fileio as fileio

from .multi_modal_seg import MultiModalSegDataset

__all__ = ['BenchmarkSegDataset']


class BenchmarkSegDataset(MultiModalSegDataset):
    """A published tree with one folder per modality, and splits by name.

    Subclasses say in ``SPLITS`` which splits there are and in ``FOLDERS``
    where the files are: path key to folder, in which ``{split}`` stands for
    the split. Where the files of a sample differ in how their names begin,
    ``PREFIXES`` says how: path key to prefix, for all of them. An ``ann_file``
    lists the names of the images, with their prefix. Building the dataset
    checks that every image has a label and, where a split is a folder of its
    own, that every label has an image. :class:`LoadModalities` checks that
    the modalities in use are there.

    Args:
        data_root (str): Folder of the dataset.
        split (str): Name of the split. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalSegDataset`, apart
            from those that say where files are.

    Raises:
        FileNotFoundError: If a folder or list is missing, or an image or
            label lacks its partner. The message names the file.
        ValueError: If ``split`` is unknown, or the name of an image does not
            begin with its prefix.
    """
    SPLITS: Tuple[str, ...] = ('train', 'test')
    FOLDERS: Dict[str, str] = dict()
    PREFIXES: Dict[str, str] = dict()

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 **kwargs) -> None:
        if split not in self.SPLITS:
            raise ValueError(f'split={split!r} is not a split of '
                             f'{type(self).__name__}, which has '
                             f'{list(self.SPLITS)}')
        self.split = split
        kwargs.setdefault('img_suffix', '.png')
        super().__init__(
            data_root=data_root,
            data_prefix={
                key: folder.format(split=split)
                for key, folder in self.FOLDERS.items()
            },
            **kwargs)

    def load_data_list(self) -> List[dict]:
        """List the samples of the split.

        Returns:
            list[dict]: The data dicts of :class:`MultiModalSegDataset`.
        """
        images = self._list('img_path', self.img_suffix)
        labels = self._list('seg_map_path', self.seg_map_suffix)
        if self.ann_file and not fileio.exists(
                self.ann_file, backend_args=self.backend_args):
            raise FileNotFoundError(f'{self.ann_file!r} is missing: it lists '
                                    f'the split {self.split!r}')
        data_list = super().load_data_list()
        for data_info in data_list:
            self._set_prefixes(data_info)
        if not self.ann_file:
            lonely = labels - {info['seg_map_path'] for info in data_list}
            if lonely:
                raise FileNotFoundError(
                    f'{min(lonely)!r} has no image in '
                    f'{self.data_prefix["img_path"]!r}')
        data_list = self.select(data_list)
        for data_info in data_list:
            for key, names in (('img_path', images),
                               ('seg_map_path', labels)):
                if data_info[key] not in names:
                    by = self.ann_file or data_info['img_path']
                    raise FileNotFoundError(
                        f'{data_info[key]!r} is missing: there should be '
                        f'one according to {by!r}')
        return data_list

    def _log_left_out(self, *args) -> None:
        """Say nothing, as :meth:`load_data_list` selects files."""

    def _set_prefixes(self, data_info: dict) -> None:
        """Give each path, which has the name of the image, its own prefix."""
        if not self.PREFIXES:
            return
        prefix = self.PREFIXES['img_path']
        name = osp.basename(data_info['img_path'])
        if not name.startswith(prefix):
            raise ValueError(
                f'{data_info["img_path"]!r} should begin with {prefix!r}, as '
                f'in the published layout of {type(self).__name__}: rename '
                'or remove it')
        for key, other in self.PREFIXES.items():
            data_info[key] = osp.join(
                osp.dirname(data_info[key]), other + name[len(prefix):])

    def select(self, data_list: List[dict]) -> List[dict]:
        """Choose among the samples of the split; by default, take all."""
        return data_list

    def _list(self, key: str, suffix: str) -> Set[str]:
        """Paths of the files under the folder of a path key."""
        folder = self.data_prefix[key]
        if not fileio.isdir(folder, backend_args=self.backend_args):
            raise FileNotFoundError(
                f'folder {folder!r} is missing. {type(self).__name__} '
                f'expects {list(self.FOLDERS.values())} under '
                f'data_root={self.data_root!r}')
        return {
            osp.join(folder, name)
            for name in fileio.list_dir_or_file(
                folder,
                list_dir=False,
                suffix=suffix,
                recursive=True,
                backend_args=self.backend_args)
        }
