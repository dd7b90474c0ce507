"""Sizes of image files, and writing them."""
import os.path as osp
from typing import Tuple

import cv2
import mmcv
import numpy as np
from PIL import Image, UnidentifiedImageError

from .transforms.decoding import check_upright, tiff_size

__all__ = ['IMAGE_SUFFIXES', 'image_size', 'write_image']

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
