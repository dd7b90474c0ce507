"""Files and folders that are written as a whole or not at all."""
import json
import os
import os.path as osp
import shutil
import uuid
from contextlib import contextmanager
from typing import Iterator

__all__ = ['new_tree', 'replacing', 'write_json']


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Write a file, with its folder, that appears when it is complete.

    Args:
        path (str): The file. One of this name is replaced, unless writing
            fails.

    Yields:
        str: The path to write to, beside it and with its suffix.

    Examples:
        .. code-block:: python

            with replacing('results/table.csv') as partial:
                frame.to_csv(partial)
    """
    folder, name = osp.split(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    partial = osp.join(folder, f'_{uuid.uuid4().hex[:8]}_{name}')
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if osp.exists(partial):
            os.remove(partial)


@contextmanager
def new_tree(path: str) -> Iterator[str]:
    """Make a folder that appears at ``path`` only when it is complete.

    Args:
        path (str): The folder to make. It must not exist or be empty.

    Yields:
        str: The folder beside it to write into.

    Raises:
        FileExistsError: If there is something at ``path``.
    """
    root = osp.realpath(path)
    if osp.exists(root) and not (osp.isdir(root) and not os.listdir(root)):
        raise FileExistsError(f'{path!r} exists: delete it, or write to '
                              'another folder')
    partial = f'{root}.{uuid.uuid4().hex[:8]}.partial'
    try:
        os.makedirs(partial)
        yield partial
        os.replace(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: str, content: dict) -> None:
    """Write a json file, with its folder, that appears when it is complete.

    Args:
        path (str): The file. It must not exist.
        content (dict): What to write.

    Raises:
        FileExistsError: If there is something at ``path``.
    """
    if osp.exists(path):
        raise FileExistsError(f'{path!r} exists: delete it, or write to '
                              'another folder')
    with replacing(path) as partial:
        with open(partial, 'w', encoding='utf-8') as file:
            json.dump(content, file)
