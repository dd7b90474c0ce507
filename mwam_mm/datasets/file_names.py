"""Names of the files of a sample, by pattern or from a list."""
import logging
import os.path as osp
import re
from typing import (
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import mmengine
import mmengine.fileio as fileio
from mmengine.logging import print_log

__all__ = [
    'FileNames', 'files_below', 'log_left_out', 'name_in_folder',
    'natural_key', 'read_columns', 'read_lines'
]


def natural_key(name: str) -> List[Union[int, str]]:
    """Key that sorts names by the numbers in them.

    Args:
        name (str): Name of a file.

    Returns:
        list[int | str]: Text and numbers in turn.

    Examples:
        >>> sorted(['frame10.jpg', 'frame9.jpg'], key=natural_key)
        ['frame9.jpg', 'frame10.jpg']
    """
    parts: List[Union[int, str]] = list(re.split('([0-9]+)', name))
    parts[1::2] = map(int, parts[1::2])
    return parts


def name_in_folder(name: str, folder: str) -> str:
    """Name of a file of a list, for the folders of all modalities.

    Args:
        name (str): Name in the list. An absolute path is of a file in
            ``folder``, and would be that of every modality.
        folder (str): Folder of the images.

    Returns:
        str: The name, relative to the folder.
    """
    return osp.relpath(name, folder) if osp.isabs(name) else name


class FileNames:
    """Patterns of the names that the files of a sample have.

    Args:
        patterns (Mapping[str, str]): Path key to the pattern of a file name,
            where ``{}`` stands for what all files of a sample have in common
            beside their folder. A pattern without ``{}`` is the name itself,
            for folders that hold one sample each.

    Raises:
        ValueError: If a pattern has ``{}`` twice or a folder before it.

    Examples:
        >>> names = FileNames(dict(
        ...     img_path='rgb_{}.png', depth_path='depth_{}_16bit.png'))
        >>> names.common('img_path', 'train/rgb_0001.png')
        'train/0001'
        >>> names.name('depth_path', 'train/0001')
        'train/depth_0001_16bit.png'
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._parts: Dict[str, List[str]] = {}
        for key, pattern in patterns.items():
            parts = pattern.split('{}')
            if len(parts) > 2 or '/' in parts[0]:
                raise ValueError(
                    f'file_names[{key!r}]={pattern!r} must be the pattern of '
                    'a file name, with {} once for what the files of a sample '
                    'have in common and no folder before it, e.g. '
                    '"rgb_{}.png"')
            self._parts[key] = parts

    def __contains__(self, key: str) -> bool:
        return key in self._parts

    def common(self, key: str, name: str) -> Optional[str]:
        """What the files of a sample have in common.

        Args:
            key (str): Path key of a file.
            name (str): Name of the file, with folders.

        Returns:
            str | None: The folders and what ``{}`` stands for; None if the
            name does not follow the pattern.
        """
        first, *last = self._parts[key]
        end = last[0] if last else ''
        if not name.endswith(end):
            return None
        folder, base = osp.split(name[:len(name) - len(end)])
        if not base.startswith(first) or not last and base != first:
            return None
        return osp.join(folder, base[len(first):])

    def is_of_another(self, key: str, name: str) -> bool:
        """Whether a file is called as another one of a sample.

        Patterns that differ in the suffix only, such as ``{}.jpg`` and
        ``{}.png``, do not tell.

        Args:
            key (str): Path key of the file that is looked for.
            name (str): Name of the file, with folders.

        Returns:
            bool: Whether the name follows the pattern of another path key,
            and not its own.
        """
        stem = osp.splitext(name)[0]
        return self.common(key, name) is None and any(
            self.common(other, name) not in (None, stem)
            for other in self._parts)

    def name(self, key: str, common: str) -> str:
        """Name of a file of a sample.

        Args:
            key (str): Path key of the file.
            common (str): What :meth:`common` returns.

        Returns:
            str: The name, with folders.
        """
        folder, middle = osp.split(common)
        first, *last = self._parts[key]
        return osp.join(folder, first + (middle + last[0] if last else ''))


def files_below(folder: str,
                backend_args: Optional[dict] = None) -> List[str]:
    """Names of the files in a folder and those below it.

    Args:
        folder (str): The folder.
        backend_args (dict, optional): Arguments of MMEngine's file backend.
            Defaults to None.

    Returns:
        list[str]: The names, sorted; none if there is no such folder.
    """
    if not fileio.isdir(folder, backend_args=backend_args):
        return []
    return sorted(
        fileio.list_dir_or_file(
            folder,
            list_dir=False,
            recursive=True,
            backend_args=backend_args))


def log_left_out(names: FileNames,
                 folders: Mapping[str, str],
                 keys: Iterable[str],
                 common: Iterable[str],
                 backend_args: Optional[dict] = None) -> None:
    """Log the files that are of no sample.

    Args:
        names (FileNames): How the files of a sample are called.
        folders (Mapping[str, str]): Path key to the folder of its files.
        keys (Iterable[str]): The keys whose folders are looked at, first that
            of which the samples were listed.
        common (Iterable[str]): What the names of each sample have in common.
        backend_args (dict, optional): Arguments of MMEngine's file backend.
            Defaults to None.
    """
    samples, (listed, *_) = set(common), keys
    for folder in dict.fromkeys(folders[key] for key in keys):
        here = [key for key in folders if folders[key] == folder]
        left = [
            file for file in files_below(folder, backend_args)
            if not any(names.common(key, file) in samples for key in here)
        ]
        if left:
            print_log(
                f'{len(left)} file(s) in {folder!r} are of no sample and are '
                f'left out; the first: {left[0]!r}. Without ann_file samples '
                f'are what data_prefix[{listed!r}] has, by the suffix or '
                'pattern of its names', 'current', logging.WARNING)


def read_lines(path: str,
               backend_args: Optional[dict] = None
               ) -> List[Tuple[int, str]]:
    """Read the lines of a list, without empty ones.

    Args:
        path (str): Text file in UTF-8, with a byte order mark or without.
        backend_args (dict, optional): Arguments of MMEngine's file backend.
            Defaults to None.

    Returns:
        list[tuple[int, str]]: Number, from 1, and text of each line.

    Raises:
        ValueError: If the file is in another encoding.
    """
    try:
        lines = mmengine.list_from_file(
            path, encoding='utf-8-sig', backend_args=backend_args)
    except UnicodeDecodeError as error:
        raise ValueError(f'{path!r} is no text in UTF-8: {error}') from error
    return [(i, line) for i, line in enumerate(lines, 1) if line.strip()]


def read_columns(path: str, keys: Sequence[str],
                 folders: Mapping[str, str]) -> List[Dict[str, str]]:
    """Read a list of the files of each sample.

    Args:
        path (str): Text file with one line for each sample and one path for
            each key, separated by commas, tabs or, if there are none of them,
            spaces.
        keys (Sequence[str]): Path keys of the columns.
        folders (Mapping[str, str]): Path key to the folder that the paths of
            its column are relative to.

    Returns:
        list[dict[str, str]]: Path key to path, in the order of the lines.

    Raises:
        ValueError: If a line has another number of columns, or as
            :func:`read_lines`.
    """
    samples = []
    for number, line in read_lines(path):
        separator = next((s for s in ',\t' if s in line), None)
        names = [name.strip() for name in line.strip().split(separator)]
        if len(names) != len(keys) or not all(names):
            raise ValueError(
                f'{path!r}, line {number} has {len(names)} column(s), but '
                f'columns={list(keys)}: {line.strip()!r}')
        samples.append({
            key: osp.join(folders[key], name)
            for key, name in zip(keys, names)
        })
    return samples
