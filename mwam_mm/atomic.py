"""Files that are written as a whole or not at all."""
import os
import os.path as osp
import uuid
import zipfile
from contextlib import contextmanager
from typing import Iterator

__all__ = ['check_whole', 'replacing']


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


def check_whole(checkpoint: str) -> None:
    """Check that a checkpoint is not cut off.

    PyTorch says so without the name of the file, or that its arguments are
    invalid.

    Args:
        checkpoint (str): Path of the checkpoint. One that is no local file is
            left to what loads it.

    Raises:
        ValueError: If the file is none that PyTorch writes, or not the whole
            of it.
    """
    if not osp.isfile(checkpoint):
        return
    with open(checkpoint, 'rb') as f:
        is_pickle = f.read(1) == b'\x80'  # as PyTorch wrote before 1.6
    # The table of contents of a zip file is at its end.
    if not is_pickle and not zipfile.is_zipfile(checkpoint):
        raise ValueError(
            f'{checkpoint!r} is no checkpoint, or not the whole of one '
            f'({osp.getsize(checkpoint)} bytes): copy it again, or take an '
            'earlier one, from which tools/train.py continues by --resume '
            '--cfg-options load_from=CHECKPOINT')
