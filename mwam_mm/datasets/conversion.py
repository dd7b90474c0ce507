"""What the dataset converters share."""
import importlib
import json
import os.path as osp
from types import ModuleType
from typing import Tuple

import cv2
import mmcv
import numpy as np
from PIL import Image, UnidentifiedImageError

from mwam_mm.atomic import replacing

from .transforms.decoding import check_upright, tiff_size

__all__ = [
    'IMAGE_SUFFIXES', 'image_size', 'load_matlab', 'open_matlab73',
    'write_image', 'write_json'
]

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.npy')


def image_size(path: str) -> Tuple[int, int]:
    """Height and width of an image, of which only the header is read.

    Args:
        path (str): An image, or an ``.npy`` array of shape (H, W) or
            (H, W, C).

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no image, is turned by its EXIF or TIFF tag, or
            is a TIFF of several pages.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path!r} is missing')
    with open(path, 'rb') as file:
        check_upright(file.read(2**16), repr(path))
    size = tiff_size(path)
    if size is not None:
        return size
    try:
        if path.lower().endswith('.npy'):
            height, width = np.load(path, mmap_mode='r').shape[:2]
            return height, width
        with Image.open(path) as image:
            return image.size[::-1]
    except UnidentifiedImageError as error:
        # OpenCV knows other formats, but has to read them whole.
        array = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        if array is None:
            raise _no_image(path) from error
        return array.shape[:2]
    except (EOFError, OSError, ValueError) as error:
        raise _no_image(path) from error


def _no_image(path: str) -> ValueError:
    return ValueError(f'{path!r} is no image, or is damaged')


def write_image(path: str, image: np.ndarray) -> None:
    """Write an image, with its folder where that is missing.

    Args:
        path (str): The file; its suffix says the format.
        image (np.ndarray): Of shape (H, W), or (H, W, 3) as B, G, R; uint8 or
            uint16.

    Raises:
        OSError: If it cannot be written.
    """
    if not mmcv.imwrite(image, path):
        raise OSError(f'cannot write {path!r}')


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
