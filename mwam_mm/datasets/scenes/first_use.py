"""Sets of files that are written when they are used first."""
import json
import os
import os.path as osp
from typing import Callable, Optional

from mmengine.dist import broadcast_object_list, is_main_process

__all__ = ['ensure', 'provide']


def provide(data_root: str, record: str, wanted: dict,
            write: Callable[[], None]) -> None:
    """Write a set of files unless it is there, for one process alone.

    Args:
        data_root (str): Folder of the set.
        record (str): Name of the JSON file in it that has its settings.
        wanted (dict): The settings.
        write (Callable): Makes the folder.

    Raises:
        FileExistsError: If the folder holds something else.
        RuntimeError: If it holds a set of other settings.
    """
    if _is_there(data_root, record, wanted):
        return
    try:
        write()
    except OSError:
        # Another job may have written the same set in the meantime.
        if not _is_there(data_root, record, wanted):
            raise


def ensure(data_root: str, record: str, wanted: dict,
           write: Callable[[], None]) -> None:
    """As :func:`provide`, on all ranks of a distributed run.

    Rank 0 writes and the others wait, so every rank has to call it.

    Args:
        data_root (str): Folder of the set.
        record (str): Name of the JSON file in it that has its settings.
        wanted (dict): The settings.
        write (Callable): Makes the folder.

    Raises:
        FileExistsError: If the folder holds something else.
        FileNotFoundError: If this rank does not see what rank 0 wrote.
        RuntimeError: If it holds a set of other settings, or rank 0 failed to
            write it.
    """
    error: Optional[Exception] = None
    if is_main_process():
        try:
            provide(data_root, record, wanted, write)
        except Exception as e:
            error = e
    # The broadcast of the outcome is also the barrier, so that no rank waits
    # for a writer that died.
    outcome = [None if error is None else str(error)]
    broadcast_object_list(outcome)
    if error is not None:
        raise error
    if outcome[0] is not None:
        raise RuntimeError(
            f'rank 0 could not provide {data_root}: {outcome[0]}')
    if not _is_there(data_root, record, wanted):
        raise FileNotFoundError(
            f'rank 0 wrote {data_root}, but this rank does not see it: put '
            'data_root on a file system that all nodes share')


def _is_there(data_root: str, record: str, wanted: dict) -> bool:
    """Whether the wanted set is there; another one is an error."""
    if not osp.isdir(data_root) or not os.listdir(data_root):
        return False
    path = osp.join(data_root, record)
    if not osp.isfile(path):
        raise FileExistsError(
            f'{data_root} holds something else than what is to be written '
            f'there (there is no {record} in it). Give another data_root, or '
            'move it away')
    with open(path) as f:
        there = json.load(f)
    differing = [
        f'{key}={there.get(key)!r} where {value!r} is wanted'
        for key, value in json.loads(json.dumps(wanted)).items()
        if there.get(key) != value
    ]
    if differing:
        raise RuntimeError(
            f'{data_root} was written with other settings: '
            f'{", ".join(differing)}. Delete the folder to have it written '
            'anew, or give another data_root')
    return True
