"""MATLAB files, for the dataset converters."""
import importlib
import os.path as osp
from types import ModuleType

import numpy as np

__all__ = ['load_matlab', 'open_matlab73']


def _require(module: str) -> ModuleType:
    """Import a module that only converters need."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split('.')[0]
        raise ModuleNotFoundError(
            f'this converter reads MATLAB files with {package}: pip install '
            f'{package}') from error


def load_matlab(path: str, key: str) -> np.ndarray:
    """Read a variable of a MATLAB file before version 7.3.

    Args:
        path (str): The file.
        key (str): Name of the variable.

    Returns:
        np.ndarray: Its value, without axes of length 1.

    Raises:
        FileNotFoundError: If there is no file.
        ModuleNotFoundError: If SciPy is not installed.
        ValueError: If it is no such file, or lacks the variable.
    """
    scipy_io = _require('scipy.io')
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path!r} is missing')
    try:
        content = scipy_io.loadmat(
            path, squeeze_me=True, struct_as_record=False)
        return np.atleast_1d(content[key])
    except (KeyError, NotImplementedError, ValueError) as error:
        raise ValueError(f'{path!r} has no readable {key}: '
                         f'{error}') from error


def open_matlab73(path: str):
    """Open a MATLAB file of version 7.3, which is an HDF5 file.

    MATLAB stores arrays by column and HDF5 by row: all axes come in reverse.

    Args:
        path (str): The file.

    Returns:
        h5py.File: The open file.

    Raises:
        FileNotFoundError: If there is no file.
        ModuleNotFoundError: If h5py is not installed.
        ValueError: If it is not a MATLAB file of version 7.3.
    """
    h5py = _require('h5py')
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path!r} is missing')
    try:
        return h5py.File(path, 'r')
    except OSError as error:
        raise ValueError(f'{path!r} is not a MATLAB 7.3 file, or is damaged: '
                         f'{error}. Download it again') from error
