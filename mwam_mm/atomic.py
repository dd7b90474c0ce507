"""Files that are written as a whole or not at all."""
import os
import os.path as osp
import uuid
from contextlib import contextmanager
from typing import Iterator

__all__ = ['replacing']


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
