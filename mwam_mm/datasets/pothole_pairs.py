"""The files of the pothole dataset, for segmentation and detection."""
import os.path as osp
from typing import Dict, List, Optional

import mmengine.fileio as fileio

__all__ = ['pothole_pairs']

_FOLDERS = dict(img_path='rgb', depth_path='disp_tg', seg_map_path='label')


def pothole_pairs(data_root: str,
                  split: str,
                  backend_args: Optional[dict] = None) -> List[Dict[str, str]]:
    """List the pairs of a split.

    There is no official split. Every third pair of the sorted list, from the
    first on, is for testing (23 pairs), the others are for training (44).

    Args:
        data_root (str): Folder with dataset1, dataset2 and dataset3.
        split (str): 'train' or 'test'.
        backend_args (dict, optional): Arguments of the file backend. Defaults
            to None.

    Returns:
        list[dict[str, str]]: ``img_path``, ``depth_path`` and
        ``seg_map_path`` of each pair.

    Raises:
        FileNotFoundError: If a folder is missing or has no ``.png`` file, or
            a pair lacks one of its three files.
        ValueError: If ``split`` is neither 'train' nor 'test'.
    """
    if split not in ('train', 'test'):
        raise ValueError(
            f"split must be 'train' or 'test', but got {split!r}")
    pairs = []
    for part in ('dataset1', 'dataset2', 'dataset3'):
        folders = {
            key: osp.join(data_root, part, folder)
            for key, folder in _FOLDERS.items()
        }
        names = {
            key: _list(path, backend_args)
            for key, path in folders.items()
        }
        for name in sorted(set().union(*names.values())):
            paths = {
                key: osp.join(folder, name)
                for key, folder in folders.items()
            }
            for key, path in paths.items():
                if name not in names[key]:
                    raise FileNotFoundError(
                        f'{path!r} is missing: a pair has {name!r} in '
                        f'each of {list(_FOLDERS.values())}')
            pairs.append(paths)
    return [
        paths for i, paths in enumerate(pairs)
        if (i % 3 == 0) == (split == 'test')
    ]


def _list(folder: str, backend_args: Optional[dict]) -> List[str]:
    names = []
    if fileio.isdir(folder, backend_args=backend_args):
        names = list(
            fileio.list_dir_or_file(
                folder,
                list_dir=False,
                suffix='.png',
                backend_args=backend_args))
    if not names:
        raise FileNotFoundError(
            f'folder {folder!r} is missing or has no .png file. data_root '
            'is the folder with dataset1, dataset2 and dataset3')
    return names
