"""What a file of weights holds."""
import os.path as osp
import re
import zipfile
from typing import Any, Dict, Mapping

from torch import Tensor

__all__ = ['check_whole', 'weights_of']


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


def weights_of(checkpoint: Any, where: str) -> Dict[str, Tensor]:
    """The weights in a checkpoint.

    Args:
        checkpoint (Any): What was loaded: the checkpoint of a training, or
            the weights alone.
        where (str): How the message calls it.

    Returns:
        dict[str, Tensor]: The weights by the name that the model without a
        wrapper has for them.

    Raises:
        ValueError: If it holds none.

    Examples:
        >>> import torch
        >>> weights_of({'module.bias': torch.ones(2)}, 'a.pth')
        {'bias': tensor([1., 1.])}
    """
    held = type(checkpoint).__name__
    if isinstance(checkpoint, Mapping):
        held = list(checkpoint)
        checkpoint = checkpoint.get('state_dict', checkpoint)
    if not isinstance(checkpoint, Mapping) or not any(
            isinstance(value, Tensor) for value in checkpoint.values()):
        raise ValueError(f'{where} holds no weights, but {held}: name the '
                         'checkpoint of a model')
    return {re.sub(r'^module\.', '', key): value
            for key, value in checkpoint.items()}
